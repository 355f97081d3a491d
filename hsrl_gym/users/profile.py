"""User profiles as inputs of a network: one-hot categories, compressed and standardized numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.errors import HsrlError

MOST_CATEGORIES = 24
PROFILE_LIMIT = 5.0
_HEAVY_TAIL = 6.0  # standard deviations


@dataclass(frozen=True)
class ProfileEncoder:
    """The encoding of raw profiles, fitted to the train split.

    Attributes:
        categories: for each categorical column, the codes that get a one-hot column: the most frequent ones, at most
            24. Other codes become all zeros. A column with a single code gets none.
        compressed: for each numeric column, whether x is replaced by sign(x) log(1 + |x|). That is done where values
            lie beyond six standard deviations, as amounts of money do.
        mean: means of the numeric columns, after compression.
        scale: their standard deviations, 1 for a constant column.
    """

    categories: tuple[tuple[float, ...], ...]
    compressed: tuple[bool, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __call__(self, profile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return encoded profiles: (M, P_raw) to (M, P) float32 in [-5, 5].

        Raises:
            HsrlError: for profiles of another width.
        """
        n_categorical, n_columns = len(self.categories), len(self.categories) + len(self.mean)
        if profile.ndim != 2 or profile.shape[1] != n_columns:
            raise HsrlError(f"got profiles of shape {profile.shape}, expected (M, {n_columns}) as in the train rows.")
        hot = [
            (profile[:, column, None] == np.array(codes, dtype=np.float32)).astype(np.float32)
            for column, codes in enumerate(self.categories)
            if codes
        ]
        amounts = profile[:, n_categorical:]
        amounts = np.where(np.array(self.compressed, dtype=bool), _compress(amounts), amounts)
        amounts = (amounts - np.array(self.mean)) / np.array(self.scale)
        return np.hstack([*hot, np.clip(amounts, -PROFILE_LIMIT, PROFILE_LIMIT)]).astype(np.float32)

    def to_dict(self) -> dict[str, list[object]]:
        """Return the settings as plain lists, to be written to YAML."""
        return {
            "categories": [list(codes) for codes in self.categories],
            "compressed": list(self.compressed),
            "mean": list(self.mean),
            "scale": list(self.scale),
        }

    @classmethod
    def from_dict(cls, values: dict[str, list[Any]]) -> ProfileEncoder:
        """Return the encoder that `to_dict` wrote."""
        categories = tuple(tuple(codes) for codes in values["categories"])
        return cls(categories, tuple(values["compressed"]), tuple(values["mean"]), tuple(values["scale"]))


def fit_profile_encoder(profile: NDArray[np.float32], n_categorical: int) -> ProfileEncoder:
    """Return the encoder of raw profiles (M, P_raw) whose first `n_categorical` columns are category codes."""
    categories = []
    for column in range(n_categorical):
        codes, counts = np.unique(profile[:, column], return_counts=True)
        kept = codes[np.argsort(-counts, kind="stable")][:MOST_CATEGORIES]
        categories.append(tuple(float(code) for code in kept) if len(codes) > 1 else ())
    amounts = profile[:, n_categorical:].astype(np.float64)
    compressed = np.abs(amounts - amounts.mean(0)).max(0, initial=0.0) > _HEAVY_TAIL * amounts.std(0)
    amounts = np.where(compressed, _compress(amounts), amounts)
    scale = np.where(amounts.std(0) > 1e-6, amounts.std(0), 1.0)
    return ProfileEncoder(
        tuple(categories), tuple(compressed.tolist()), tuple(amounts.mean(0).tolist()), tuple(scale.tolist())
    )


def _compress(amounts: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return np.sign(amounts) * np.log1p(np.abs(amounts))
