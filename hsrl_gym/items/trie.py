"""The live semantic IDs as a trie that changes in place: decoding takes L table lookups and no search (Appendix E)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsrl_gym.errors import HsrlError
from hsrl_gym.items.buckets import Buckets
from hsrl_gym.items.free_sids import free_sids
from hsrl_gym.items.neighbours import Neighbours
from hsrl_gym.items.nodes import Ids, Nodes, grown

Codes = NDArray[np.integer]
_MANY = 2**62


class SidTrie:
    """Tables that map any token sequence to live items. Items come and go; the tables change in place.

    A node's id stays while a SID below it is taken. Then it is free, and a later node may get it.

    Attributes:
        next_node: L arrays (capacity of depth l, V_{l+1}) int64; the child of each token. A token without a live child
            has the child of its nearest live sibling (by centroid distance), so every sequence ends at a live leaf.
        is_live: L bool arrays of the same shapes; whether the token itself has a live child.
        leaf_of_item: (N + 1,) int64; the leaf of an item, -1 where it is not live.
        first_item: (leaf capacity,) int64; the first item of each leaf's bucket, 0 where it is empty.
        version: grows with each change.
        capacity_version: grows when arrays were allocated anew; views of the old ones see no further change.
    """

    def __init__(
        self,
        codes: Codes,
        centroids: Sequence[NDArray[np.float32]],
        priority: NDArray[np.float32],
        width: int,
    ) -> None:
        """Make the trie of the live items.

        Args:
            codes: (N + 1, L) tokens, -1 for padding and for items that are not live.
            centroids: L arrays (V_l, D).
            priority: (N + 1,) order within a bucket, largest first; equal ones by item id.
            width: W, items listed per leaf; fewer if fewer are live.
        """
        self.centroids = tuple(centroids)
        self.version = self.capacity_version = 0
        sizes = [len(table) for table in centroids]
        self.depths = [Nodes(n_tokens, min(prod(sizes[:depth]), _MANY)) for depth, n_tokens in enumerate([*sizes, 0])]
        self.depths[0].allocate(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))  # the root
        self._by_distance = [_by_distance(table) for table in centroids]
        self._buckets = Buckets(priority)
        self._neighbours = Neighbours(self.depths, self._buckets, self.centroids, min(width, len(codes) - 1))
        self.leaf_of_item = np.full(len(codes), -1, dtype=np.int64)
        self.first_item = np.empty(0, dtype=np.int64)
        self._n_reserved = np.empty(0, dtype=np.int64)  # of each leaf
        live = np.flatnonzero(codes[:, 0] >= 0)
        self.insert(live, codes[live])

    @property
    def next_node(self) -> list[Ids]:
        """Return L arrays (capacity of depth l, V_{l+1})."""
        return [nodes.next_node for nodes in self.depths[:-1]]

    @property
    def is_live(self) -> list[NDArray[np.bool_]]:
        """Return L arrays (capacity of depth l, V_{l+1})."""
        return [nodes.is_live for nodes in self.depths[:-1]]

    @property
    def n_live(self) -> int:
        """Number of live items."""
        return int(self.depths[0].n_live[0])

    @property
    def first_leaf(self) -> int:
        """The leaf of the smallest live SID."""
        node = 0
        for nodes in self.depths[:-1]:
            node = int(nodes.child[node, nodes.is_live[node].argmax()])
        return node

    def leaves(self, tokens: Codes) -> Ids:
        """Return the leaf of each token sequence: (..., L) tokens to (...) leaves."""
        node = np.zeros(tokens.shape[:-1], dtype=np.int64)
        for level, table in enumerate(self.next_node):
            node = table[node, tokens[..., level]]
        return node

    def leaf_items(self, leaves: Ids) -> Ids:
        """Return (n, W): the items of each leaf's bucket in priority order, then those of its neighbours.

        Longest common prefix first, then smallest distance. A row is computed when it is first asked for, and again
        when it is first asked for after a change that may concern it.
        """
        return self._neighbours.rows(leaves, self.version)

    def free_sids(self, vectors: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return SIDs (M, L) for vectors (M, D), one after the other; nothing is taken yet.

        Each takes, level by level, the nearest token that has a free SID below it. Once every SID is taken, the
        nearest SIDs are shared.
        """
        return free_sids(self.depths, self.centroids, vectors)

    def insert(self, items: ArrayLike, codes: ArrayLike) -> None:
        """Put items (M,) on sale under SIDs (M, L).

        Raises:
            HsrlError: for an item that is on sale already.
        """
        new: Ids = np.asarray(items, dtype=np.int64)
        if (self.leaf_of_item[new] >= 0).any() or len(np.unique(new)) != len(new):
            raise HsrlError("got items to insert that are live or named twice, expected each once and not live.")
        self.version += 1
        leaves = self._grow_paths(np.asarray(codes, dtype=np.int64))
        self.leaf_of_item[new] = leaves
        self._buckets.add(new, leaves)
        self._settle(leaves, 1)

    def remove(self, items: ArrayLike, reserve: bool = False) -> None:
        """Take items (M,) off sale. Their SIDs are free then, or with `reserve` taken until `release`.

        Raises:
            HsrlError: for an item that is not on sale.
        """
        gone: Ids = np.asarray(items, dtype=np.int64)
        leaves = self.leaf_of_item[gone]
        if (leaves < 0).any() or len(np.unique(gone)) != len(gone):
            raise HsrlError("got items to remove that are not live or named twice, expected each once and live.")
        self.version += 1
        self.leaf_of_item[gone] = -1
        self._buckets.remove(gone, leaves)
        if reserve:
            np.add.at(self._n_reserved, leaves, 1)
        self._settle(leaves, -1)

    def reserve(self, codes: ArrayLike) -> None:
        """Take SIDs (M, L), until `release`, though nothing is on sale there."""
        self.version += 1
        leaves = self._grow_paths(np.asarray(codes, dtype=np.int64))
        np.add.at(self._n_reserved, leaves, 1)
        self._settle(leaves, 0)

    def release(self, codes: ArrayLike) -> None:
        """End one reservation of each SID (M, L).

        Raises:
            HsrlError: for a SID that is not reserved so often.
        """
        sids: Ids = np.asarray(codes, dtype=np.int64)
        leaves = np.zeros(len(sids), dtype=np.int64)
        for level, nodes in enumerate(self.depths[:-1]):
            leaves = np.where(leaves < 0, -1, nodes.child[leaves, sids[:, level]])
        unique, counts = np.unique(leaves, return_counts=True)
        if (leaves < 0).any() or (self._n_reserved[unique] < counts).any():
            raise HsrlError("got SIDs to release that are not reserved, expected those of items removed with reserve.")
        self.version += 1
        self._n_reserved[unique] -= counts
        self._settle(leaves, 0)

    def _grow_paths(self, codes: Ids) -> Ids:
        """Return the leaves (M,) of SIDs (M, L); nodes that are missing on the way are made."""
        node = np.zeros(len(codes), dtype=np.int64)
        for level, nodes in enumerate(self.depths[:-1]):
            n_tokens = nodes.child.shape[1]
            wanted, place = np.unique(node * n_tokens + codes[:, level], return_inverse=True)
            parent, token = wanted // n_tokens, wanted % n_tokens
            child = nodes.child[parent, token]
            new = child < 0
            child[new], grew = self.depths[level + 1].allocate(parent[new], token[new])
            self.capacity_version += grew
            nodes.child[parent, token] = child
            node = child[place]
        capacity = len(self.depths[-1])
        if len(self.first_item) < capacity:
            self.first_item = grown(self.first_item, capacity)
            self._n_reserved = grown(self._n_reserved, capacity)
        return node

    def _settle(self, leaves: Ids, change: int) -> None:
        """Set right the buckets, the counts and the tables above `leaves`, each with `change` live items more."""
        node, counts = np.unique(leaves, return_counts=True)
        begin, end = self._buckets.bounds(node)
        sells = begin < end
        self.first_item[node] = 0
        self.first_item[node[sells]] = self._buckets.items_at(begin[sells])
        taken = (sells | (self._n_reserved[node] > 0)) - self.depths[-1].n_taken[node]
        live = change * counts
        for depth in range(len(self.depths) - 1, 0, -1):
            nodes, above = self.depths[depth], self.depths[depth - 1]
            self._add(nodes, node, live, taken)
            parent, token = nodes.parent[node], nodes.token[node]
            is_live = nodes.n_live[node] > 0
            flipped = above.is_live[parent, token] != is_live
            above.is_live[parent, token] = is_live
            self._snap(depth - 1, np.unique(parent[flipped]))
            empty = nodes.n_taken[node] == 0
            above.child[parent[empty], token[empty]] = -1
            nodes.release(node[empty])
            node, place = np.unique(parent, return_inverse=True)
            live = np.bincount(place, live, len(node)).astype(np.int64)
            taken = np.bincount(place, taken, len(node)).astype(np.int64)
        self._add(self.depths[0], node, live, taken)

    def _add(self, nodes: Nodes, node: Ids, live: Ids, taken: Ids) -> None:
        nodes.n_live[node] += live
        nodes.n_taken[node] += taken
        nodes.changed_at[node] = self.version

    def _snap(self, level: int, rows: Ids) -> None:
        """Let each dead token of these nodes lead to the child of the nearest live one. Nodes all dead stay as are."""
        nodes = self.depths[level]
        rows = rows[nodes.is_live[rows].any(1)]
        tokens = nearest_live(nodes.is_live[rows], self._by_distance[level])
        nodes.next_node[rows] = np.take_along_axis(nodes.child[rows], tokens, axis=1)


