"""Semantic IDs for new items: the nearest that are free, one item after the other."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.items.nodes import Ids, Nodes

_VALUES_AT_ONCE = 1 << 16  # of differences to centroids; they stay in the cache


def free_sids(
    depths: Sequence[Nodes], centroids: Sequence[NDArray[np.float32]], vectors: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Return SIDs (M, L) for vectors (M, D): each takes the nearest token with a free SID below it, level by level.

    Every item that enters a prefix takes one of its free SIDs, whatever it is called. So all items can choose their
    first token, then all their second. When every SID is taken, the nearest ones are shared.
    """
    sids = np.empty((len(vectors), len(centroids)), dtype=np.int32)
    n_free = prod(len(table) for table in centroids) - int(depths[0].n_taken[0])
    free, full = slice(0, n_free), slice(n_free, None)
    residual = vectors.astype(np.float32, copy=False)
    prefix = np.zeros(len(vectors[free]), dtype=np.int64)  # of each item, numbered from 0
    node = np.zeros(1, dtype=np.int64)  # of each prefix, -1 where no SID below is taken
    for level, table in enumerate(centroids):
        distance = _distance(residual, table)
        sids[full, level] = distance[full].argmin(1)
        room = _room(depths[level], depths[level + 1], node, prod(len(deeper) for deeper in centroids[level + 1 :]))
        sids[free, level] = assign_in_turn(distance[free], prefix, np.minimum(room, len(vectors)))
        residual = residual - table[sids[:, level]]
        wanted, prefix = np.unique(prefix * len(table) + sids[free, level], return_inverse=True)
        parent = node[wanted // len(table)]
        node = np.where(parent < 0, -1, depths[level].child[parent, wanted % len(table)])
    return sids


def _room(nodes: Nodes, below: Nodes, node: Ids, n_sids: int) -> Ids:
    """Return (n, V): the free SIDs below each token of nodes (n,), of `n_sids` that there are."""
    child = np.where(node[:, None] < 0, -1, nodes.child[node])
    return min(n_sids, 2**62) - np.where(child < 0, 0, below.n_taken[child])


def assign_in_turn(distance: NDArray[np.float32], prefix: Ids, room: Ids) -> Ids:
    """Return tokens (M,): each item in turn takes the nearest token (M, V) that has room (n, V) below its prefix (M,).

    By deferred acceptance (Gale and Shapley 1962): all propose to their nearest token, it keeps the first ones it has
    room for, and the others propose to their next. As every token prefers earlier items, the result is that of
    choosing one after the other.
    """
    n_tokens = distance.shape[1]
    distance = np.where(room[prefix] > 0, distance, np.inf)
    tokens = distance.argmin(1)
    while True:
        wanted = prefix * n_tokens + tokens
        order = np.argsort(wanted, kind="stable")
        in_order = wanted[order]
        place = np.arange(len(order)) - np.searchsorted(in_order, in_order)
        refused = order[place >= room.ravel()[in_order]]
        if not len(refused):
            return tokens
        distance[refused, tokens[refused]] = np.inf
        tokens[refused] = distance[refused].argmin(1)


def _distance(residual: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (M, V) Euclidean distances."""
    squares = np.empty((len(residual), len(table)), dtype=np.float32)
    n_at_once = max(_VALUES_AT_ONCE // table.size, 1)
    for start in range(0, len(residual), n_at_once):
        part = slice(start, start + n_at_once)
        gap = residual[part, None] - table
        np.add.reduce(np.multiply(gap, gap, out=gap), axis=2, out=squares[part])
    return np.sqrt(squares, out=squares)
