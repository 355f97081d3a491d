"""What a picture or a text shows of one session, read from the state and the last step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.envs.core import LEAVES_BELOW, SessionParams

_LONGEST = 200  # characters of a label; no picture has room for more
# Info columns (B, K) that a card mentions, and how.
_MARKS: dict[str, Callable[[Any], str]] = {
    "explored": lambda value: "explored" if value else "",
    "conversions": lambda value: "bought" if value else "",
    "cost": lambda value: f"cost {value:.2f}" if value else "",
}
COLUMNS = ("slate", "slate_tokens", "clicks", "patience_before", "day", *_MARKS)  # infos that are shown


@dataclass(frozen=True)
class Card:
    """One slot of a slate.

    Attributes:
        label: of the item.
        sid: its semantic ID, for instance "7-0-5".
        probability: of a click.
        clicked: whether it was clicked.
        marks: what else happened there.
    """

    label: str
    sid: str
    probability: float
    clicked: bool
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """One session after its last step, or at its start.

    Attributes:
        name: of the bundle.
        params: rules of the session.
        step: slates shown so far; 0 at the start.
        patience_before, patience: before and after the last step.
        reward, total: of the last step, and of the session so far.
        cards: of the last slate; empty at the start, and after a restore, which does not know it.
        history: labels of the clicked items, latest first.
        day: days of the catalog that have ended; None without days.
    """

    name: str
    params: SessionParams
    step: int = 0
    patience_before: float = 0.0
    patience: float = 0.0
    reward: float = 0.0
    total: float = 0.0
    cards: tuple[Card, ...] = ()
    history: tuple[str, ...] = ()
    day: int | None = None

    @property
    def clicked(self) -> tuple[str, ...]:
        """Labels of the items clicked in the last slate, in slate order."""
        return tuple(card.label for card in self.cards if card.clicked)

    @property
    def ending(self) -> str:
        """Why the session has ended, in words; empty while it runs."""
        if self.step and self.patience < LEAVES_BELOW:
            return "the user leaves"
        return "max_steps reached" if self.step >= self.params.max_steps else ""


def clean_label(labels: tuple[str, ...], item: int) -> str:
    """Return the label of an item without control characters; "item 7" where there is none."""
    printable = "".join(one if one.isprintable() else " " for one in labels[item][:_LONGEST])
    return " ".join(printable.split()) or f"item {item}"


def cards_of(labels: tuple[str, ...], columns: Mapping[str, Any]) -> tuple[Card, ...]:
    """Return the cards of a step from its columns of one user: `slate` (K,), `slate_tokens` (K, L), .."""
    marks: list[list[str]] = [[] for _ in columns["slate"]]
    for name, wording in _MARKS.items():
        for own, value in zip(marks, columns.get(name, ()), strict=False):
            own.extend(filter(None, [wording(value)]))
    return tuple(
        Card(clean_label(labels, item), "-".join(map(str, tokens)), float(probability), bool(click), tuple(own))
        for item, tokens, probability, click, own in zip(
            columns["slate"], columns["slate_tokens"], columns["probability"], columns["clicks"], marks, strict=True
        )
    )


def history_of(labels: tuple[str, ...], history: NDArray[np.integer[Any]]) -> tuple[str, ...]:
    """Return the labels of a history (H,), latest first, without padding."""
    return tuple(clean_label(labels, item) for item in history[::-1] if item > 0)
