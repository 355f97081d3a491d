"""Item features as the networks and the codebook take them: standardized once, with what undoes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsrl_gym.errors import HsrlError


@dataclass(frozen=True)
class ItemFeatures:
    """Standardized item features.

    Attributes:
        values: (N + 1, F) float32, mean 0 and variance 1 over the items; row 0, padding, is zero.
        mean: (F,) float32, subtracted from the raw features.
        scale: (F,) float32, the raw features' standard deviations, by which they are divided; 1 for a constant column.
    """

    values: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]


def round_trip(features: ItemFeatures) -> ItemFeatures:
    """Return the features after a way through their raw values: the same numbers up to rounding.

    `build.with_codebook` quantizes these. The published codebook variants were made so; without the round trip their
    centroids would differ in the last bit, and with them every later draw.
    """
    raw = features.values * features.scale + features.mean
    raw[0] = 0.0
    return standardize(raw)


def standardize(item_features: ArrayLike) -> ItemFeatures:
    """Return raw item features (N + 1, F), row 0 padding, in standardized form.

    Raises:
        HsrlError: for fewer than one item, or features that are not finite.
    """
    raw = np.asarray(item_features, dtype=np.float32)
    if raw.ndim != 2 or len(raw) < 2 or not np.isfinite(raw).all():
        raise HsrlError(f"got item features of shape {raw.shape}, expected (N + 1, F) with N >= 1, all finite.")
    mean, scale = raw[1:].mean(0), raw[1:].std(0)
    scale = np.where(scale > 1e-6, scale, 1.0).astype(np.float32)
    values = ((raw - mean) / scale).astype(np.float32)
    values[0] = 0.0
    return ItemFeatures(values, mean.astype(np.float32), scale)
