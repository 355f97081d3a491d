"""Reward and patience rules, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

RewardRule = Callable[[Tensor, float], Tensor]
PatienceRule = Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]

SWEET_POINT = 0.9


def mean_with_cost(clicks: Tensor, miss_cost: float) -> Tensor:
    """Return the mean over the slate of 1 for a click and -c for none, in [-c, 1] (Appendix B): (B, K) to (B,)."""
    return clicks.mean(1) * (1.0 + miss_cost) - miss_cost


def sweet_point(clicks: Tensor, miss_cost: float) -> Tensor:
    """Return 1 - |mean_with_cost - 0.9|, the rule of the reference code on RL4RS: (B, K) to (B,).

    Its maximum is just below a full slate of clicks: 8 clicks of 9 give 0.978, 9 of 9 give 0.9.
    """
    return 1.0 - (mean_with_cost(clicks, miss_cost) - SWEET_POINT).abs()


def reference_patience(patience: Tensor, streak: Tensor, reward: Tensor, slate_size: int) -> tuple[Tensor, Tensor]:
    """Return patience - ((1 - r) K + 1) and the streak (reference code): reward 1 costs 1, reward 0 costs K + 1."""
    return patience - ((1.0 - reward) * slate_size + 1.0), streak


def streak_patience(patience: Tensor, streak: Tensor, reward: Tensor, slate_size: int) -> tuple[Tensor, Tensor]:
    """Return patience and streak; the n-th step in a row with r <= 0 costs n, r > 0 costs nothing (4.1.2)."""
    streak = (streak + 1) * (reward <= 0)
    return patience - streak, streak


REWARDS: dict[str, RewardRule] = {"mean_with_cost": mean_with_cost, "sweet_point": sweet_point}
PATIENCE: dict[str, PatienceRule] = {"reference": reference_patience, "streak": streak_patience}