def nearest_live(is_live: NDArray[np.bool_], by_distance: Ids) -> Ids:
    """Return the nearest live token (n, V) of each token; each of the n rows (n, V) has a live one."""
    n_tokens = is_live.shape[1]
    tokens = np.empty(is_live.shape, dtype=np.int64)
    few = is_live.sum(1) ** 2 <= n_tokens  # then comparing the live ones is less work than going by distance
    tokens[~few] = _first_live_by_distance(is_live[~few], by_distance)
    row, token = np.nonzero(is_live[few])
    if len(row):
        place = by_distance.argsort(axis=1).T[token]  # (E, V): of each live token in the order of every token
        begin = np.flatnonzero(np.diff(row, prepend=-1))
        tokens[few] = by_distance[np.arange(n_tokens), np.minimum.reduceat(place, begin)]
    return tokens


def _first_live_by_distance(is_live: NDArray[np.bool_], by_distance: Ids) -> Ids:
    """Return tokens (n, V): all dead ones look at their nearest sibling, those without luck at the next, and so on."""
    tokens = np.tile(np.arange(is_live.shape[1]), (len(is_live), 1))
    rows, dead = np.nonzero(~is_live)
    for choice in by_distance.T[1:]:
        if not len(rows):
            break
        option = choice[dead]
        found = is_live[rows, option]
        tokens[rows[found], dead[found]] = option[found]
        rows, dead = rows[~found], dead[~found]
    return tokens


def _by_distance(centroids: NDArray[np.float32]) -> Ids:
    """Return (V, V): the tokens by distance from each token, itself first though its centroid may have copies."""
    points = centroids.astype(np.float64)
    squares = (points**2).sum(-1)
    distance = np.maximum(squares[:, None] + squares[None] - 2 * points @ points.T, 0.0)
    np.fill_diagonal(distance, -1.0)
    return distance.argsort(axis=1, kind="stable")
