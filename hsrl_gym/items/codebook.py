"""The codebook: a semantic ID (SID) for every item, from fixed centroids (paper 3.2, Appendix C and E)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsrl_gym.errors import HsrlError
from hsrl_gym.items.features import ItemFeatures, standardize
from hsrl_gym.items.quantization import residual_k_means
from hsrl_gym.items.report import CodebookReport, report_on
from hsrl_gym.items.trie import SidTrie


@dataclass(frozen=True)
class Codebook:
    """Fixed centroids per level and the SID of every item.

    Attributes:
        centroids: L arrays (V_l, D) float32 in the space of `vectors`.
        codes: (N + 1, L) int32 tokens 0..V_l - 1; -1 for padding (row 0) and inactive items.
        mean: (F,) float32, subtracted from features.
        scale: (F,) float32, features are divided by it.
        features: (N + 1, F) float32, standardized.
        priority: (N + 1,) float32, order of the items that share a SID, largest first; equal ones by item id.
        n_moved: items moved off their nearest token when the codebook was fitted.
        vectors: (N + 1, D) float32, the quantized vectors; None stands for the features.
        to_vector: (F, D) float32, predicts the vector of a new item from its features; None for the identity.
    """

    centroids: tuple[NDArray[np.float32], ...]
    codes: NDArray[np.int32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    features: NDArray[np.float32]
    priority: NDArray[np.float32]
    n_moved: int = 0
    vectors: NDArray[np.float32] = None  # type: ignore[assignment]  # never None once made
    to_vector: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.vectors is None:
            object.__setattr__(self, "vectors", self.features)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields for pickling; what was computed from them is made again when it is asked for."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Number of tokens of each level, (V_1, .., V_L)."""
        return tuple(len(level) for level in self.centroids)

    @cached_property
    def item_inputs(self) -> NDArray[np.float32]:
        """Item inputs of every network: the features (N + 1, F), followed by the vectors (N + 1, F + D) if they differ.

        The vectors are scaled to a mean square of 1 over the live items, as the features have. All methods get these
        inputs, so that no method knows more about the items than another.
        """
        if self.to_vector is None:
            return self.features
        return np.hstack([self.features, self.vectors / self.vector_size])

    @cached_property
    def vector_size(self) -> float:
        """Root of the mean square of the live items' vectors."""
        return max(float(np.sqrt(np.square(self.vectors[self.live_items]).mean())), 1e-12)

    @property
    def live_items(self) -> NDArray[np.intp]:
        """Ids of the items that can be shown, ascending."""
        return np.flatnonzero(self.codes[:, 0] >= 0)

    @cached_property
    def _decoding_trie(self) -> SidTrie:
        return self.trie(width=1)

    def trie(self, width: int) -> SidTrie:
        """Return the live SIDs as look-up tables whose leaves name `width` items each; a new trie at each call."""
        return SidTrie(self.codes, self.centroids, self.priority, width)

    def encode(self, items: ArrayLike) -> NDArray[np.int32]:
        """Return the SIDs of item ids: (...) to (..., L) (eq. 31).

        Raises:
            HsrlError: for an id that is no live item.
        """
        ids = np.asarray(items)
        if (ids < 1).any() or (ids >= len(self.codes)).any() or (self.codes[ids, 0] < 0).any():
            raise HsrlError(
                f"got item ids {ids.min()}..{ids.max()}, expected live ones out of 1..{len(self.codes) - 1}."
            )
        return self.codes[ids]

    def decode(self, tokens: ArrayLike) -> NDArray[np.int32]:
        """Return the first item of each SID: (..., L) tokens to (...) ids (eq. 9).

        A token without a live item under its prefix counts as its nearest live sibling.

        Raises:
            HsrlError: for a token outside its vocabulary.
        """
        sequence = np.asarray(tokens)
        if sequence.shape[-1] != len(self.centroids):
            raise HsrlError(f"got {sequence.shape[-1]} tokens for a SID, expected {len(self.centroids)}.")
        wrong = sequence[(sequence < 0) | (sequence >= np.array(self.vocabulary))]
        if len(wrong):
            raise HsrlError(f"got token {wrong[0]}, expected 0..V_l - 1 with V = {self.vocabulary}.")
        trie = self._decoding_trie
        return trie.first_item[trie.leaves(sequence)].astype(np.int32)

    def with_items(self, features: ArrayLike, priority: float = 0.0) -> Codebook:
        """Return the codebook with M new items after the last id; centroids and other SIDs stay as they are.

        Args:
            features: (M, F) raw features of the new items.
            priority: of the new items, in buckets that they share.

        Raises:
            HsrlError: for features of another width, or that are not finite.
        """
        added = np.atleast_2d(np.asarray(features, dtype=np.float32))
        if added.shape[1] != len(self.mean) or not np.isfinite(added).all():
            raise HsrlError(f"got item features of shape {added.shape}, expected (M, {len(self.mean)}), all finite.")
        features = ((added - self.mean) / self.scale).astype(np.float32)
        vectors = self.guess_vectors(features)
        return replace(
            self,
            codes=np.vstack([self.codes, self._decoding_trie.free_sids(vectors)]),
            features=np.vstack([self.features, features]),
            vectors=np.vstack([self.vectors, vectors]),
            priority=np.append(self.priority, np.full(len(vectors), priority, dtype=np.float32)),
        )

    def guess_vectors(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the predicted vectors (M, D) of items with standardized features (M, F)."""
        return features if self.to_vector is None else features @ self.to_vector

    def deactivate(self, items: ArrayLike) -> Codebook:
        """Return the codebook without these items in the live catalog. Their SIDs become free; their ids stay reserved.

        Raises:
            HsrlError: for an item that is not live, or if no live item would remain.
        """
        self.encode(items)
        codes = self.codes.copy()
        codes[np.asarray(items)] = -1
        if (codes[:, 0] < 0).all():
            raise HsrlError("got every live item to deactivate, expected at least one to stay.")
        return replace(self, codes=codes)

    def forget(self, items: ArrayLike) -> Codebook:
        """Return the codebook in which these items are inactive, and as good as unknown.

        Their vectors are what features say of them, by a regression on the other items; their priority is 0. What
        clicks on them have left elsewhere stays: centroids were fitted with them, and the histories of a bundle's users
        may hold them.

        Raises:
            HsrlError: for an item that is not live, or if no live item would remain.
        """
        smaller = self.deactivate(items)
        known = smaller.live_items
        ids, priority, vectors = np.asarray(items), self.priority.copy(), self.vectors.copy()
        priority[ids] = 0.0
        to_vector = None if self.to_vector is None else fit_to_vector(self.features[known], self.vectors[known])
        if to_vector is not None:
            vectors[ids] = self.features[ids] @ to_vector
        return replace(smaller, priority=priority, vectors=vectors, to_vector=to_vector)

    def activate(self, items: ArrayLike) -> Codebook:
        """Return the codebook with these inactive items live again, each with the free SID nearest to its vector.

        Raises:
            HsrlError: for an item that is live, or an unknown id.
        """
        wanted = np.atleast_1d(np.asarray(items))
        known = (wanted >= 1) & (wanted < len(self.codes))
        if not known.all() or (self.codes[wanted, 0] >= 0).any():
            raise HsrlError(f"got items {wanted.tolist()[:5]}.. to activate, expected inactive items of the catalog.")
        codes = self.codes.copy()
        codes[wanted] = self._decoding_trie.free_sids(self.vectors[wanted])
        return replace(self, codes=codes)

    def has_space_of(self, other: Codebook) -> bool:
        """Return whether tokens and ids mean the same in another codebook: equal centroids, as many items."""
        return (
            len(self.codes) == len(other.codes)
            and self.vocabulary == other.vocabulary
            and all(np.array_equal(mine, theirs) for mine, theirs in zip(self.centroids, other.centroids, strict=True))
        )

    def report(self) -> CodebookReport:
        """Return collisions, token use and reconstruction error of the live items."""
        live = self.live_items
        return report_on(self.codes[live], self.vectors[live], self.centroids, self.n_moved)


def fit_codebook(
    item_features: ArrayLike | ItemFeatures,
    n_levels: int = 3,
    vocabulary: int | Sequence[int] = 64,
    seed: int = 0,
    priority: ArrayLike | None = None,
    n_restarts: int = 4,
    vectors: ArrayLike | None = None,
) -> Codebook:
    """Fit the centroids and give every item its own SID (eq. 27-31).

    At each level, a token has room for as many items as there are SIDs below it. Items beyond that move to the nearest
    token with room. So no two items share a SID if N <= V_1 * .. * V_L; otherwise the largest bucket is as small as
    possible.

    Args:
        item_features: raw features (N + 1, F), row 0 is padding; or `ItemFeatures`, already standardized.
        n_levels: L.
        vocabulary: V for all levels, or one size per level.
        seed: of k-means++.
        priority: (N + 1,), order within a bucket, largest first.
        n_restarts: k-means restarts per level.
        vectors: (N + 1, D), vectors to quantize, not standardized again (see `behaviour.behaviour_vectors`); None for
            the standardized features. The vector of a new item is then predicted from its features by ridge regression.

    Raises:
        HsrlError: for fewer than one item, features, vectors or priorities that are not finite or of another shape, or
            a vocabulary that is not positive.
    """
    features = item_features if isinstance(item_features, ItemFeatures) else standardize(item_features)
    n_rows = len(features.values)
    sizes = (vocabulary,) * n_levels if isinstance(vocabulary, int) else tuple(vocabulary)
    if len(sizes) != n_levels or n_levels < 1 or min(sizes) < 1:
        raise HsrlError(f"got vocabulary {vocabulary} for {n_levels} levels, expected a positive size for each level.")
    order = np.zeros(n_rows, np.float32) if priority is None else np.asarray(priority, dtype=np.float32)
    if order.shape != (n_rows,) or not np.isfinite(order).all():
        raise HsrlError(f"got priority of shape {order.shape}, expected ({n_rows},) as item_features, all finite.")
    quantized = features.values if vectors is None else np.asarray(vectors, dtype=np.float32)
    if quantized.ndim != 2 or len(quantized) != n_rows or not np.isfinite(quantized).all():
        raise HsrlError(f"got item vectors of shape {quantized.shape}, expected ({n_rows}, D), all finite.")
    centroids, tokens, n_moved = residual_k_means(quantized[1:], sizes, seed, n_restarts)
    return Codebook(
        centroids=centroids,
        codes=np.vstack([np.full((1, n_levels), -1, dtype=np.int32), tokens]),
        mean=features.mean,
        scale=features.scale,
        features=features.values,
        priority=order,
        n_moved=n_moved,
        vectors=quantized,
        to_vector=None if vectors is None else fit_to_vector(features.values[1:], quantized[1:]),
    )


def fit_to_vector(features: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the matrix (F, D) that predicts vectors (N, D) from features (N, F), by cross-validated ridge."""
    from sklearn.linear_model import RidgeCV

    return RidgeCV(np.logspace(-2, 4, 13), fit_intercept=False).fit(features, vectors).coef_.T.astype(np.float32)
