"""Profiles as numbers: columns by hand, limits, and the way to YAML and back."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hsrl_gym.errors import HsrlError
from hsrl_gym.users.profile import MOST_CATEGORIES, PROFILE_LIMIT, ProfileEncoder, fit_profile_encoder


def rows(*values: list[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def test_columns_by_hand() -> None:
    # Column 0: code 7 twice, then 5; column 1 never changes and gets no place. Amounts 1, 2, 3; then a constant.
    encode = fit_profile_encoder(rows([7, 4, 1, 9], [5, 4, 2, 9], [7, 4, 3, 9]), n_categorical=2)
    assert encode.categories == ((7.0, 5.0), ())
    assert encode.compressed == (False, False)
    assert encode.mean == (2.0, 9.0)
    assert encode.scale == (pytest.approx(np.sqrt(2 / 3)), 1.0)
    step = np.sqrt(3 / 2)
    expected = [[1, 0, -step, 0], [0, 1, 0, 0], [0, 0, step, 3]]
    np.testing.assert_allclose(encode(rows([7, 4, 1, 9], [5, 8, 2, 9], [6, 4, 3, 12])), expected, rtol=1e-6)


def test_the_most_frequent_categories_are_kept_the_rest_is_blank() -> None:
    codes = np.concatenate([np.full(3, 100), np.full(2, 200), np.arange(30)]).astype(np.float32)[:, None]
    encode = fit_profile_encoder(codes, n_categorical=1)
    assert len(encode.categories[0]) == MOST_CATEGORIES
    assert encode.categories[0][:3] == (100.0, 200.0, 0.0)  # equally frequent ones by code
    assert encode(rows([100], [21], [22], [29])).sum(1).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_heavy_tails_are_compressed() -> None:
    # 99 zeros and one 1000: 9.95 standard deviations out. Compressed, log(1001) = 6.91 stands in its place.
    amounts = np.zeros((100, 2), dtype=np.float32)
    amounts[0] = [1000, -1000]
    encode = fit_profile_encoder(amounts, n_categorical=0)
    assert encode.compressed == (True, True)
    assert encode.mean == pytest.approx((np.log(1001) / 100, -np.log(1001) / 100))
    assert encode.scale == pytest.approx((np.log(1001) * np.sqrt(0.01 * 0.99),) * 2)
    e_less_1 = float(np.e - 1)  # compressed to 1
    got = encode(rows([e_less_1, -e_less_1]))
    one = (1 - np.log(1001) / 100) / (np.log(1001) * np.sqrt(0.01 * 0.99))
    np.testing.assert_allclose(got, [[one, -one]], rtol=1e-5)


def test_light_tails_are_left_alone() -> None:
    amounts = np.random.default_rng(0).normal(size=(1000, 1)).astype(np.float32)
    assert fit_profile_encoder(amounts, 0).compressed == (False,)


def test_values_are_clipped() -> None:
    encode = fit_profile_encoder(rows([0], [1], [2], [3]), n_categorical=0)
    assert encode(rows([1e6], [-1e6]))[:, 0].tolist() == [PROFILE_LIMIT, -PROFILE_LIMIT]


def test_no_categories_or_no_amounts() -> None:
    assert fit_profile_encoder(rows([1], [2]), 1)(rows([1], [2])).tolist() == [[1, 0], [0, 1]]
    assert fit_profile_encoder(rows([1], [3]), 0)(rows([1], [3])).tolist() == [[-1], [1]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), n_categorical=st.integers(0, 3))
def test_unseen_profiles_stay_within_limits_and_yaml_keeps_the_encoder(seed: int, n_categorical: int) -> None:
    generator = np.random.default_rng(seed)
    amounts = generator.standard_cauchy(size=(40, 3))
    profile = np.column_stack([generator.integers(0, 5, size=(40, n_categorical)), amounts]).astype(np.float32)
    encode = fit_profile_encoder(profile, n_categorical)
    encoded = encode(100 * profile)
    assert encoded.dtype == np.float32
    assert np.abs(encoded).max() <= PROFILE_LIMIT
    again = ProfileEncoder.from_dict(yaml.safe_load(yaml.safe_dump(encode.to_dict())))
    assert again == encode
    np.testing.assert_array_equal(again(profile), encode(profile))


@pytest.mark.parametrize("shape", [(2, 3), (2, 5), (4,)])
def test_refuses_profiles_of_another_width(shape: tuple[int, ...]) -> None:
    encode = fit_profile_encoder(rows([1, 2, 3, 4], [2, 3, 4, 5]), n_categorical=2)
    with pytest.raises(HsrlError, match=r"expected \(M, 4\) as in the train rows"):
        encode(np.zeros(shape, dtype=np.float32))
