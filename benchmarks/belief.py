"""Whether the learned user ranks methods as the true one does, where the true one is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from results import Row, line_of, sort_methods


@dataclass(frozen=True)
class Belief:
    """How the learned `eval` user's scores of an environment stand against the true user's.

    Attributes:
        env: id of the environment.
        tau: Kendall's tau-b between the methods' mean Total Rewards by the one and by the other, 1 for the same
            ranking, -1 for the reverse; None with fewer than two methods, or where all have one score.
        gaps: by method, Total Reward by the learned user minus that by the true one, mean over the seeds.
    """

    env: str
    tau: float | None
    gaps: Mapping[str, float]


def believe(rows: Iterable[Row]) -> list[Belief]:
    """Return one belief for each environment with runs that the true user has scored; other runs do not count."""
    scores: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        if row.get("true_user"):
            pair = (row["total_reward"], row["true_user"]["total_reward"])
            scores.setdefault(row["env"], {}).setdefault(line_of(row), []).append(pair)
    return [_belief(env, methods) for env, methods in scores.items()]


def describe(belief: Belief, name: str, label: Callable[[str], str]) -> str:
    """Return a line for a reader: the agreement of the rankings, and what the learned user pays each method too much.

    Args:
        belief: what to describe.
        name: what to call the environment.
        label: from a method to what tables call it.
    """
    gaps = ", ".join(f"{label(method)} {gap:+.2f}" for method, gap in belief.gaps.items())
    paid = f"compared with the true user, the learned one pays {gaps}"
    if belief.tau is None:
        return f"{name}: {paid}."
    return (
        f"{name}: Kendall's tau {belief.tau:.2f} between the ranking of {len(belief.gaps)} methods by the learned user "
        f"and by the true one; {paid}."
    )


def _belief(env: str, methods: Mapping[str, list[tuple[float, float]]]) -> Belief:
    from scipy.stats import kendalltau  # a second or two, which processes that only learn need not wait for

    order = sort_methods(methods)
    means = np.array([np.mean(methods[method], axis=0) for method in order])  # (methods, 2): learned, true
    tau = float(kendalltau(means[:, 0], means[:, 1]).statistic) if len(means) > 1 else math.nan
    gaps = dict(zip(order, (means[:, 0] - means[:, 1]).tolist(), strict=True))
    return Belief(env, tau if math.isfinite(tau) else None, gaps)
