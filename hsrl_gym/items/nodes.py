"""The nodes of one depth of the trie, in a pool: ids stay, freed ones are used again, arrays grow by doubling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Nodes:
    """Arrays with a row for each node of one depth, in use or not.

    Attributes:
        parent, token: (capacity,) int64; how a node hangs below the depth above.
        n_live: (capacity,) int64; live items below.
        n_taken: (capacity,) int64; SIDs below that have a live item or are reserved. A node without any is freed.
        changed_at: (capacity,) int64; the trie's version when something below changed last.
        child: (capacity, V) int64; the node that each token leads to, -1 for none.
        is_live: (capacity, V) bool; whether that child has a live item.
        next_node: (capacity, V) int64; the child of the nearest live token.
    """

    def __init__(self, n_tokens: int, most: int) -> None:
        """Make a pool without nodes, of capacity 1 so that there is a row for the index -1.

        Args:
            n_tokens: V of the level below; 0 for leaves.
            most: nodes that there can ever be.
        """
        self.most = most
        self.n_used = 0  # ids given out so far, free ones included
        self.free = np.empty(0, dtype=np.int64)
        self.parent = np.zeros(1, dtype=np.int64)
        self.token = np.zeros(1, dtype=np.int64)
        self.n_live = np.zeros(1, dtype=np.int64)
        self.n_taken = np.zeros(1, dtype=np.int64)
        self.changed_at = np.zeros(1, dtype=np.int64)
        self.child = np.full((1, n_tokens), -1, dtype=np.int64)
        self.is_live = np.zeros((1, n_tokens), dtype=np.bool_)
        self.next_node = np.zeros((1, n_tokens), dtype=np.int64)

    def __len__(self) -> int:
        """Return the capacity."""
        return len(self.parent)

    def allocate(self, parent: Ids, token: Ids) -> tuple[Ids, bool]:
        """Return ids (n,) of new nodes without children, and whether the arrays grew for them."""
        n_again = min(len(self.free), len(parent))
        n_fresh = len(parent) - n_again
        self.free, again = np.split(self.free, [len(self.free) - n_again])
        nodes = np.concatenate([again, np.arange(self.n_used, self.n_used + n_fresh)])
        self.n_used += n_fresh
        grew = self.n_used > len(self)
        if grew:
            self._grow(min(max(2 * len(self), self.n_used), self.most))
        self.parent[nodes], self.token[nodes] = parent, token
        return nodes, grew

    def release(self, nodes: Ids) -> None:
        """Free nodes (n,) that have no children left."""
        self.free = np.concatenate([self.free, nodes])

    def _grow(self, capacity: int) -> None:
        for name in ("parent", "token", "n_live", "n_taken", "changed_at", "child", "is_live", "next_node"):
            setattr(self, name, grown(getattr(self, name), capacity, -1 if name == "child" else 0))


def grown(array: NDArray, capacity: int, value: float = 0) -> NDArray:
    """Return a copy of an array with `capacity` rows, new ones filled with `value`."""
    larger = np.full((capacity, *array.shape[1:]), value, dtype=array.dtype)
    larger[: len(array)] = array
    return larger
