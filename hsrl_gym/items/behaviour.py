"""Item vectors made of clicks: how users answer to an item, and how they answer to others after it.

Features may say little of what an item does to a user (most of them may be noise to taste, or there may be only a
genre and a year). The learned user of the train split knows more: items are near here if they are liked by the same
people, and leave them in the same mood. A codebook over these vectors makes semantic IDs that mean something to the
policy which acts in them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.ensemble import LearnedUser

N_USERS = 256  # who answer to each item
N_AFTERWARDS = 32  # users, and items, that say what follows from an item
WIDTH = 16  # axes kept of each half, at most
_ROWS_AT_ONCE = 2048


@torch.no_grad()
def behaviour_vectors(model: LearnedUser, users: LoggedSlates, seed: int = 0) -> NDArray[np.float32]:
    """Return (N + 1, D) vectors of the items, row 0 zero, D at most 2 `WIDTH`.

    The first half stands for the answers: the affinities of `N_USERS` users of the pool for the item, so that a
    distance is how differently two items are liked. The second stands for what follows: by how much clicking the item
    moves the affinities of `N_AFTERWARDS` users for as many other items. Each half is centred, turned onto its main
    axes, and scaled so that an item's mean square is 1.

    Args:
        model: the learned user of the train split.
        users: its pool.
        seed: of which users and items are asked.
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
        _what_follows(model, profile[:N_AFTERWARDS], history[:N_AFTERWARDS], items, items[probes]),
    ]
    vectors = np.hstack([_on_main_axes(half.double().cpu().numpy()) for half in halves])
    return np.vstack([np.zeros((1, vectors.shape[1])), vectors]).astype(np.float32)


def _affinity(model: LearnedUser, profile: Tensor, history: Tensor, items: Tensor) -> Tensor:
    """Return (M, n) of users with profile (M, P) and history (M, H) for items (n,)."""
    parts = zip(profile.split(_ROWS_AT_ONCE), history.split(_ROWS_AT_ONCE), strict=True)
    return torch.cat([model.appeal(who, past, items.expand(len(who), -1)) for who, past in parts])


def _what_follows(model: LearnedUser, profile: Tensor, history: Tensor, items: Tensor, probes: Tensor) -> Tensor:
    """Return (N, M * n): how M users' affinity for n probes changes with each of N items clicked last."""
    before = _affinity(model, profile, history, probes)  # (M, n)
    n_users = len(profile)
    changes = []
    for part in items.split(max(_ROWS_AT_ONCE // n_users, 1)):
        past = history[:, 1:].repeat(len(part), 1)  # (items * M, H - 1)
        longer = torch.cat([past, part.repeat_interleave(n_users).unsqueeze(1)], dim=1)
        after = _affinity(model, profile.repeat(len(part), 1), longer, probes)
        changes.append((after.view(len(part), n_users, -1) - before).flatten(1))
    return torch.cat(changes)


def _on_main_axes(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows of a table (N, m) on its at most `WIDTH` main axes, their mean square 1."""
    axes, sizes, _ = np.linalg.svd(table - table.mean(0), full_matrices=False)
    moved = (axes * sizes)[:, :WIDTH]
    return moved / max(float(np.sqrt((moved**2).sum(1).mean())), 1e-12)
