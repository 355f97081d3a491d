"""Reward rules of advertising, by name. Patience follows the clicks under every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Feedback:
    """What came of B requests; one ad each.

    Attributes:
        clicks: (B,) float32, 0 or 1.
        conversions: (B,) float32, 0 or 1, 1 only after a click.
        cost: (B,) float32, what the advertiser pays: the bid for a click, 0 without; bids are 1 on average.
        value: (B,) float32, worth of a conversion to the advertiser, whether or not there was one; 1 on average.
    """

    clicks: Tensor
    conversions: Tensor
    cost: Tensor
    value: Tensor


AdsReward = Callable[[Feedback, float], Tensor]


def click(feedback: Feedback, miss_cost: float) -> Tensor:
    """Return 1 for a click and -c for none, (B,): `rules.mean_with_cost` of a slate of one ad."""
    return feedback.clicks * (1.0 + miss_cost) - miss_cost


def conversion(feedback: Feedback, miss_cost: float) -> Tensor:
    """Return the worth of a conversion to the advertiser, 0 without one, (B,)."""
    return feedback.conversions * feedback.value


def revenue(feedback: Feedback, miss_cost: float) -> Tensor:
    """Return what the advertiser pays, (B,)."""
    return feedback.cost


ADS_REWARDS: dict[str, AdsReward] = {"mean_with_cost": click, "conversion": conversion, "revenue": revenue}
