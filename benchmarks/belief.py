"""Whether the `eval` user ranks methods as another does: the true one where it is known, else the `train` user."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from results import Row, line_of, sort_methods

Scores = dict[int, tuple[float, float]]  # seed: Total Reward by the `eval` user, and by the other
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
        repeated: Kendall's tau-b between the rankings of one seed and another, both by the `eval` user, mean over all
            pairs of seeds; None as for `tau`. Where it is low, methods differ by little more than their seeds do.
    """

    env: str
    tau: float | None
    gaps: Mapping[str, float]
    other: str = "true_user"
    repeated: float | None = None


def believe(rows: Iterable[Row]) -> list[Belief]:
    """Return a belief for each environment and each other user that has scored runs there; other runs do not count."""
    scores: dict[tuple[str, str], dict[str, Scores]] = {}
    for row in rows:
        for other in _TEXTS:
            if row.get(other):
                pair = (row["total_reward"], row[other]["total_reward"])
                scores.setdefault((row["env"], other), {}).setdefault(line_of(row), {})[row["seed"]] = pair
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
    own = (
        ""
        if belief.repeated is None
        else f" (of the `eval` user with itself, seed against seed: {belief.repeated:.2f})"
    )
    return (
        f"{name}: Kendall's tau {belief.tau:.2f} between the ranking of {len(belief.gaps)} methods by {rankings}{own}; "
        f"{paid}."
    )


def _belief(env: str, methods: Mapping[str, Scores], other: str) -> Belief:
    order = sort_methods(methods)
    means = np.array([np.mean(list(methods[method].values()), axis=0) for method in order])  # (methods, 2)
    gaps = dict(zip(order, (means[:, 0] - means[:, 1]).tolist(), strict=True))
    return Belief(env, _tau(means[:, 0], means[:, 1]), gaps, other, _repeated(methods))


def _repeated(methods: Mapping[str, Scores]) -> float | None:
    taus = []
    for pair in combinations(sorted(set().union(*methods.values())), 2):
        both = [[scores[seed][0] for seed in pair] for scores in methods.values() if scores.keys() >= set(pair)]
        taus.append(_tau(*zip(*both, strict=True)) if both else None)
    known = [tau for tau in taus if tau is not None]
    return float(np.mean(known)) if known else None


def _tau(one: ArrayLike, other: ArrayLike) -> float | None:
    from scipy.stats import kendalltau  # a second or two, which processes that only learn need not wait for

    tau = float(kendalltau(one, other).statistic) if np.size(one) > 1 else math.nan
    return tau if math.isfinite(tau) else None
