"""Onboarding: how a new item comes to be known while sessions run, whatever agent plays them.

Letters: B users, K slate size, N items, D width of an item vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.envs.settings import from_json, whole_number
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.beliefs import ItemBeliefs, guess_error
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.items.click_regression import ClickRegression, fit_click_regression

_LOGGED_STATES = 1000  # for the direction that the average user likes
_CANDIDATES = 256  # new items among which an explored slot chooses, drawn at random


@dataclass(frozen=True)
class Onboarding:
    """How new items are onboarded; `onboarding={"explore": 0.02}` of `gym.make`.

    New are the items that are not on sale at the start. Each begins with what features say of its vector. Every
    impression updates that belief in closed form (`items.beliefs`); from the belief follow its inputs and its SID. The
    agent's weights stay as they are.

    Attributes:
        explore: share of all slots given to new items by Thompson sampling, in [0, 1). They are a slate's last.
        caution: standard deviations by which a new item is taken to be worse than its mean; see `ItemBeliefs.cautious`.
        move_every: steps between updates of SIDs and inputs.
        enough: impressions after which an item is explored no more.
        seed: of the exploration.

    Raises:
        HsrlError: for a value outside its range.
    """

    explore: float = 0.02
    caution: float = 0.5
    move_every: int = 5
    enough: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.explore < 1.0 or not 0.0 <= self.caution < 100.0:
            raise HsrlError(
                f"got onboarding with explore {self.explore} and caution {self.caution}, expected a share in [0, 1) "
                "and at least 0 standard deviations."
            )
        for name, smallest in (("move_every", 1), ("enough", 0), ("seed", 0)):
            object.__setattr__(self, name, whole_number(f"onboarding {name}", getattr(self, name), smallest))

    @classmethod
    def of(cls, settings: Onboarding | Mapping[str, Any]) -> Onboarding:
        """Return the onboarding of settings that may come from JSON; see `settings.from_json`."""
        return from_json(cls, "onboarding", settings)


class Onboarder:
    """The beliefs of a catalog's new items, and what follows from them.

    Environments of a vector share what they learn. So with onboarding an environment of a vector differs from a single
    one.

    Attributes:
        beliefs: of the items' vectors.
        impressions: (N + 1,) int64, slots in which each new item was shown.
        trust: R2 of what features say of vectors, on items that were held out.
    """

    def __init__(self, settings: Onboarding, catalog: Catalog, bundle: Bundle, device: torch.device) -> None:
        """Fit the click model and the prior to what is known at the start, and `restart`.

        Raises:
            HsrlError: for a codebook without behaviour vectors.
        """
        self.settings, self.catalog, self.device = settings, catalog, device
        book = catalog.codebook
        self.covariance, self.trust = guess_error(book)
        known = book.codes[:, 0] >= 0
        self.is_new = torch.as_tensor(~known, device=device)
        self.is_new[0] = False
        log = bundle.users["train"].tensors(device)
        self.guesses = torch.as_tensor(book.vectors, device=device)
        self.clicks: ClickRegression = fit_click_regression(log, self.guesses, ~self.is_new)
        states = torch.linspace(0, len(log) - 1, min(len(log), _LOGGED_STATES), device=device).long()
        liked, _ = self.clicks.equation(log.profile[states], log.history[states], self.guesses)
        self.direction = liked.mean(0)  # g: what the average user likes
        self.restart()

    def restart(self) -> None:
        """Forget all impressions, and put the new items where caution wants them, on sale or not.

        That moves them in the catalog, and so for everybody who shares it.
        """
        self.beliefs = ItemBeliefs(self.guesses, self.covariance, self.device)
        self.impressions = torch.zeros(len(self.is_new), dtype=torch.int64, device=self.device)
        self._moved = torch.zeros_like(self.is_new)
        self._generator = torch.Generator(self.device).manual_seed(self.settings.seed)
        self._steps = 0
        self._vectors = self.guesses.clone()
        self._move(self.is_new.nonzero().squeeze(1))

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return what impressions have taught, as arrays for `restore`; the catalog has a snapshot of its own."""
        tables = {"impressions": self.impressions, "moved": self._moved, "vectors": self._vectors}
        return {
            **{name: table.cpu().numpy().copy() for name, table in tables.items()},
            **self.beliefs.snapshot(),
            "random": self._generator.get_state().numpy().copy(),
            "steps": np.array(self._steps),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Return to what a `snapshot` knew."""
        self.impressions, self._moved, self._vectors = (
            torch.as_tensor(arrays[name].copy(), device=self.device) for name in ("impressions", "moved", "vectors")
        )
        self.beliefs.restore(arrays)
        self._generator.set_state(torch.as_tensor(arrays["random"].copy()))
        self._steps = int(arrays["steps"])

    def explore(self, profile: Tensor, history: Tensor, slate: Tensor) -> tuple[Tensor, Tensor]:
        """Return slates (B, K) in which new items have some of the last slots, and a mask (B, K) of these slots.

        The number of explored slots of a slate is `explore` K on average. Each goes to the item with the largest
        click probability, drawn from its posterior.
        """
        n_slots, candidates = slate.shape[1], self._candidates()
        share = torch.rand(len(slate), generator=self._generator, device=self.device)
        wanted = (self.settings.explore * n_slots + share).long()  # (B,), floor or ceiling of the mean
        others = ~(slate.unsqueeze(2) == candidates).any(1)  # (B, C); a slate repeats no item
        n_explored = torch.minimum(wanted, others.sum(1))
        explored = torch.arange(n_slots, device=self.device) >= n_slots - n_explored.unsqueeze(1)
        most = int(n_explored.max())
        if not most:
            return slate, explored
        users = n_explored.nonzero().squeeze(1)
        w, _ = self.clicks.equation(profile[users], history[users], self._vectors)
        draws = self.beliefs.draw_logits(candidates, w, self._generator).masked_fill(~others[users], -torch.inf)
        chosen = candidates[draws.topk(most, dim=1).indices].flip(1)  # the best one last, where all explore
        slate = slate.clone()
        slate[users, -most:] = torch.where(explored[users, -most:], chosen, slate[users, -most:])
        return slate, explored

    def _candidates(self) -> Tensor:
        """Return new items on sale that are not known enough, at most `_CANDIDATES` of them."""
        live = torch.as_tensor(self.catalog.is_live, device=self.device)
        unknown = (live & self.is_new & (self.impressions < self.settings.enough)).nonzero().squeeze(1)
        order = torch.randperm(len(unknown), generator=self._generator, device=self.device)
        return unknown[order[:_CANDIDATES]]

    def observe(self, profile: Tensor, history: Tensor, slate: Tensor, clicks: Tensor) -> None:
        """Learn from the impressions of new items in slates (B, K); every `move_every` steps they move accordingly."""
        users, slots = self.is_new[slate].nonzero(as_tuple=True)
        if len(users):
            w, offset = self.clicks.equation(profile, history, self._vectors)
            items = slate[users, slots]
            self.beliefs.observe(items, w[users], offset[users], clicks[users, slots])
            self.impressions.index_add_(0, items, torch.ones_like(items))
            self._moved[items] = True
        self._steps += 1
        if self._steps % self.settings.move_every == 0:
            self._move(self._moved.nonzero().squeeze(1))

    def _move(self, items: Tensor) -> None:
        """Give items (M,) the vectors and SIDs that follow from their beliefs."""
        if not len(items):
            return
        vectors = self.beliefs.cautious(items, self.direction, self.settings.caution)
        self._vectors[items] = vectors
        self._moved[items] = False
        self.catalog.move(items.cpu().numpy(), vectors.cpu().numpy())


def open_onboarder(
    settings: Onboarding | Mapping[str, Any] | None, catalog: Catalog, bundle: Bundle, device: torch.device
) -> Onboarder | None:
    """Return the onboarder of a catalog's new items; None without settings, or where no item is new."""
    if settings is None:
        return None
    read = Onboarding.of(settings)
    if bool((catalog.codebook.codes[1:, 0] >= 0).all()):
        return None
    return Onboarder(read, catalog, bundle, device)
