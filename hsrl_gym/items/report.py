"""Quality of a codebook: collisions, token use, reconstruction error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CodebookReport:
    """Quality of a codebook over its live items.

    Attributes:
        n_items: live items.
        n_sids: number of distinct SIDs.
        n_collisions: items that share their SID with an item of higher priority; 0 when every item has its own.
        n_moved: items that were moved off their nearest token to remove collisions.
        largest_bucket: largest number of items on one SID.
        used_tokens: per level, number of the V_l tokens in use.
        perplexity: per level, exp of the entropy of token use; V_l when all are used equally. A low value in the middle
            is the hourglass effect (paper 4.5).
        reconstruction_error: share of the item vectors' variance that the sum of their centroids does not explain.
    """

    n_items: int
    n_sids: int
    n_collisions: int
    n_moved: int
    largest_bucket: int
    used_tokens: tuple[int, ...]
    perplexity: tuple[float, ...]
    reconstruction_error: float


def report_on(
    codes: NDArray[np.int32], vectors: NDArray[np.float32], centroids: Sequence[NDArray[np.float32]], n_moved: int
) -> CodebookReport:
    """Return the report on live items with codes (n, L) and vectors (n, D), for L tables of centroids (V_l, D)."""
    buckets = np.unique(codes, axis=0, return_counts=True)[1]
    used, perplexity = [], []
    for level, table in enumerate(centroids):
        share = np.bincount(codes[:, level], minlength=len(table)) / len(codes)
        used.append(int((share > 0).sum()))
        perplexity.append(float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum())))
    sums = np.sum([table[codes[:, level]] for level, table in enumerate(centroids)], axis=0)
    variance = float(((vectors - vectors.mean(0)) ** 2).sum())
    return CodebookReport(
        n_items=len(codes),
        n_sids=len(buckets),
        n_collisions=len(codes) - len(buckets),
        n_moved=n_moved,
        largest_bucket=int(buckets.max()),
        used_tokens=tuple(used),
        perplexity=tuple(perplexity),
        reconstruction_error=float(((vectors - sums) ** 2).sum()) / max(variance, 1e-12),
    )
