"""The items of a leaf and those of the leaves nearest to it, for the slots of a slate that name one SID twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.items.buckets import Buckets
from hsrl_gym.items.nodes import Ids, Nodes, grown

_PAIRS_AT_ONCE = 1 << 18  # of a leaf and an item; bounds the working memory
_MANY = 256  # items below an ancestor from which all distances below it are one matrix product


class Neighbours:
    """Rows (W,) of items, one for each leaf: the items below its deepest ancestor that has W of them.

    Longest common prefix first, then smallest distance. So a row changes only if something below that ancestor does.
    Rows are computed when first asked for, and again when first asked for after such a change.
    """

    def __init__(
        self, depths: Sequence[Nodes], buckets: Buckets, centroids: Sequence[NDArray[np.float32]], width: int
    ) -> None:
        """Take the parts of the trie that change, and the length of the rows."""
        self._depths = depths
        self._buckets = buckets
        self._centroids = centroids
        self._width = width
        self._rows = np.empty((0, width), dtype=np.int32)
        self._right_at = np.empty(0, dtype=np.int64)  # the trie's version when a row was last known to be right

    def rows(self, leaves: Ids, version: int) -> Ids:
        """Return (n, W) items of leaves (n,), as of the trie's present version; W is at most the live items."""
        n_leaves = len(self._depths[-1])
        if len(self._rows) < n_leaves:
            self._rows = grown(self._rows, n_leaves)
            self._right_at = grown(self._right_at, n_leaves, -1)
        width = min(self._width, int(self._depths[0].n_live[0]))
        unsure = leaves[self._right_at[leaves] != version]
        if len(unsure):
            unsure = np.unique(unsure)
            self._update(unsure, width)
            self._right_at[unsure] = version
        return self._rows[leaves, :width].astype(np.int64)

    def _update(self, leaves: Ids, width: int) -> None:
        path = self._path(leaves)
        nodes = list(enumerate(self._depths))
        counts = np.stack([pool.n_live[path[:, depth]] for depth, pool in nodes], axis=1)  # (n, L + 1)
        changed_at = np.stack([pool.changed_at[path[:, depth]] for depth, pool in nodes], axis=1)
        depth = len(nodes) - 1 - (counts[:, ::-1] >= width).argmax(1)  # of the ancestor; counts fall along a path
        each = np.arange(len(leaves))
        stale = np.flatnonzero(changed_at[each, depth] > self._right_at[leaves])
        size = counts[each, depth][stale]
        ancestor = path[each, depth][stale] * len(nodes) + depth[stale]  # ids alone repeat at other depths
        order = np.lexsort((ancestor, size))
        stale, size, ancestor = stale[order], size[order], ancestor[order]
        for part in _parts(size, ancestor):
            some = stale[part]
            if size[part][0] < _MANY:
                pairs = self._all_pairs(path[some], depth[some])
            else:
                pairs = self._near_pairs(path[some], int(depth[some[0]]), width)
            self._rows[leaves[some], :width] = self._sorted_out(*pairs, width)

    def _sorted_out(self, row: Ids, leaf: Ids, apart: Ids, distance: NDArray[np.float64], width: int) -> Ids:
        """Return rows (n, W) of items from pairs (P,) of a row and a leaf, in order of row, then of SID."""
        order = np.lexsort((distance, apart, row))  # stable: equal ones by SID
        row, leaf = row[order], leaf[order]
        n_items = self._depths[-1].n_live[leaf]
        before = np.cumsum(n_items) - n_items
        before -= before[np.searchsorted(row, row)]  # items listed before this leaf in its row
        kept = before < width
        leaf, n_items = leaf[kept], np.minimum(n_items, width - before)[kept]
        shift = self._buckets.bounds(leaf)[0] - (np.cumsum(n_items) - n_items)
        places = np.arange(n_items.sum()) + np.repeat(shift, n_items)
        return self._buckets.items_at(places).reshape(-1, width)

    def _near_pairs(self, path: Ids, depth: int, width: int) -> tuple[Ids, Ids, Ids, NDArray[np.float64]]:
        """Return `_all_pairs` of leaves with one ancestor, without pairs that W others come before."""
        below = self._leaves_below(path[:1], np.array([depth]))[1]
        apart = (path[:, None, 1:] != self._path(below)[None, :, 1:]).sum(-1)  # (n, m)
        left, right = (self._vectors(leaves).astype(np.float64) for leaves in (path[:, -1], below))
        squares = (left**2).sum(-1)[:, None] + (right**2).sum(-1)[None]
        distance = np.maximum(squares - 2 * left @ right.T, 0.0)
        order = np.where(apart == apart.max(1, keepdims=True), distance, -1.0)
        last = np.partition(order, min(width, len(below)) - 1, axis=1)[:, min(width, len(below)) - 1]
        row, column = np.nonzero(order <= last[:, None])
        return row, below[column], apart[row, column], distance[row, column]

    def _all_pairs(self, path: Ids, depth: Ids) -> tuple[Ids, Ids, Ids, NDArray[np.float64]]:
        """Return `_leaves_below`, and the squared distances (P,) of those leaves from the leaves of their rows."""
        row, leaf, apart = self._leaves_below(path, depth)
        unique, place = np.unique(np.concatenate([path[:, -1], leaf]), return_inverse=True)
        vectors = self._vectors(unique).astype(np.float64)
        squares = (vectors**2).sum(1)
        own, other = place[row], place[len(path) :]
        products = np.einsum("pd,pd->p", vectors[own], vectors[other])
        return row, leaf, apart, np.maximum(squares[own] + squares[other] - 2 * products, 0.0)

    def _leaves_below(self, path: Ids, depth: Ids) -> tuple[Ids, Ids, Ids]:
        """Return pairs (P,): a row of `path`, a live leaf below its ancestor, and by how many levels they are apart."""
        n_levels = len(self._depths) - 1
        row = np.flatnonzero(depth == 0)
        node, apart = path[row, 0], np.zeros(len(row), dtype=np.int64)
        for level, pool in enumerate(self._depths[:-1]):
            parent, token = np.nonzero(pool.is_live[node])
            row, apart = row[parent], apart[parent]
            node = pool.child[node[parent], token]
            apart[(apart == 0) & (node != path[row, level + 1])] = n_levels - level
            begin = np.flatnonzero(depth == level + 1)  # rows whose ancestor is at this depth join
            row = np.concatenate([row, begin])
            node = np.concatenate([node, path[begin, level + 1]])
            apart = np.concatenate([apart, np.zeros(len(begin), dtype=np.int64)])
        return row, node, apart

    def _vectors(self, leaves: Ids) -> NDArray[np.float32]:
        """Return (n, D): the sums of the centroids of the leaves' tokens."""
        path = self._path(leaves)
        tokens = [pool.token[path[:, depth]] for depth, pool in enumerate(self._depths)][1:]
        return np.sum([table[token] for table, token in zip(self._centroids, tokens, strict=True)], axis=0)

    def _path(self, leaves: Ids) -> Ids:
        """Return (n, L + 1): the nodes from the root to each leaf."""
        path = [leaves]
        for pool in self._depths[:0:-1]:
            path.append(pool.parent[path[-1]])
        return np.stack(path[::-1], axis=1)


def _parts(sizes: Ids, ancestors: Ids) -> Iterator[slice]:
    """Yield slices of rows, in order of size (n,): of size `_PAIRS_AT_ONCE` in sum, or one row.

    Where the size is `_MANY` or more, a slice has one ancestor (n,).
    """
    few = int(np.searchsorted(sizes, _MANY))
    changes = few + np.flatnonzero(np.diff(ancestors[few:], prepend=-1))
    for start, stop in pairwise([0, *changes.tolist(), len(sizes)]):
        ends = np.cumsum(sizes[start:stop])
        begin = start
        while begin < stop:
            limit = ends[begin - start] - sizes[begin] + _PAIRS_AT_ONCE
            end = start + max(int(np.searchsorted(ends, limit, side="right")), begin - start + 1)
            yield slice(begin, end)
            begin = end
