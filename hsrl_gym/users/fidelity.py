"""Where a bundle's users can be trusted: by place in the slate, by popularity of the item, by length of the history.

All of it is measured on the logged slates of the `eval` pool, latest 20% of the log: the states that sessions start
from, with what was shown and clicked there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.core import Respond
from hsrl_gym.users.fit import fidelity_of
from hsrl_gym.users.true_user import TRUE_USER, TrueUsers, knows_world

HISTORY_BINS = (0, 5, 10, 20, 35, 50)  # last length of each; longer histories make a bin of their own
N_POPULARITY_GROUPS = 10


@dataclass(frozen=True)
class SliceScore:
    """What one user says of one slice of the logged impressions.

    Attributes:
        auc: 0.5 where all were clicked or none.
        log_loss: in nats.
        predicted: mean click probability, to be held against the observed rate.
    """

    auc: float
    log_loss: float
    predicted: float


@dataclass(frozen=True)
class Slice:
    """One part of the logged impressions.

    Attributes:
        kind: what the impressions are parted by.
        name: of the part.
        n: impressions in it.
        observed: share of them that was clicked.
        scores: of each user, by name.
    """

    kind: str
    name: str
    n: int
    observed: float
    scores: Mapping[str, SliceScore]


@dataclass(frozen=True)
class UserScore:
    """One user on all logged impressions of the pool.

    Attributes:
        auc, log_loss, ece: as in `Fidelity`.
        error: mean |p - p_true| against the true user; None where nobody knows that one.
    """

    auc: float
    log_loss: float
    ece: float
    error: float | None


def predict(bundle: Bundle) -> dict[str, NDArray[np.float64]]:
    """Return the click probabilities (M, K) of the `eval` pool's logged slates by each user, the true one last."""
    users = bundle.users["eval"]
    profiles = torch.as_tensor(users.profile)
    responses: dict[str, Respond] = {name: model.prepared(profiles) for name, model in bundle.simulators.items()}
    if knows_world(bundle):
        responses[TRUE_USER] = TrueUsers(bundle, users, profiles.device)
    history, slate = torch.as_tensor(users.history).long(), torch.as_tensor(users.slate).long()
    rows = torch.arange(len(users))
    with torch.no_grad():
        return {name: respond(rows, history, slate).double().numpy() for name, respond in responses.items()}


def score_users(bundle: Bundle, predicted: Mapping[str, NDArray[np.float64]]) -> dict[str, UserScore]:
    """Return how each user of `predict` stands on all logged impressions."""
    clicks, true = bundle.users["eval"].clicks, predicted.get(TRUE_USER)
    scores = {}
    for name, probability in predicted.items():
        fidelity = fidelity_of(_logit(probability), clicks)
        error = None if true is None else float(np.abs(probability - true).mean())
        scores[name] = UserScore(fidelity.auc, fidelity.log_loss, fidelity.ece, error)
    return scores


def score_slices(bundle: Bundle, predicted: Mapping[str, NDArray[np.float64]]) -> list[Slice]:
    """Return every slice that has impressions, in the order of their kinds, with what each user says of it."""
    clicks = bundle.users["eval"].clicks
    slices = []
    for kind, name, chosen in _parts(bundle):
        if not chosen.any():
            continue
        scores = {}
        for user, probability in predicted.items():
            fidelity = fidelity_of(_logit(probability[chosen]), clicks[chosen])
            scores[user] = SliceScore(fidelity.auc, fidelity.log_loss, float(probability[chosen].mean()))
        slices.append(Slice(kind, name, int(chosen.sum()), float(clicks[chosen].mean()), scores))
    return slices


def popularity_groups(bundle: Bundle) -> NDArray[np.int64]:
    """Return the group (N + 1,) of each item, 0 to 9, by how often the `train` pool showed it, the rarest first.

    The groups have equally many items (of items shown equally often, the lower id counts as rarer); padding is in
    none, -1. Impressions count and not clicks: they are what a user model could learn an item from.
    """
    shown = np.bincount(bundle.users["train"].slate.ravel(), minlength=bundle.n_items + 1)[1:]
    place = np.empty(bundle.n_items, dtype=np.int64)
    place[np.argsort(shown, kind="stable")] = np.arange(bundle.n_items)
    return np.concatenate([[-1], place * N_POPULARITY_GROUPS // bundle.n_items])


def _parts(bundle: Bundle) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield kind, name and mask (M, K) of each slice."""
    users = bundle.users["eval"]
    for slot in range(users.slate.shape[1]):
        yield "slot", str(slot + 1), np.broadcast_to(np.arange(users.slate.shape[1]) == slot, users.slate.shape)
    group = popularity_groups(bundle)[users.slate]
    for number in range(N_POPULARITY_GROUPS):
        yield "popularity", str(number + 1), group == number
    length = np.broadcast_to((users.history > 0).sum(1, keepdims=True), users.slate.shape)
    above = -1
    for last in (*HISTORY_BINS, users.history.shape[1]):
        if last > above:
            first = above + 1
            yield "history", str(last) if first == last else f"{first}-{last}", (length > above) & (length <= last)
            above = last


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    within = np.clip(probability, 1e-7, 1.0 - 1e-7)  # float32 may round to 0 or 1
    return np.log(within) - np.log1p(-within)
