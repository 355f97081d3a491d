"""What the clicks of a session do to the users of the worlds known by a formula: drift, mood and satiation.

Letters: B users, H history length, K slate size, N items, D dimensions of content.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Habits(Protocol):
    """How strongly clicks act on a user; the settings of a world."""

    @property
    def drift(self) -> float:
        """How far interest moves towards the clicked items."""

    @property
    def weariness(self) -> float:
        """Logit lost on every item per unit of the history's mean sweetness."""

    @property
    def satiation(self) -> float:
        """Logit lost on items of a topic that fills the whole window of H clicks."""

    @property
    def tolerated(self) -> float:
        """Share of the window that one topic may fill before satiation begins."""


class Items(NamedTuple):
    """What users notice of items: content (N + 1, D), sweetness (N + 1,), topic (N + 1,) in 0..n_topics - 1."""

    content: Tensor
    sweet: Tensor
    topic: Tensor
    n_topics: int


class Effects(NamedTuple):
    """What is added to the interest of users, (B, D), and to the logits of their slates: mood (B, 1), fatigue (B, K).

    Fatigue is subtracted.
    """

    drift: Tensor
    mood: Tensor
    fatigue: Tensor


def effects_of_clicks(habits: Habits, items: Items, history: Tensor, slate: Tensor) -> Effects:
    """Return what histories (B, H) of clicked items do to users who see slates (B, K).

    With n clicked items h of sweetness s and content z, and m = n / (n + 10): the drift is drift m mean_h z, the mood
    -weariness m mean_h s, the fatigue satiation max(0, share of the item's topic in the window of H - tolerated).
    """
    shown = history > 0
    length = shown.sum(1, keepdim=True).to(torch.float32)
    share_of = 1.0 / length.clamp(min=1.0)
    memory = length / (length + 10.0)
    drift = habits.drift * memory * items.content[history].sum(1) * share_of
    mood = -habits.weariness * memory * items.sweet[history].sum(1, keepdim=True) * share_of
    clicked = torch.zeros(len(history), items.n_topics, device=history.device)
    clicked.scatter_add_(1, items.topic[history], shown.to(torch.float32))
    share = clicked.gather(1, items.topic[slate]) / history.shape[1]
    return Effects(drift, mood, habits.satiation * (share - habits.tolerated).clamp(min=0.0))
