"""Standardized item features: by hand, and what a way through the raw values keeps."""

from __future__ import annotations

import numpy as np
import pytest

from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import fit_codebook
from hsrl_gym.items.features import round_trip, standardize

RAW = np.array([[9.0, 9.0], [0.0, 5.0], [4.0, 5.0]])  # the second column is constant


def test_by_hand() -> None:
    features = standardize(RAW)
    assert features.values.tolist() == [[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]
    assert (features.mean.tolist(), features.scale.tolist()) == ([2.0, 5.0], [2.0, 1.0])
    assert features.values.dtype == features.mean.dtype == features.scale.dtype == np.float32


def test_a_round_trip_changes_the_rounding_alone() -> None:
    features = standardize(np.random.default_rng(0).normal(3.0, 2.0, (50, 4)))
    again = round_trip(features)
    np.testing.assert_allclose(again.values, features.values, atol=1e-6)
    assert not again.values[0].any()


def test_a_codebook_takes_them_as_they_are() -> None:
    raw = np.random.default_rng(0).normal(size=(20, 3))
    features = standardize(raw)
    codebook, same = fit_codebook(features, 2, 5), fit_codebook(raw, 2, 5)
    assert codebook.features is features.values
    np.testing.assert_array_equal(codebook.codes, same.codes)
    np.testing.assert_array_equal(codebook.features, same.features)


@pytest.mark.parametrize("raw", [np.zeros((1, 2)), np.zeros(3), np.array([[0.0], [np.nan]])])
def test_what_is_no_table_of_features_is_refused(raw: np.ndarray) -> None:
    with pytest.raises(HsrlError, match="got item features of shape"):
        standardize(raw)
