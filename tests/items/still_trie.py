"""The trie of a catalog that stands still, and free SIDs one by one: slow and plain, what the real ones must equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

_NODES_AT_ONCE = 1024


@dataclass(frozen=True)
class StillTrie:
    """Tables that map any token sequence to live items.

    Attributes:
        next_node: L arrays (n_nodes of depth l, V_{l+1}) int32; the child of each token. A token without a live child
            has the child of its nearest live sibling (by centroid distance), so every sequence ends at a leaf.
        is_live: L bool arrays of the same shapes; whether the token itself has a live child.
        leaf_items: (n_leaves, W) int32; the items of a leaf's bucket in priority order, then those of its
            neighbours: longest common prefix first, then smallest distance.
        leaf_of_item: (N + 1,) int32; the leaf of an item, -1 where it is not live.
    """

    next_node: tuple[NDArray[np.int32], ...]
    is_live: tuple[NDArray[np.bool_], ...]
    leaf_items: NDArray[np.int32]
    leaf_of_item: NDArray[np.int32]

    def leaves(self, tokens: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the leaf of each token sequence: (..., L) tokens to (...) leaves."""
        node = np.zeros(tokens.shape[:-1], dtype=np.int32)
        for level, table in enumerate(self.next_node):
            node = table[node, tokens[..., level]]
        return node


def still_trie(
    codes: NDArray[np.int32],
    centroids: Sequence[NDArray[np.float32]],
    priority: NDArray[np.float32],
    width: int,
) -> StillTrie:
    """Return the trie of the live items.

    Args:
        codes: (N + 1, L) tokens, -1 for padding and for items that are not live.
        centroids: L arrays (V_l, D).
        priority: (N + 1,) order within a bucket, largest first; equal ones by item id.
        width: W, items listed per leaf; fewer if the catalog is smaller.
    """
    live = np.flatnonzero(codes[:, 0] >= 0)
    order = np.lexsort((live, -priority[live], *codes[live].T[::-1]))
    items = live[order]
    sorted_codes = codes[items]
    n_levels = codes.shape[1]
    node_of_row = [np.zeros(len(items), dtype=np.int32)]
    next_node, is_live = [], []
    for level in range(n_levels):
        parents, tokens = node_of_row[-1], sorted_codes[:, level]
        starts = np.ones(len(items), dtype=bool)
        starts[1:] = (parents[1:] != parents[:-1]) | (tokens[1:] != tokens[:-1])
        nodes = (np.cumsum(starts) - 1).astype(np.int32)
        child = np.full((parents[-1] + 1, len(centroids[level])), -1, dtype=np.int32)
        child[parents[starts], tokens[starts]] = nodes[starts]
        is_live.append(child >= 0)
        next_node.append(_snap_to_live(child, centroids[level]))
        node_of_row.append(nodes)
    leaf_of_item = np.full(len(codes), -1, dtype=np.int32)
    leaf_of_item[items] = node_of_row[-1]
    leaf_items = _leaf_items(items, sorted_codes, node_of_row, centroids, min(width, len(items)))
    return StillTrie(tuple(next_node), tuple(is_live), leaf_items, leaf_of_item)


def _snap_to_live(child: NDArray[np.int32], centroids: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return `child` with each dead token replaced by the child of the nearest live token of its node."""
    distance = _square_distance(centroids, centroids)
    np.fill_diagonal(distance, -1.0)  # a live token is its own nearest, even if its centroid has copies
    snapped = np.empty_like(child)
    for start in range(0, len(child), _NODES_AT_ONCE):
        rows = child[start : start + _NODES_AT_ONCE]
        to_live = np.where((rows >= 0)[:, None, :], distance[None], np.inf)
        snapped[start : start + len(rows)] = np.take_along_axis(rows, to_live.argmin(-1), axis=1)
    return snapped


def _leaf_items(
    items: NDArray[np.intp],
    codes: NDArray[np.int32],
    node_of_row: Sequence[NDArray[np.int32]],
    centroids: Sequence[NDArray[np.float32]],
    width: int,
) -> NDArray[np.int32]:
    """Return (n_leaves, width): the items of each leaf, then its neighbours below the deepest large ancestor."""
    leaf_of_row = node_of_row[-1]
    first_row = np.unique(leaf_of_row, return_index=True)[1]  # of each leaf
    vectors = np.sum([table[codes[first_row, level]] for level, table in enumerate(centroids)], axis=0)
    depth = np.zeros(len(first_row), dtype=np.int64)
    for level, nodes in enumerate(node_of_row):
        depth[np.bincount(nodes)[nodes[first_row]] >= width] = level
    table = np.empty((len(first_row), width), dtype=np.int32)
    for level in np.unique(depth):
        nodes = node_of_row[level]
        leaves_here = np.flatnonzero(depth == level)
        parents = nodes[first_row[leaves_here]]
        for parent in np.unique(parents):
            leaves = leaves_here[parents == parent]
            begin, end = np.searchsorted(nodes, [parent, parent + 1])
            first, last = leaf_of_row[[begin, end - 1]]
            # Distances between leaves, not rows: items of one bucket must tie exactly to stay in priority order.
            distance = _square_distance(vectors[leaves], vectors[first : last + 1])[:, leaf_of_row[begin:end] - first]
            apart = (codes[first_row[leaves]][:, None] != codes[None, begin:end]).cumsum(-1).astype(bool).sum(-1)
            nearest = np.lexsort((distance, apart), axis=-1)[:, :width]
            table[leaves] = items[begin:end][nearest]
    return table


def _square_distance(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (n, m) squared Euclidean distances."""
    left64, right64 = left.astype(np.float64), right.astype(np.float64)
    squares = (left64**2).sum(-1)[:, None] + (right64**2).sum(-1)[None]
    return np.maximum(squares - 2 * left64 @ right64.T, 0.0)


def free_sid(
    vector: NDArray[np.float32], codes: NDArray[np.int32], centroids: Sequence[NDArray[np.float32]]
) -> NDArray[np.int32]:
    """Return the SID (L,) reached by always taking the nearest token with a free SID below it.

    If every SID is taken, the nearest SID is shared.
    """
    residual, under = vector, codes
    sid = np.empty(len(centroids), dtype=np.int32)
    full = len(np.unique(codes, axis=0)) >= prod(len(table) for table in centroids)
    for level, table in enumerate(centroids):
        room = prod(len(deeper) for deeper in centroids[level + 1 :])
        taken = np.unique(under, axis=0)
        counts = np.bincount(taken[:, level], minlength=len(table))
        distance = np.linalg.norm(residual - table, axis=1)
        sid[level] = np.where(full | (counts < room), distance, np.inf).argmin()
        residual = residual - table[sid[level]]
        under = under[under[:, level] == sid[level]]
    return sid
