"""Whether the `eval` user ranks methods as another does: the true one where it is known, else the `train` user."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from results import Row, line_of, sort_methods

# By the column of a row: between whose rankings, and who pays what compared with whom.
_TEXTS = {
    "true_user": (
        "the learned user and by the true one",
        "compared with the true user, the learned one pays",
    ),
    "train_user": (
        "the `eval` user and by the `train` user that agents learned from",
        "the true user is not known; compared with the `train` user, the `eval` user pays",
    ),
}


@dataclass(frozen=True)
class Belief:
    """How the learned `eval` user's scores of an environment stand against those of another user.

    Attributes:
        env: id of the environment.
        tau: Kendall's tau-b between the methods' mean Total Rewards by the one and by the other, 1 for the same
            ranking, -1 for the reverse; None with fewer than two methods, or where all have one score.
        gaps: by method, Total Reward by the `eval` user minus that by the other, mean over the seeds.
        other: "true_user", or "train_user" where nobody knows the true one: how much of a score is a method's answer to
            the one model that it learned from.
    """

    env: str
    tau: float | None
    gaps: Mapping[str, float]
    other: str = "true_user"


def believe(rows: Iterable[Row]) -> list[Belief]:
    """Return a belief for each environment and each other user that has scored runs there; other runs do not count."""
    scores: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        for other in _TEXTS:
            if row.get(other):
                pair = (row["total_reward"], row[other]["total_reward"])
                scores.setdefault((row["env"], other), {}).setdefault(line_of(row), []).append(pair)
    return [_belief(env, methods, other) for (env, other), methods in scores.items()]


def describe(belief: Belief, name: str, label: Callable[[str], str]) -> str:
    """Return a line for a reader: the agreement of the rankings, and what the `eval` user pays each method more.

    Args:
        belief: what to describe.
        name: what to call the environment.
        label: from a method to what tables call it.
    """
    gaps = ", ".join(f"{label(method)} {gap:+.2f}" for method, gap in belief.gaps.items())
    rankings, pays = _TEXTS[belief.other]
    paid = f"{pays} {gaps}"
    if belief.tau is None:
        return f"{name}: {paid}."
    return (
        f"{name}: Kendall's tau {belief.tau:.2f} between the ranking of {len(belief.gaps)} methods by {rankings}; "
        f"{paid}."
    )


def _belief(env: str, methods: Mapping[str, list[tuple[float, float]]], other: str) -> Belief:
    from scipy.stats import kendalltau  # a second or two, which processes that only learn need not wait for

    order = sort_methods(methods)
    means = np.array([np.mean(methods[method], axis=0) for method in order])  # (methods, 2): learned, true
    tau = float(kendalltau(means[:, 0], means[:, 1]).statistic) if len(means) > 1 else math.nan
    gaps = dict(zip(order, (means[:, 0] - means[:, 1]).tolist(), strict=True))
    return Belief(env, tau if math.isfinite(tau) else None, gaps, other)
