"""How users answer to a slate: the interface of every user model, learned, synthetic or your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

# Click probabilities (B, K) of rows (B,) of a user pool with histories (B, H) of clicked items, shown slates (B, K).
Respond = Callable[[Tensor, Tensor, Tensor], Tensor]


class ClickModel(Protocol):
    """A user model: any callable with this signature, for instance a `UserResponseModel` or a `SyntheticWorld`."""

    def __call__(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K) float32.

        Args:
            profile: (B, P) float32.
            history: (B, H) int64, clicked item ids, latest last, 0 for padding on the left.
            slate: (B, K) int64, item ids 1..N.
        """
        ...


def by_profile(model: ClickModel, profiles: Tensor) -> Respond:
    """Return how the users with `profiles` (M, P) respond according to `model`."""
    return lambda user, history, slate: torch.sigmoid(model(profiles[user], history, slate))
