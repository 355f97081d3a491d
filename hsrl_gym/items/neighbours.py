"""The items of a leaf and those of the leaves nearest to it, for the slots of a slate that name one SID twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.items.buckets import Buckets
from hsrl_gym.items.nodes import Ids, Nodes, grown

_PAIRS_AT_ONCE = 1 << 18  # of a leaf and an item; bounds the working memory


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
        for part in _parts(counts[each, depth][stale]):
            some = stale[part]
            self._rows[leaves[some], :width] = self._computed(path[some], depth[some], width)

    def _computed(self, path: Ids, depth: Ids, width: int) -> Ids:
        """Return rows (n, W) of leaves by their paths (n, L + 1) and the depths (n,) of the ancestors to look below."""
        row, leaf, apart = self._leaves_below(path, depth)
        order = np.lexsort((self._distance(row, leaf, path[:, -1]), apart, row))  # stable: equal ones by SID
        row, leaf = row[order], leaf[order]
        n_items = self._depths[-1].n_live[leaf]
        before = np.cumsum(n_items) - n_items
        before -= before[np.searchsorted(row, row)]  # items listed before this leaf in its row
        kept = before < width
        leaf, n_items = leaf[kept], np.minimum(n_items, width - before)[kept]
        shift = self._buckets.bounds(leaf)[0] - (np.cumsum(n_items) - n_items)
        places = np.arange(n_items.sum()) + np.repeat(shift, n_items)
        return self._buckets.items_at(places).reshape(len(path), width)

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

    def _distance(self, row: Ids, leaf: Ids, leaf_of_row: Ids) -> NDArray[np.float64]:
        """Return the squared distances (P,) of leaves (P,) from the leaves of their rows (P,)."""
        unique, place = np.unique(np.concatenate([leaf_of_row, leaf]), return_inverse=True)
        vectors = self._vectors(unique).astype(np.float64)
        squares = (vectors**2).sum(1)
        own, other = place[row], place[len(leaf_of_row) :]
        products = np.einsum("pd,pd->p", vectors[own], vectors[other])
        return np.maximum(squares[own] + squares[other] - 2 * products, 0.0)

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


def _parts(sizes: Ids) -> Iterator[slice]:
    """Yield slices of rows with these sizes (n,): `_PAIRS_AT_ONCE` in sum, or one row."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        limit = ends[start] - sizes[start] + _PAIRS_AT_ONCE
        stop = max(int(np.searchsorted(ends, limit, side="right")), start + 1)
        yield slice(start, stop)
        start = stop
