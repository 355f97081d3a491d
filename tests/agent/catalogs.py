"""Random catalogs of any size, and policies and batches for them, without users or a bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from hsrl_agent import HSRLPolicy
from hsrl_agent.buffers import SlateSamples
from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.items.codebook import Codebook

K, H, P = 3, 6, 2  # slate size, history length, profile width


def random_codebook(n_items: int, vocabulary: tuple[int, ...], seed: int = 0, n_sids: int | None = None) -> Codebook:
    """Return a codebook of random SIDs, one an item unless `n_sids` says that there are fewer."""
    generator = np.random.default_rng(seed)
    flat = generator.choice(int(np.prod(vocabulary)), n_sids or n_items, replace=False)
    flat = np.concatenate([flat, generator.choice(flat, n_items - len(flat))])
    codes = np.stack(np.unravel_index(generator.permutation(flat), vocabulary), 1).astype(np.int32)
    centroids = tuple(generator.normal(size=(size, 4)).astype(np.float32) for size in vocabulary)
    features = generator.normal(size=(n_items + 1, 4)).astype(np.float32)
    features[0] = 0.0
    one = np.ones(4, np.float32)
    none = np.full((1, len(vocabulary)), -1, np.int32)
    return Codebook(centroids, np.vstack([none, codes]), 0 * one, one, features, np.zeros(n_items + 1, np.float32))


def spaces_of(codebook: Codebook, n_given: int = 0) -> tuple[spaces.Dict, SlateSpace]:
    """Return observation and action space; with `n_given`, the observation has candidates."""
    n_items = len(codebook.codes) - 1
    parts: dict[str, spaces.Space[Any]] = {
        "profile": spaces.Box(-np.inf, np.inf, (P,), np.float32),
        "history": spaces.Box(0, n_items, (H,), np.int64),
    }
    if n_given:
        parts["candidates"] = spaces.Box(0, n_items, (n_given,), np.int64)
    return spaces.Dict(parts), SlateSpace(np.tile(codebook.vocabulary, K).astype(np.int64), Catalog(codebook, K), K)


def make_policy(codebook: Codebook, n_given: int = 0, spread: float = 0.0, **settings: Any) -> HSRLPolicy:
    """Return a small policy; `spread` is the size of noise on all weights, so that items differ."""
    torch.manual_seed(0)
    small: dict[str, Any] = {"width": 8, "n_layers": 1, "n_heads": 2, "critic_hidden": (8,)}
    policy = HSRLPolicy(*spaces_of(codebook, n_given), lambda _: 1e-3, **{**small, **settings})
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.add_(spread * torch.randn_like(weight))
    return policy


def observations(n_users: int, n_items: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return profiles and histories of users, the latter of any length."""
    generator = np.random.default_rng(seed)
    history = generator.integers(1, n_items + 1, (n_users, H))
    history[np.arange(H) < generator.integers(0, H + 1, (n_users, 1))] = 0
    return {"profile": generator.normal(size=(n_users, P)).astype(np.float32), "history": history}


def as_tensors(columns: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Return the columns as tensors."""
    return {name: torch.as_tensor(column) for name, column in columns.items()}


def batch(n_users: int, n_items: int, seed: int = 0) -> SlateSamples:
    """Return transitions of users who were shown random slates."""
    seen, generator = as_tensors(observations(n_users, n_items, seed)), torch.Generator().manual_seed(seed)
    slates = torch.stack([torch.randperm(n_items, generator=generator)[:K] + 1 for _ in range(n_users)])
    clicks = (torch.rand(n_users, K, generator=generator) < 0.4).float()
    some = torch.rand(n_users, generator=generator)
    return SlateSamples(seen, seen, slates, clicks, some, 0 * some, 10 * some, 9 * some, credits=0.1 * clicks)
