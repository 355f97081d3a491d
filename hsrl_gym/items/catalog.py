"""The items on sale: SIDs, vectors and liveness, which may change while environments run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook
from hsrl_gym.items.trie import SidTrie


class Catalog:
    """The present state of a codebook's items. Environment, action space and policy share one object.

    Items arrive, retire, and move to another SID when more is known of them. Centroids, ids and the number of items
    stay, and with them the action space and all weights. A reader keeps the `version` it has seen and takes over the
    rows of `changed_since(version)`.

    Attributes:
        codebook: the items at the start, live or not; it never changes.
        slate_size: K; so many items stay live.
        codes: (N + 1, L) int32, the SIDs now; -1 for padding (row 0) and for items that are not on sale.
        vectors: (N + 1, D) float32, what is known of the items now.
        version: number of changes so far, those undone by `restart` included.
        cooldown: changes, its own included, in which the SID of a retired item is given to no other.
    """

    def __init__(self, codebook: Codebook, slate_size: int, cooldown: int = 0) -> None:
        """Start with the codebook as it is.

        Raises:
            HsrlError: for a slate larger than the live catalog.
        """
        n_live = len(codebook.live_items)
        if slate_size > n_live:
            raise HsrlError(f"got slate_size {slate_size}, expected at most the {n_live} live items.")
        self.codebook, self.slate_size, self.cooldown = codebook, slate_size, cooldown
        self.version = 0
        self._changed_at = np.zeros(len(codebook.codes), dtype=np.int64)
        self._start()

    def _start(self) -> None:
        self.codes, self.vectors = self.codebook.codes.copy(), self.codebook.vectors.copy()
        self._trie: SidTrie | None = None
        self._n_changes = 0
        self._cooling: list[tuple[int, NDArray[np.int32]]] = []  # (change that frees them, SIDs)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickling, without what follows from the rest: the trie, which is most of the bytes."""
        still = np.array_equal(self.vectors, self.codebook.vectors)
        return {**self.__dict__, "_trie": None, "vectors": None if still else self.vectors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state over. The trie is made when it is first asked for."""
        self.__dict__.update(state)
        if self.vectors is None:
            self.vectors = self.codebook.vectors.copy()

    @property
    def trie(self) -> SidTrie:
        """The live SIDs. It is made when it is first asked for, and changes in place."""
        if self._trie is None:
            book = self.codebook
            self._trie = SidTrie(self.codes, book.centroids, book.priority, self.slate_size)
            for _, sids in self._cooling:
                self._trie.reserve(sids)
        return self._trie

    @property
    def n_items(self) -> int:
        """Number of items N that will ever be."""
        return len(self.codes) - 1

    @property
    def live_items(self) -> NDArray[np.intp]:
        """Ids of the items on sale, ascending."""
        return np.flatnonzero(self.codes[:, 0] >= 0)

    @property
    def is_live(self) -> NDArray[np.bool_]:
        """Which items are on sale, (N + 1,)."""
        return self.codes[:, 0] >= 0

    def inputs(self, items: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the inputs (M, F) or (M, F + D) of items (M,) for networks, as `Codebook.item_inputs` has them."""
        book = self.codebook
        if book.to_vector is None:
            return book.features[items]
        return np.hstack([book.features[items], self.vectors[items] / book.vector_size])

    def changed_since(self, version: int) -> NDArray[np.intp]:
        """Return the ids whose SID, liveness or vector has changed since that version, ascending."""
        return np.flatnonzero(self._changed_at > version)

    def change(self, retire: ArrayLike = (), arrive: ArrayLike = ()) -> None:
        """Take items off sale, then put others on sale, each on the free SID nearest to its vector.

        Raises:
            HsrlError: for ids that are no whole numbers, an item to retire that is not live, one to arrive that is, an
                item named twice, or if fewer than `slate_size` items would stay. Nothing is changed then.
        """
        gone, new = _ids(retire, "retire"), _ids(arrive, "arrive")
        self._check(gone, live=True, what="retire")
        self._check(new, live=False, what="arrive")
        n_left = len(self.live_items) - len(gone) + len(new)
        if n_left < self.slate_size:
            raise HsrlError(
                f"got a change that leaves {n_left} items, expected at least the slate size, {self.slate_size}."
            )
        self.version += 1
        self._n_changes += 1
        while self._cooling and self._cooling[0][0] <= self._n_changes:
            self.trie.release(self._cooling.pop(0)[1])
        if len(gone):
            self.trie.remove(gone, reserve=self.cooldown > 0)
            if self.cooldown:
                self._cooling.append((self._n_changes + self.cooldown, self.codes[gone]))
            self.codes[gone] = -1
        self._put(new)
        self._changed_at[gone] = self._changed_at[new] = self.version

    def move(self, items: ArrayLike, vectors: ArrayLike) -> None:
        """Replace what is known of items (M,) by vectors (M, D). Live ones move to the free SID nearest to it.

        Raises:
            HsrlError: for ids that are no whole numbers, an unknown item, one named twice, or vectors of another shape
                or not finite.
        """
        known = _ids(items, "move")
        rows = np.asarray(vectors, dtype=np.float32)
        if rows.shape != (len(known), self.vectors.shape[1]) or not np.isfinite(rows).all():
            expected = (len(known), self.vectors.shape[1])
            raise HsrlError(f"got item vectors of shape {rows.shape}, expected {expected}, all finite.")
        self._check(known, live=None, what="move")
        self.version += 1
        self.vectors[known] = rows
        live = known[self.codes[known, 0] >= 0]
        self.trie.remove(live)
        self._put(live)
        self._changed_at[known] = self.version

    def restart(self) -> None:
        """Return to the start; for readers that is one more change."""
        differ = (self.codes != self.codebook.codes).any(1) | (self.vectors != self.codebook.vectors).any(1)
        if not differ.any() and not self._cooling:
            return
        self.version += 1
        self._changed_at[differ] = self.version
        self._start()

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return the items as they are now, as arrays for `restore`."""
        sids = [sids for _, sids in self._cooling]
        return {
            "codes": self.codes.copy(),
            "vectors": self.vectors.copy(),
            "n_changes": np.array(self._n_changes),
            "cooling": np.concatenate([self.codes[:0], *sids]),  # (M, L), SIDs that cool down
            "cooling_until": np.repeat([until for until, _ in self._cooling], [len(some) for some in sids]).astype(int),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Put the items back as `snapshot` found them; for readers that is one more change.

        Raises:
            HsrlError: for arrays of another catalog.
        """
        codes, vectors = arrays["codes"], arrays["vectors"]
        if codes.shape != self.codes.shape or vectors.shape != self.vectors.shape:
            raise HsrlError(
                f"got a snapshot with codes {codes.shape} and vectors {vectors.shape}, expected {self.codes.shape} and "
                f"{self.vectors.shape}."
            )
        self.version += 1
        self._changed_at[(self.codes != codes).any(1) | (self.vectors != vectors).any(1)] = self.version
        self._start()
        self.codes, self.vectors = codes.astype(self.codes.dtype), vectors.astype(self.vectors.dtype)
        self._n_changes = int(arrays["n_changes"])
        until, sids = arrays["cooling_until"], arrays["cooling"]
        self._cooling = [(int(change), sids[until == change]) for change in np.unique(until)]

    def _put(self, items: NDArray[np.int64]) -> None:
        if len(items):
            self.codes[items] = self.trie.free_sids(self.vectors[items])
            self.trie.insert(items, self.codes[items])

    def _check(self, items: NDArray[np.int64], live: bool | None, what: str) -> None:
        """Raise HsrlError unless the ids are different items of the catalog, all live or none, as `live` says."""
        known = bool(((items >= 1) & (items <= self.n_items)).all()) and len(np.unique(items)) == len(items)
        if not known or (live is not None and (self.is_live[items] != live).any()):
            state = {True: "live ", False: "inactive ", None: ""}[live]
            raise HsrlError(
                f"got items {items.tolist()[:5]}.. to {what}, expected different {state}items of 1..{self.n_items}."
            )


def _ids(items: ArrayLike, what: str) -> NDArray[np.int64]:
    """Return item ids (M,); raise HsrlError unless they are whole numbers. A mask is refused as well."""
    ids = np.atleast_1d(np.asarray(items))
    if ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
        raise HsrlError(f"got items of shape {ids.shape} and type {ids.dtype} to {what}, expected ids (M,), integers.")
    return ids.astype(np.int64)
