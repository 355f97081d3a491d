"""Residual-quantization k-means without collisions (paper 3.2, Appendix C and E): vectors in, tokens out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

_MINI_BATCH_FROM = 20_000  # items


def residual_k_means(
    vectors: NDArray[np.float32], sizes: Sequence[int], seed: int, n_restarts: int
) -> tuple[tuple[NDArray[np.float32], ...], NDArray[np.int32], int]:
    """Return L tables of centroids (V_l, D), the tokens (N, L) of vectors (N, D), and how many items were moved.

    At each level, the items of one prefix may outnumber the free SIDs below their nearest token. Then the items that
    lose least move to the nearest token with room.
    """
    residual = vectors.copy()  # r^(1) = x, eq. 27
    codes = np.empty((len(vectors), len(sizes)), dtype=np.int32)
    centroids, prefix, n_moved = [], np.zeros(len(residual), dtype=np.int64), 0
    bucket = ceil(len(residual) / prod(sizes))
    for level, size in enumerate(sizes):
        table = _k_means(residual, size, seed + level, n_restarts)
        room = bucket * prod(sizes[level + 1 :])
        tokens = np.empty(len(residual), dtype=np.int32)
        for node in np.unique(prefix):
            rows = np.flatnonzero(prefix == node)
            near = _distance(residual[rows], table)
            tokens[rows] = _assign(near, room)
            n_moved += int((near[np.arange(len(rows)), tokens[rows]] > near.min(1) + 1e-6).sum())
        codes[:, level] = tokens
        residual = residual - table[tokens]  # eq. 30
        prefix = prefix * size + tokens
        centroids.append(table)
    return tuple(centroids), codes, n_moved


def _k_means(residual: NDArray[np.float32], size: int, seed: int, n_restarts: int) -> NDArray[np.float32]:
    """Return centroids (size, D) (eq. 28); with fewer distinct points than tokens, some are copies."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    distinct = np.unique(residual, axis=0)
    n_clusters = min(size, len(distinct))
    if n_clusters == len(distinct):
        table = distinct
    else:
        method = KMeans if len(residual) < _MINI_BATCH_FROM else MiniBatchKMeans
        with warnings.catch_warnings():
            # Points that differ only by rounding give equal centroids; those serve as copies.
            warnings.simplefilter("ignore", ConvergenceWarning)
            table = method(n_clusters, n_init=n_restarts, random_state=seed).fit(residual).cluster_centers_
    crowd = np.bincount(_distance(residual, table).argmin(1), minlength=n_clusters)
    copies = np.argsort(-crowd, kind="stable")[np.arange(size - n_clusters) % n_clusters]
    return np.vstack([table, table[copies]]).astype(np.float32)


def _distance(points: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (n, V) Euclidean distances."""
    from scipy.spatial.distance import cdist

    return cdist(points, table)


def _assign(distance: NDArray[np.floating], room: int) -> NDArray[np.int32]:
    """Return a token for each of n items: the nearest (eq. 29), but at most `room` items per token.

    As few items as possible move, and those that lose least by it.
    """
    tokens = distance.argmin(1).astype(np.int32)
    counts = np.bincount(tokens, minlength=distance.shape[1])
    if (counts <= room).all():
        return tokens
    if room == 1:
        from scipy.optimize import linear_sum_assignment

        move = 1.0 + 2.0 * distance.max() * len(distance)  # more than any sum of distances: as few moves as possible
        cost = distance + move
        cost[np.arange(len(tokens)), tokens] -= move
        return linear_sum_assignment(cost)[1].astype(np.int32)
    second = np.partition(distance, 1, axis=1)[:, 1] if distance.shape[1] > 1 else distance[:, 0]
    regret = second - distance.min(1)
    for token in np.flatnonzero(counts > room):
        members = np.flatnonzero(tokens == token)
        for item in members[np.argsort(regret[members], kind="stable")][: counts[token] - room]:
            tokens[item] = np.where(counts < room, distance[item], np.inf).argmin()
            counts[tokens[item]] += 1
        counts[token] = room
    return tokens
