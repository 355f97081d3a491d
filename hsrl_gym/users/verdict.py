"""What a learned user is good for and where it is not, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.fidelity import ece_by_chance
from hsrl_gym.users.responses import Respond
from hsrl_gym.users.true_user import TRUE_USER

FEW = 30  # impressions; an item that was shown less often is little known
_N_USERS, _N_CANDIDATES = 256, 512  # of the slates that the train user likes best
GRADES = ("good", "fair", "poor")


class Limits(NamedTuple):
    """Up to `good` a measure is good, up to `fair` it is fair; from there on where more is better."""

    good: float
    fair: float
    more_is_better: bool = False


# The one table of limits. AUC and ECE are those of the train user on time that it has not seen; of the ECE, what chance
# alone gives is taken off first.
LIMITS = {
    "auc": Limits(0.70, 0.60, more_is_better=True),
    "ece": Limits(0.02, 0.05),
    "flattery": Limits(0.02, 0.06),
    "rare": Limits(0.25, 0.60),
}


@dataclass(frozen=True)
class Evidence:
    """What is measured of the user that agents learn from, the `train` user.

    Attributes:
        auc: area under the ROC curve on the latest 20% of the log, which it has not seen.
        ece: calibration error there.
        flattery: its mean click probability on the slates that it likes best, minus that of the `eval` user there.
        rare: share of the items that the train rows show fewer than `FEW` times.
        slate_size: K.
        synthetic: whether the log comes from a world of the package.
        ece_by_chance: what a perfectly calibrated user has for `ece`, on so few impressions; 0 if unknown.
    """

    auc: float
    ece: float
    flattery: float
    rare: float
    slate_size: int
    synthetic: bool
    ece_by_chance: float = 0.0


def weigh(
    fidelity: Mapping[str, Mapping[str, Any]],
    responses: Mapping[str, Respond],
    users: Mapping[str, LoggedSlates],
    n_items: int,
    n_train_slates: int,
) -> Evidence:
    """Return the evidence on a bundle's users.

    Args:
        fidelity: of the bundle.
        responses: how the eval pool responds by each user, see `bundle.simulators.responses_of`.
        users: the pools.
        n_items: N.
        n_train_slates: rows that the train user was fitted to; the train pool is an even sample of them.
    """
    pool = users["train"].slate
    shown = np.bincount(pool.ravel(), minlength=n_items + 1)[1:] * (max(n_train_slates, len(pool)) / len(pool))
    return Evidence(
        auc=fidelity["train"]["auc"],
        ece=fidelity["train"]["ece"],
        flattery=_flattery(responses, users["eval"], n_items),
        rare=float((shown < FEW).mean()),
        slate_size=pool.shape[1],
        synthetic=TRUE_USER in responses,
        ece_by_chance=ece_by_chance(fidelity["train"].get("reliability", ())),
    )


@torch.no_grad()
def _flattery(responses: Mapping[str, Respond], pool: LoggedSlates, n_items: int) -> float:
    rows = np.linspace(0, len(pool) - 1, min(_N_USERS, len(pool))).round().astype(np.int64)
    candidates = np.random.default_rng(0).choice(n_items, min(_N_CANDIDATES, n_items), replace=False) + 1
    history = torch.as_tensor(pool.history[rows]).long()
    slate = torch.as_tensor(np.sort(candidates)).expand(len(rows), -1)
    by_train, by_eval = (responses[name](torch.as_tensor(rows), history, slate) for name in ("train", "eval"))
    best = by_train.topk(min(pool.slate.shape[1], len(candidates)), dim=1).indices
    return float((by_train - by_eval).gather(1, best).mean())


def grade(measure: str, value: float) -> str:
    """Return "good", "fair" or "poor" by `LIMITS`; a value that is no number is poor."""
    good, fair, more_is_better = LIMITS[measure]
    sign = -1.0 if more_is_better else 1.0
    return "good" if sign * value <= sign * good else "fair" if sign * value <= sign * fair else "poor"


_OVERALL = {
    "good": "good for ranking methods that differ clearly; for the last half point of reward use a second judge",
    "fair": "good for trying methods and for seeing large differences; do not rank close ones by it",
    "poor": "good for running everything; do not believe a result of it",
}
_TELLS = {"good": "well", "fair": "roughly", "poor": "hardly better than chance"}
_LEVEL = {"good": "can be taken at their word", "fair": "are roughly right", "poor": "cannot be taken at their word"}
_OVERRATES = {"good": "hardly", "fair": "somewhat", "poor": "much"}


def verdict(evidence: Evidence) -> list[str]:
    """Return five short sentences; the first sums up the next three."""
    by_chance = evidence.ece_by_chance
    graded = replace(evidence, ece=max(0.0, evidence.ece - by_chance))
    grades = {measure: grade(measure, getattr(graded, measure)) for measure in LIMITS}
    overall = max((grades[measure] for measure in ("auc", "ece", "flattery")), key=GRADES.index)
    size, limit = evidence.slate_size, {measure: limits.good for measure, limits in LIMITS.items()}
    over = f"{abs(evidence.flattery) * size:.2f} clicks of {size} {'more' if evidence.flattery >= 0 else 'fewer'}"
    chance = f"chance alone gives {by_chance:.3f}; good: {limit['ece']} more," if by_chance else f"good: {limit['ece']}"
    return [
        f"This {'synthetic ' if evidence.synthetic else ''}user is {_OVERALL[overall]}."
        + (" It says nothing of real users." if evidence.synthetic else ""),
        f"It tells clicks from misses {_TELLS[grades['auc']]}: AUC {evidence.auc:.2f} on slates it has not seen (good: "
        f"{limit['auc']:.2f} or more).",
        f"Its click probabilities {_LEVEL[grades['ece']]}: off by {evidence.ece:.3f} on average ({chance} or less).",
        f"It {_OVERRATES[grades['flattery']]} overrates its favourites: on the slates it likes best it expects {over} "
        f"than the eval user (good: {limit['flattery'] * size:.2f} more, or less).",
        f"{1 - evidence.rare:.0%} of the items were shown to it {FEW} times or more; what it says of others is a guess "
        f"(good: {1 - limit['rare']:.0%} or more).",
    ]
