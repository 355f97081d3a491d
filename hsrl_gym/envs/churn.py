"""Churn: a seeded schedule by which items leave a catalog and others arrive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.envs.settings import from_json, whole_number
from hsrl_gym.errors import HsrlError, unknown_name
from hsrl_gym.items.catalog import Catalog

UNITS = ("steps", "sessions")
ARRIVALS = ("random", "latest")
_Items = NDArray[np.int64]


@dataclass(frozen=True)
class Churn:
    """When and how the catalog of an environment changes; `churn={"every": 100, "arrive": 0.1}` of `gym.make`.

    A share of the items is held back at the start, and forgotten (`Codebook.forget`, which says what still knows them).
    They arrive in their order. Items that retired queue behind them and come back, once all others had their turn.

    Attributes:
        every: length of a day. The catalog changes at its end.
        unit: what a day is counted in. "steps": steps of the environment, so that a single environment and any
            environment of a vector change at the same step. "sessions": finished sessions, per environment of a vector.
            Where the environments of a vector wait for each other (`autoreset_mode="NextStep"`), a step counts by the
            share of those that play.
        held_back: share of the catalog that is not on sale at the start, in [0, 1).
        arrive: share of the catalog at the start that arrives at the end of a day, rounded, at least one item.
        retire: the same for items that leave, drawn at random; None for as many as arrived, which are fewer than
            `arrive` says where fewer wait, and none with `held_back` 0.
        arrivals: which items are held back. "random" draws them; "latest" takes those whose first appearance in the
            bundle's pools, `train` and then `eval`, is latest.
        cooldown: days for which the SID of a retired item is given to no other.
        seed: of all draws.

    Raises:
        HsrlError: for a value outside its range, an unknown unit or order.
    """

    every: int = 100
    unit: str = "steps"
    held_back: float = 0.5
    arrive: float = 0.1
    retire: float | None = None
    arrivals: str = "random"
    cooldown: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise unknown_name("churn unit", self.unit, UNITS)
        if self.arrivals not in ARRIVALS:
            raise unknown_name("churn arrivals", self.arrivals, ARRIVALS)
        for name, smallest in (("every", 1), ("cooldown", 0), ("seed", 0)):
            object.__setattr__(self, name, whole_number(f"churn {name}", getattr(self, name), smallest))
        if not 0.0 <= self.held_back < 1.0:
            raise HsrlError(f"got churn held_back {self.held_back}, expected a share in [0, 1).")
        for name in ("arrive", "retire"):
            value = getattr(self, name)
            if not (name == "retire" and value is None) and not 0.0 <= value <= 1.0:
                raise HsrlError(f"got churn {name} {value}, expected a share in [0, 1].")

    @classmethod
    def of(cls, settings: Churn | Mapping[str, Any]) -> Churn:
        """Return the churn of settings that may come from JSON; see `settings.from_json`."""
        return from_json(cls, "churn", settings)

    def first_waiting(self, bundle: Bundle) -> _Items:
        """Return the items that are held back at the start, the next arrival first."""
        live = bundle.codebook.live_items
        n_waiting = round(self.held_back * len(live))
        shuffled = np.random.default_rng(self.seed).permutation(live)
        if self.arrivals == "random":
            return shuffled[:n_waiting]
        first_shown = _first_shown(bundle)[shuffled]
        return shuffled[np.argsort(first_shown, kind="stable")][len(live) - n_waiting :]


class Turnover:
    """The days of a catalog: counts time, and changes the catalog at the end of a day.

    Attributes:
        day: days that have ended.
    """

    def __init__(self, churn: Churn, catalog: Catalog, waiting: _Items) -> None:
        """Take the catalog at its start, and the items that are held back, the next arrival first."""
        self.churn, self.catalog, self._first_waiting = churn, catalog, waiting
        n_live = len(catalog.codebook.live_items)
        self._n_arriving = _count(churn.arrive, n_live)
        self._n_retiring = None if churn.retire is None else _count(churn.retire, n_live)
        self._begin()

    def _begin(self) -> None:
        self.day, self._elapsed, self._waiting = 0, 0, self._first_waiting

    @property
    def counts_sessions(self) -> bool:
        """Whether a day has a number of sessions, not of steps."""
        return self.churn.unit == "sessions"

    def restart(self) -> None:
        """Return to the first day, and the catalog to its start."""
        self.catalog.restart()
        self._begin()

    def pass_time(
        self, n_finished: int = 0, n_environments: int = 1, n_playing: int | None = None
    ) -> tuple[_Items, _Items] | None:
        """Count one step, in which some sessions of all environments finished; return (arrived, retired) after a day.

        `n_playing` of the environments took the step; None for all of them. A day has `every` times the number of
        environments of steps that were taken, or of sessions that finished. Whole numbers are counted: a sum of shares
        would end it late. When more finish at once than a day has, one day ends.
        """
        n_playing = n_environments if n_playing is None else n_playing
        self._elapsed += n_finished if self.counts_sessions else n_playing
        length = self.churn.every * n_environments
        if self._elapsed < length:
            return None
        self._elapsed -= length
        return self._end_day()

    def _end_day(self) -> tuple[_Items, _Items]:
        generator = np.random.default_rng([self.churn.seed, self.day])
        self.day += 1
        arrived, waiting = np.split(self._waiting, [min(self._n_arriving, len(self._waiting))])
        live = self.catalog.live_items
        wanted = len(arrived) if self._n_retiring is None else self._n_retiring
        n_retiring = min(wanted, len(live) + len(arrived) - self.catalog.slate_size, len(live))
        retired = np.sort(generator.choice(live, n_retiring, replace=False))
        self._waiting = np.concatenate([waiting, generator.permutation(retired)])
        self.catalog.change(retire=retired, arrive=arrived)
        return arrived, retired


def open_turnover(churn: Churn, bundle: Bundle, slate_size: int, catalog: Catalog | None = None) -> Turnover:
    """Return the turnover of a bundle's catalog at its start, or that of a catalog which exists already.

    Raises:
        HsrlError: for a catalog that begins with items on sale which this churn holds back.
    """
    waiting = churn.first_waiting(bundle)
    n_live = 0 if catalog is None else int((catalog.codebook.codes[waiting, 0] >= 0).sum())
    if n_live:
        raise HsrlError(
            f"got churn that holds back {len(waiting)} items, and a catalog that begins with {n_live} of them on sale; "
            "share the catalog of an environment with the same churn, or leave churn to that one."
        )
    if catalog is None:
        book = bundle.codebook.forget(waiting) if len(waiting) else bundle.codebook
        catalog = Catalog(book, slate_size, churn.cooldown)
    return Turnover(churn, catalog, waiting)


def _count(share: float, n_items: int) -> int:
    return max(round(share * n_items), 1) if share > 0 else 0


def _first_shown(bundle: Bundle) -> NDArray[np.int64]:
    """Return the place of the first slate of the pools, in time order, that shows each item, (N + 1,)."""
    slates = np.concatenate([bundle.users[name].slate for name in ("train", "eval")])
    first = np.full(bundle.n_items + 1, len(slates), dtype=np.int64)  # never shown: last of all
    np.minimum.at(first, slates.ravel(), np.repeat(np.arange(len(slates)), slates.shape[1]))
    return first
