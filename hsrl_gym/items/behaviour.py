"""Behaviour vectors: items described by how users respond to them, and to other items after them.

Item features may say little about an item's effect on a user. The learned user of the train split knows more: two items
are close here if the same users like them and if they have the same effect on later responses. A codebook over these
vectors gives semantic IDs that reflect behaviour.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.ensemble import LearnedUser

N_USERS = 256  # users whose affinity for each item is measured
N_AFTERWARDS = 32  # users, and probe items, that measure the effect of a click on an item
WIDTH = 16  # principal axes kept of each half, at most
_ROWS_AT_ONCE = 2048


@torch.no_grad()
def behaviour_vectors(model: LearnedUser, users: LoggedSlates, seed: int = 0) -> NDArray[np.float32]:
    """Return (N + 1, D) vectors of the items, row 0 zero, D at most 2 `WIDTH`.

    The first half is the response: the affinities of `N_USERS` users of the pool for the item. The second half is the
    effect: the change that a click on the item makes to the affinities of `N_AFTERWARDS` users for as many probe items.
    Each half is centred, projected onto its principal axes, and scaled to a mean square norm of 1.

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
    halves = [
        _affinity(model, profile, history, items).T,
        _effect(model, profile[:N_AFTERWARDS], history[:N_AFTERWARDS], items, items[probes]),
    ]
    vectors = np.hstack([_on_principal_axes(half.double().cpu().numpy()) for half in halves])
    return np.vstack([np.zeros((1, vectors.shape[1])), vectors]).astype(np.float32)


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
