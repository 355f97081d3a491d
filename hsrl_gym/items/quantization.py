"""Residual-quantization k-means without collisions (paper 3.2, Appendix C and E): vectors in, tokens out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

_MINI_BATCH_FROM = 20_000  # items
_ROWS_AT_ONCE = 4096  # of points whose distances to all centroids are in memory


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
        tokens = codes[:, level]
        for rows in _groups(prefix):
            tokens[rows], n_moved_here = _assign(residual[rows], table, room)
            n_moved += n_moved_here
        residual = residual - table[tokens]  # eq. 30
        prefix = prefix * size + tokens
        centroids.append(table)
    return tuple(centroids), codes, n_moved


def _groups(prefix: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Return the rows of each prefix, ascending."""
    order = np.argsort(prefix, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(prefix[order])) + 1)


def _k_means(residual: NDArray[np.float32], size: int, seed: int, n_restarts: int) -> NDArray[np.float32]:
    """Return centroids (size, D) (eq. 28); with fewer distinct points than tokens, some are copies."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    distinct = _some_distinct(residual, size + 1)
    n_clusters = min(size, len(distinct))
    if n_clusters == len(distinct):
        table = distinct
    else:
        make = KMeans if len(residual) < _MINI_BATCH_FROM else partial(MiniBatchKMeans, compute_labels=False)
        with warnings.catch_warnings():
            # Points that differ only by rounding give equal centroids; those serve as copies.
            warnings.simplefilter("ignore", ConvergenceWarning)
            table = make(n_clusters, n_init=n_restarts, random_state=seed).fit(residual).cluster_centers_
    if n_clusters < size:
        crowd = np.bincount(_nearest(residual, table)[0], minlength=n_clusters)
        copies = np.argsort(-crowd, kind="stable")[np.arange(size - n_clusters) % n_clusters]
        table = np.vstack([table, table[copies]])
    return table.astype(np.float32)


def _some_distinct(points: NDArray[np.float32], enough: int) -> NDArray[np.float32]:
    """Return the distinct points, sorted; of many, some that are at least `enough`."""
    n_rows = 2 * enough
    while True:
        distinct = np.unique(points[:n_rows], axis=0)
        if len(distinct) >= enough or n_rows >= len(points):
            return distinct
        n_rows *= 4


def _distance(points: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (n, V) Euclidean distances."""
    from scipy.spatial.distance import cdist

    return cdist(points, table)


def _nearest(
    points: NDArray[np.float32], table: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Return the nearest token (n,) of each point (eq. 29), its distance, and that of the second nearest."""
    tokens = np.empty(len(points), dtype=np.int32)
    first, second = np.empty(len(points)), np.empty(len(points))
    for start in range(0, len(points), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        distance = _distance(points[part], table)
        tokens[part] = distance.argmin(1)
        nearest_two = np.partition(distance, 1, axis=1) if len(table) > 1 else distance
        first[part], second[part] = nearest_two[:, 0], nearest_two[:, -1 if len(table) == 1 else 1]
    return tokens, first, second


def _assign(points: NDArray[np.float32], table: NDArray[np.float32], room: int) -> tuple[NDArray[np.int32], int]:
    """Return a token for each of n points, and how many of them lose by it.

    The nearest (eq. 29), but at most `room` points per token. As few points as possible move, and those that lose least
    by it.
    """
    tokens, first, second = _nearest(points, table)
    counts = np.bincount(tokens, minlength=len(table))
    if (counts <= room).all():
        return tokens, 0
    if room == 1:
        return _match(_distance(points, table), tokens)
    n_lose = 0
    for token in np.flatnonzero(counts > room):
        members = np.flatnonzero(tokens == token)
        moving = members[np.argsort((second - first)[members], kind="stable")][: counts[token] - room]
        for start in range(0, len(moving), _ROWS_AT_ONCE):
            part = moving[start : start + _ROWS_AT_ONCE]
            for item, distance in zip(part, _distance(points[part], table), strict=True):
                tokens[item] = np.where(counts < room, distance, np.inf).argmin()
                counts[tokens[item]] += 1
                n_lose += distance[tokens[item]] > first[item] + 1e-6
        counts[token] = room
    return tokens, int(n_lose)


def _match(distance: NDArray[np.float64], nearest: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Return different tokens for n points from distances (n, V), as many as possible the nearest; see `_assign`."""
    from scipy.optimize import linear_sum_assignment

    each = np.arange(len(nearest))
    move = 1.0 + 2.0 * distance.max() * len(distance)  # more than any sum of distances: as few moves as possible
    cost = distance + move
    cost[each, nearest] -= move
    tokens = linear_sum_assignment(cost)[1].astype(np.int32)
    return tokens, int((distance[each, tokens] > distance.min(1) + 1e-6).sum())
