"""The buckets: which items share a leaf, in priority order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.items.nodes import Ids


class Buckets:
    """All live items in one sorted array of keys, leaf * (N + 1) + rank of the item by priority."""

    def __init__(self, priority: NDArray[np.float32]) -> None:
        """Begin with empty buckets; `priority` (N + 1,) is largest first, equal ones by item id."""
        self._item_of_rank = np.lexsort((np.arange(len(priority)), -priority))
        self._rank = np.argsort(self._item_of_rank)
        self._keys = np.empty(0, dtype=np.int64)

    def add(self, items: Ids, leaves: Ids) -> None:
        """Put items (M,) into the buckets of leaves (M,)."""
        keys = np.sort(self._key(items, leaves))
        self._keys = np.insert(self._keys, np.searchsorted(self._keys, keys), keys)

    def remove(self, items: Ids, leaves: Ids) -> None:
        """Take items (M,) out of the buckets of leaves (M,), in which they are."""
        self._keys = np.delete(self._keys, np.searchsorted(self._keys, self._key(items, leaves)))

    def bounds(self, leaves: Ids) -> tuple[Ids, Ids]:
        """Return the places where the buckets of leaves (n,) begin and end."""
        begin, end = np.searchsorted(self._keys, np.stack([leaves, leaves + 1]) * len(self._rank))
        return begin, end

    def items_at(self, places: Ids) -> Ids:
        """Return the items at places (n,)."""
        return self._item_of_rank[self._keys[places] % len(self._rank)]

    def _key(self, items: Ids, leaves: Ids) -> Ids:
        return leaves * len(self._rank) + self._rank[items]
