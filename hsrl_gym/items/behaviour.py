"""Behaviour vectors: items described by how users respond to them, and to other items after them.

Item features may say little about an item's effect on a user. The learned user of the train split knows more: two items
are close here if the same users like them and if they have the same effect on later responses. A codebook over these
vectors gives semantic IDs that reflect behaviour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.click_model import UserResponseModel
from hsrl_gym.users.ensemble import LearnedUser, members_of
from hsrl_gym.users.large import is_large

N_USERS = 256  # users whose affinity for each item is measured
N_AFTERWARDS = 32  # users, and probe items, that measure the effect of a click on an item
WIDTH = 16  # principal axes kept of each half, at most
_ROWS_AT_ONCE = 2048
# Of a large catalog:
_N_MEASURED = 4096  # items whose effect is measured
_N_KERNELS, _REACH = 300, 0.1  # of the kernel regression that predicts the effect of the others
_ITEMS_AT_ONCE = 20_000


@torch.no_grad()
def behaviour_vectors(model: LearnedUser, users: LoggedSlates, seed: int = 0) -> NDArray[np.float32]:
    """Return (N + 1, D) vectors of the items, row 0 zero, D at most 2 `WIDTH`.

    The first half is the response: the affinities of `N_USERS` users of the pool for the item. The second half is the
    effect: the change that a click on the item makes to the affinities of `N_AFTERWARDS` users for as many probe items.
    Each half is centred, projected onto its principal axes, and scaled to a mean square norm of 1.

    The response is measured for all items. Of a large catalog, the effect is measured for 4,096 items; that of the
    others is predicted from their rows in the user model's table (R2 0.99 on 20,000 items).

    Args:
        model: the learned user of the train split.
        users: its pool.
        seed: of the choice of users and probe items.
    """
    generator = np.random.default_rng(seed)
    rows = generator.choice(len(users), min(N_USERS, len(users)), replace=False)
    device = next(model.parameters()).device
    profile = torch.as_tensor(users.profile[rows], device=device)
    history = torch.as_tensor(users.history[rows], device=device).long()
    items = torch.arange(1, model.config.n_items + 1, device=device)
    probes = torch.as_tensor(generator.choice(len(items), min(N_AFTERWARDS, len(items)), replace=False), device=device)
    if is_large(len(items)):
        return _of_many(model, profile, history, items[probes], generator)
    halves = [
        _affinity(model, profile, history, items).T,
        _effect(model, profile[:N_AFTERWARDS], history[:N_AFTERWARDS], items, items[probes]),
    ]
    vectors = np.hstack([_on_principal_axes(half.double().cpu().numpy()) for half in halves])
    return np.vstack([np.zeros((1, vectors.shape[1])), vectors]).astype(np.float32)


def _of_many(
    model: LearnedUser, profile: Tensor, history: Tensor, probes: Tensor, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return the vectors (N + 1, D) of a large catalog; no table has more than 57 columns for each ensemble member."""
    members = members_of(model)
    targets = np.vstack([_targets(members, part) for part in _parts(model.config.n_items)])
    states = np.hstack([functional.pad(m.states(profile, history), (0, 1), value=1.0).cpu().numpy() for m in members])
    measured = np.sort(generator.choice(len(targets), min(_N_MEASURED, len(targets)), replace=False))
    items = torch.as_tensor(measured + 1, device=profile.device)
    effect = _effect(model, profile[:N_AFTERWARDS], history[:N_AFTERWARDS], items, probes)
    main_effect = _on_principal_axes(effect.double().cpu().numpy())
    halves = [_along_principal_axes(targets, states / len(members)), _predicted(targets, measured, main_effect)]
    return np.vstack([np.zeros((1, sum(half.shape[1] for half in halves)), np.float32), np.hstack(halves)])


def _parts(n_items: int) -> Iterator[Tensor]:
    """Yield the ids of all items, some at a time, each time after padding."""
    for items in torch.arange(1, n_items + 1).split(_ITEMS_AT_ONCE):
        yield functional.pad(items, (1, 0))


def _targets(members: Sequence[UserResponseModel], items: Tensor) -> NDArray[np.float32]:
    """Return the target rows of items (n,), padding first and left out, side by side for the members: (n - 1, q)."""
    return np.hstack([m.tables(items.to(m.item_target.weight.device)).target[1:].cpu().numpy() for m in members])


def _along_principal_axes(targets: NDArray[np.float32], states: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return `_on_principal_axes` of targets (N, q) times states (M, q), without a table of N x M."""
    mean = targets.mean(0, dtype=np.float64)
    parts = [part - mean for part in np.array_split(targets, -(-len(targets) // _ITEMS_AT_ONCE))]
    scatter = sum((part.T @ part for part in parts), np.zeros((len(mean), len(mean))))
    sizes, axes = np.linalg.eigh(states @ scatter @ states.T)  # ascending
    projection = states.T @ axes[:, ::-1][:, :WIDTH]  # (q, WIDTH)
    size = np.sqrt(max(float(sizes[::-1][:WIDTH].sum()) / len(targets), 1e-24))
    return np.vstack([(part @ projection / size).astype(np.float32) for part in parts])


def _predicted(
    targets: NDArray[np.float32], measured: NDArray[np.intp], effect: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the effect (N, D) of all items with targets (N, q), from the effect of those measured (n, D)."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kernel = Nystroem(gamma=_REACH / targets.shape[1], n_components=_N_KERNELS, random_state=0)
    regression = make_pipeline(StandardScaler(), kernel, RidgeCV(np.logspace(-6, 2, 9)))
    regression.fit(targets[measured], effect)
    parts = np.array_split(targets, -(-len(targets) // _ITEMS_AT_ONCE))
    return np.vstack([regression.predict(part).astype(np.float32) for part in parts])


def _affinity(model: LearnedUser, profile: Tensor, history: Tensor, items: Tensor) -> Tensor:
    """Return the affinities (M, n) of users with profile (M, P) and history (M, H) for items (n,)."""
    parts = zip(profile.split(_ROWS_AT_ONCE), history.split(_ROWS_AT_ONCE), strict=True)
    return torch.cat([model.appeal(who, past, items.expand(len(who), -1)) for who, past in parts])


def _effect(model: LearnedUser, profile: Tensor, history: Tensor, items: Tensor, probes: Tensor) -> Tensor:
    """Return (N, M * n): the change in M users' affinity for n probes after a click on each of N items."""
    before = _affinity(model, profile, history, probes)  # (M, n)
    n_users = len(profile)
    changes = []
    for part in items.split(max(_ROWS_AT_ONCE // n_users, 1)):
        past = history[:, 1:].repeat(len(part), 1)  # (items * M, H - 1)
        longer = torch.cat([past, part.repeat_interleave(n_users).unsqueeze(1)], dim=1)
        after = _affinity(model, profile.repeat(len(part), 1), longer, probes)
        changes.append((after.view(len(part), n_users, -1) - before).flatten(1))
    return torch.cat(changes)


def _on_principal_axes(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows of a table (N, m) on at most `WIDTH` principal axes, with a mean square norm of 1."""
    axes, sizes, _ = np.linalg.svd(table - table.mean(0), full_matrices=False)
    moved = (axes * sizes)[:, :WIDTH]
    return moved / max(float(np.sqrt((moved**2).sum(1).mean())), 1e-12)
