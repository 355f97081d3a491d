"""Where a user model can be trusted: by place in the slate, by popularity of the item, by length of the history.

All is measured on logged slates of a pool that was held out: what was shown there and what was clicked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.fidelity import fidelity_of
from hsrl_gym.users.responses import Respond
from hsrl_gym.users.true_user import TRUE_USER

HISTORY_BINS = (0, 5, 10, 20, 35, 50)  # last length of each; longer histories make a bin of their own
N_POPULARITY_GROUPS = 10


@dataclass(frozen=True)
class SliceScore:
    """Scores of one user model on one slice of the logged impressions.

    Attributes:
        auc: area under the ROC curve; NaN where all were clicked or none.
        log_loss: in nats.
        predicted: mean click probability; compare it with the observed click rate.
    """

    auc: float
    log_loss: float
    predicted: float


@dataclass(frozen=True)
class Slice:
    """One part of the logged impressions.

    Attributes:
        kind: "slot", "popularity" or "history".
        name: of the slice within its kind.
        n: number of impressions.
        observed: click rate.
        scores: of each user model, by name.
    """

    kind: str
    name: str
    n: int
    observed: float
    scores: Mapping[str, SliceScore]


@dataclass(frozen=True)
class UserScore:
    """Scores of one user model on all logged impressions of the pool.

    Attributes:
        auc, log_loss, ece: as in `Fidelity`.
        error: mean |p - p_true| against the true user; None where that user is unknown.
    """

    auc: float
    log_loss: float
    ece: float
    error: float | None


def predict(responses: Mapping[str, Respond], pool: LoggedSlates) -> dict[str, NDArray[np.float64]]:
    """Return the click probabilities (M, K) of the pool's logged slates, by each user model."""
    rows = pool.tensors()
    everyone = torch.arange(len(pool))
    with torch.no_grad():
        return {
            name: respond(everyone, rows.history, rows.slate).double().numpy() for name, respond in responses.items()
        }


def score_users(clicks: NDArray[np.uint8], predicted: Mapping[str, NDArray[np.float64]]) -> dict[str, UserScore]:
    """Return how each user model of `predict` stands against the clicks (M, K) of the pool."""
    true = predicted.get(TRUE_USER)
    scores = {}
    for name, probability in predicted.items():
        fidelity = fidelity_of(_logit(probability), clicks)
        error = None if true is None else float(np.abs(probability - true).mean())
        scores[name] = UserScore(fidelity.auc, fidelity.log_loss, fidelity.ece, error)
    return scores


def score_slices(
    pool: LoggedSlates, popularity: NDArray[np.int64], predicted: Mapping[str, NDArray[np.float64]]
) -> list[Slice]:
    """Return every slice that has impressions, in the order of their kinds, with the scores of each user model.

    Args:
        pool: the logged slates, M rows.
        popularity: (N + 1,) group of each item, see `popularity_groups`.
        predicted: click probabilities (M, K) by name of the user model, see `predict`.
    """
    slices = []
    for kind, name, chosen in _parts(pool, popularity):
        if not chosen.any():
            continue
        observed, scores = float(pool.clicks[chosen].mean()), {}
        for user, probability in predicted.items():
            fidelity = fidelity_of(_logit(probability[chosen]), pool.clicks[chosen])
            auc = fidelity.auc if 0.0 < observed < 1.0 else math.nan
            scores[user] = SliceScore(auc, fidelity.log_loss, float(probability[chosen].mean()))
        slices.append(Slice(kind, name, int(chosen.sum()), observed, scores))
    return slices


def popularity_groups(shown: NDArray[np.int32], n_items: int) -> NDArray[np.int64]:
    """Return the group (N + 1,) of each item, 0 to 9, by how often slates (M, K) showed it, the rarest first.

    The groups have equally many items; of items shown equally often, the lower id counts as rarer. Padding has group
    -1. Impressions count, not clicks: a user model learns an item from its impressions.
    """
    counts = np.bincount(shown.ravel(), minlength=n_items + 1)[1:]
    place = np.empty(n_items, dtype=np.int64)
    place[np.argsort(counts, kind="stable")] = np.arange(n_items)
    return np.concatenate([[-1], place * N_POPULARITY_GROUPS // n_items])


def _parts(pool: LoggedSlates, popularity: NDArray[np.int64]) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield kind, name and mask (M, K) of each slice."""
    slate_size = pool.slate.shape[1]
    for slot in range(slate_size):
        yield "slot", str(slot + 1), np.broadcast_to(np.arange(slate_size) == slot, pool.slate.shape)
    group = popularity[pool.slate]
    for number in range(N_POPULARITY_GROUPS):
        yield "popularity", str(number + 1), group == number
    length = np.broadcast_to((pool.history > 0).sum(1, keepdims=True), pool.slate.shape)
    above = -1
    for last in (*HISTORY_BINS, pool.history.shape[1]):
        if last > above:
            first = above + 1
            yield "history", str(last) if first == last else f"{first}-{last}", (length > above) & (length <= last)
            above = last


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    within = np.clip(probability, 1e-7, 1.0 - 1e-7)  # float32 may round to 0 or 1
    return np.log(within) - np.log1p(-within)
