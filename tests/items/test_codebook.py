"""Semantic IDs: exact codes of toy features, no collisions on the real RL4RS catalog."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hsrl_gym.data.rl4rs import load_rl4rs
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook, fit_codebook

FRAGMENT = Path(__file__).resolve().parents[3] / "shared" / "data" / "rl4rs-fragment"


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)[:, None]


def by_hand(codes: list[tuple[int, int]], features: list[float] | None = None) -> Codebook:
    """V = (2, 2), tokens at 0 and 10, then 0 and 1; standardized = (raw - 2) / 4."""
    n_items = len(codes)
    return Codebook(
        centroids=(column(0, 10), column(0, 1)),
        codes=np.array([(-1, -1), *codes], dtype=np.int32),
        mean=np.array([2], dtype=np.float32),
        scale=np.array([4], dtype=np.float32),
        features=column(0, *(features or [0.0] * n_items)),
        priority=np.zeros(n_items + 1, dtype=np.float32),
    )


def random_features(n_items: int, width: int = 5, seed: int = 0) -> NDArray[np.float32]:
    features = np.random.default_rng(seed).normal(size=(n_items + 1, width)).astype(np.float32)
    features[0] = 0.0
    return features


@pytest.fixture(scope="module")
def rl4rs_features() -> NDArray[np.float32]:
    if not (FRAGMENT / "item_info.csv").is_file():
        pytest.skip(f"the real RL4RS items are not on this machine ({FRAGMENT})")
    features = load_rl4rs(FRAGMENT).item_features
    assert features.shape == (284, 40)
    return features


@pytest.mark.parametrize("vocabulary", [16, 64])
def test_every_real_item_has_a_sid_of_its_own(rl4rs_features: NDArray[np.float32], vocabulary: int) -> None:
    codebook = fit_codebook(rl4rs_features, 3, vocabulary)
    items = np.arange(1, 284)
    sids = codebook.encode(items)
    assert codebook.vocabulary == (vocabulary,) * 3
    assert len({tuple(sid) for sid in sids.tolist()}) == 283
    assert (sids >= 0).all()
    assert (sids < vocabulary).all()
    assert codebook.decode(sids).tolist() == items.tolist()
    report = codebook.report()
    assert (report.n_items, report.n_sids, report.n_collisions, report.largest_bucket) == (283, 283, 0, 1)


def test_more_tokens_describe_the_real_items_better(rl4rs_features: NDArray[np.float32]) -> None:
    errors = [fit_codebook(rl4rs_features, 3, size).report().reconstruction_error for size in (4, 16, 64)]
    assert errors[0] > errors[1] > errors[2] > 0.0  # with 4 x 4 x 4, five times as many items, many are far from home
    assert errors[1] < 0.55
    assert errors[2] < 0.25


def test_toy_codes_with_a_token_for_each_value() -> None:
    # Values 1 < 3 < 5 are all there is to the first level, which leaves nothing to the second.
    codebook = fit_codebook(column(0, 5, 1, 3), 2, (3, 2))
    assert codebook.codes.tolist() == [[-1, -1], [2, 0], [0, 0], [1, 0]]
    assert codebook.mean.tolist() == [3]
    np.testing.assert_allclose(codebook.scale, np.sqrt(8 / 3), rtol=1e-6)
    np.testing.assert_allclose(codebook.centroids[0][:, 0], np.array([-2, 0, 2]) / np.sqrt(8 / 3), rtol=1e-6)
    assert codebook.centroids[1].tolist() == [[0.0], [0.0]]
    assert codebook.n_moved == 0


def test_toy_residuals() -> None:
    # -11 and -9 are -10 less or plus 1, 9 and 11 are 10 less or plus 1; the standard deviation is sqrt(101).
    codebook = fit_codebook(column(0, -11, -9, 9, 11), 2, 2)
    first, second = (
        table[codebook.codes[1:, level], 0] * np.sqrt(101) for level, table in enumerate(codebook.centroids)
    )
    np.testing.assert_allclose(first, [-10, -10, 10, 10], rtol=1e-5)
    np.testing.assert_allclose(second, [-1, 1, -1, 1], rtol=1e-5)
    assert codebook.report().reconstruction_error == pytest.approx(0.0, abs=1e-9)
    assert codebook.n_moved == 0


def test_twins_are_parted_on_the_last_level() -> None:
    codebook = fit_codebook(column(0, 1, 1, 3), 2, 2)
    assert sorted(codebook.codes[1:3].tolist()) == [[0, 0], [0, 1]]
    assert codebook.codes[3].tolist() == [1, 0]
    assert codebook.n_moved == 0  # the spare token is a copy of the twins', as near as the first


def test_items_move_up_a_level_where_a_prefix_cannot_hold_them() -> None:
    # Five twins and a stranger on V = (2, 3): three twins fit below one token, the other two go to the stranger's.
    codebook = fit_codebook(column(0, 1, 1, 1, 1, 1, 9), 2, (2, 3))
    assert codebook.report().n_collisions == 0
    assert np.bincount(codebook.codes[1:, 0]).tolist() == [3, 3]
    twin, stranger = codebook.codes[1:6, 0], codebook.codes[6, 0]
    assert (twin == stranger).sum() == 2


def test_no_more_items_move_than_must() -> None:
    # Three twins at 1, and 5, and 9, on five tokens: those of the values, a copy of the first and a copy of the second.
    # One twin stays, one takes the copy beside it, and only one has to go to the copy of 5.
    codebook = fit_codebook(column(0, 1, 1, 1, 5, 9), 1, 5)
    assert sorted(codebook.codes[1:4, 0].tolist()) == [0, 3, 4]
    assert codebook.codes[4:].tolist() == [[1], [2]]
    assert codebook.n_moved == 1


def test_the_item_that_loses_least_moves() -> None:
    # There is room for two items below a token; of the three near the first, the one nearest to the second moves.
    codebook = fit_codebook(column(0, -10, -9, -6, 10), 2, 2)
    left = codebook.codes[1, 0]
    assert codebook.codes[1:, 0].tolist() == [left, left, 1 - left, 1 - left]
    assert codebook.n_moved >= 1
    assert codebook.report().n_collisions == 0


@settings(max_examples=25, deadline=None)
@given(
    n_items=st.integers(1, 40),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    values=st.integers(1, 6),
    seed=st.integers(0, 100),
)
def test_buckets_are_as_small_as_can_be(n_items: int, sizes: list[int], values: int, seed: int) -> None:
    """Whatever the features, twins included; one item a bucket as long as there are SIDs enough."""
    features = np.random.default_rng(seed).integers(0, values, size=(n_items + 1, 2)).astype(np.float32)
    codebook = fit_codebook(features, len(sizes), sizes, n_restarts=1)
    assert (codebook.codes[1:] >= 0).all()
    assert (codebook.codes[1:] < np.array(sizes)).all()
    report = codebook.report()
    assert report.largest_bucket == ceil(n_items / np.prod(sizes))
    assert report.n_collisions == n_items - report.n_sids
    if n_items <= np.prod(sizes):
        assert report.n_collisions == 0
        assert codebook.decode(codebook.encode(codebook.live_items)).tolist() == list(range(1, n_items + 1))


@pytest.mark.parametrize(("seed", "n_items", "sizes", "values"), [(63, 19, [5, 5], 8), (972, 8, [3, 4, 4], 6)])
def test_points_that_differ_by_rounding_alone(seed: int, n_items: int, sizes: list[int], values: int) -> None:
    """Residuals that are equal but for the last bit made k-means warn of clusters without a point."""
    generator = np.random.default_rng(seed)
    generator.integers(1, 41), generator.integers(1, 6, size=generator.integers(1, 4)), generator.integers(1, 9)
    features = generator.integers(0, values, size=(n_items + 1, int(generator.integers(1, 3)))).astype(np.float32)
    assert fit_codebook(features, len(sizes), sizes, n_restarts=1).report().n_collisions == 0


def test_a_shared_bucket_is_in_priority_order() -> None:
    n_items = 30
    clicks = np.random.default_rng(3).permutation(n_items + 1).astype(np.float32)
    codebook = fit_codebook(random_features(n_items), 2, 2, priority=clicks)
    trie = codebook.trie(8)
    buckets: dict[tuple[int, ...], list[int]] = {}
    for item in sorted(range(1, n_items + 1), key=lambda item: -clicks[item]):
        buckets.setdefault(tuple(codebook.codes[item].tolist()), []).append(item)
    assert max(len(bucket) for bucket in buckets.values()) == 8
    for sid, bucket in buckets.items():
        assert codebook.decode(sid) == bucket[0]
        assert trie.leaf_items(trie.leaf_of_item[bucket[:1]])[0, : len(bucket)].tolist() == bucket


def test_equal_priority_goes_by_item_id() -> None:
    codebook = fit_codebook(np.ones((4, 2)), 1, 1)
    assert codebook.trie(3).leaf_items(np.array([0])).tolist() == [[1, 2, 3]]
    assert codebook.report().n_collisions == 2


def test_report_by_hand() -> None:
    codebook = by_hand([(0, 0), (0, 0), (1, 1), (1, 0)], features=[0.0, 1.0, 12.0, 500.0]).deactivate(4)
    assert by_hand([(0, 0)]).report().n_moved == 0
    report = replace(codebook, n_moved=7).report()
    assert (report.n_items, report.n_sids, report.n_collisions, report.largest_bucket) == (3, 2, 1, 2)
    assert report.n_moved == 7
    assert report.used_tokens == (2, 2)
    entropy = -(2 / 3 * log(2 / 3) + 1 / 3 * log(1 / 3))
    assert report.perplexity == pytest.approx((np.exp(entropy), np.exp(entropy)))
    # Sums of centroids 0, 0, 11 for 0, 1, 12: squared errors 2; squares about the mean 13/3: 798/9.
    assert report.reconstruction_error == pytest.approx(2 / (798 / 9))


def test_perplexity_is_the_vocabulary_when_all_tokens_are_used_alike() -> None:
    report = by_hand([(0, 0), (0, 1), (1, 0), (1, 1)]).report()
    assert report.perplexity == pytest.approx((2.0, 2.0))
    assert by_hand([(0, 0), (0, 1)]).report().perplexity == pytest.approx((1.0, 2.0))
    assert by_hand([(0, 0), (0, 1)]).report().used_tokens == (1, 2)


def test_the_seed_decides() -> None:
    features = random_features(200)
    one, same, other = (fit_codebook(features, 3, 8, seed=seed, n_restarts=1) for seed in (5, 5, 6))
    assert one.codes.tolist() == same.codes.tolist()
    for left, right in zip(one.centroids, same.centroids, strict=True):
        np.testing.assert_array_equal(left, right)
    assert one.codes.tolist() != other.codes.tolist()


def test_features_are_standardized_and_a_constant_one_says_nothing() -> None:
    features = random_features(50, 3)
    features[1:, 1] = 7.0
    scaled = features * np.array([1000.0, 1.0, 0.001], dtype=np.float32)
    codebook = fit_codebook(scaled, 2, 8)
    np.testing.assert_allclose(codebook.features[1:].mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(codebook.features[1:].std(0), [1.0, 0.0, 1.0], atol=1e-5)
    assert codebook.features[0].tolist() == [0.0, 0.0, 0.0]


def test_vectors_are_quantized_in_place_of_features() -> None:
    """Vectors as they are: the second axis, a hundredth of the first, hardly counts, though features say otherwise."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(41, 2)).astype(np.float32) * (1.0, 0.01)
    codebook = fit_codebook(random_features(40, seed=1), 2, 8, vectors=vectors)
    first = codebook.centroids[0][codebook.codes[1:, 0], 0]
    assert np.corrcoef(first, vectors[1:, 0])[0, 1] > 0.95
    assert codebook.report().reconstruction_error < 0.1
    np.testing.assert_allclose(codebook.features[1:].std(0), 1.0, rtol=1e-5)


@pytest.mark.parametrize("vectors", [np.zeros((5, 2)), np.full((6, 2), np.nan), np.zeros(6)])
def test_vectors_that_do_not_fit(vectors: NDArray[np.float64]) -> None:
    with pytest.raises(HsrlError, match=r"got item vectors of shape .*, expected \(6, D\), all finite"):
        fit_codebook(random_features(5), 1, 4, vectors=vectors)


def test_one_vocabulary_a_level() -> None:
    assert fit_codebook(random_features(30), 2, [4, 16]).vocabulary == (4, 16)


@pytest.mark.parametrize(
    ("features", "settings_", "message"),
    [
        (np.full((5, 2), np.nan), {}, r"item features of shape \(5, 2\), expected \(N \+ 1, F\).* all finite"),
        (np.array([[0.0], [1.0], [np.inf]]), {}, "all finite"),
        (np.zeros((1, 2)), {}, r"item features of shape \(1, 2\), expected .* N >= 1"),
        (np.zeros(5), {}, r"item features of shape \(5,\)"),
        (np.ones((5, 2)), {"vocabulary": 0}, "got vocabulary 0 for 3 levels, expected a positive size"),
        (np.ones((5, 2)), {"vocabulary": (4, 4)}, r"got vocabulary \(4, 4\) for 3 levels"),
        (np.ones((5, 2)), {"vocabulary": (4, -1, 4)}, "expected a positive size for each level"),
        (np.ones((5, 2)), {"n_levels": 0}, "for 0 levels"),
        (np.ones((5, 2)), {"priority": [1.0, 2.0]}, r"got priority of shape \(2,\), expected \(5,\)"),
        (np.ones((5, 2)), {"priority": [0.0, 1.0, np.nan, 0.0, 0.0]}, "all finite"),
    ],
)
def test_fit_refuses(features: NDArray[np.float64], settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        fit_codebook(features, **settings_)


def test_item_inputs_are_features_and_what_else_is_known() -> None:
    """Features alone where they are what was quantized; else the vectors beside them, as large on average."""
    generator = np.random.default_rng(0)
    features = np.vstack([np.zeros(3), generator.normal(size=(30, 3))]).astype(np.float32)
    plain = fit_codebook(features, 2, 4)
    assert plain.item_inputs is plain.features
    vectors = np.vstack([np.zeros(5), 0.01 * generator.normal(size=(30, 5))]).astype(np.float32)
    made = fit_codebook(features, 2, 4, vectors=vectors)
    assert made.item_inputs.shape == (31, 8)
    np.testing.assert_array_equal(made.item_inputs[:, :3], made.features)
    assert np.square(made.item_inputs[1:, 3:]).mean() == pytest.approx(1.0, rel=1e-4)
    assert not made.item_inputs[0].any()


def test_a_codebook_has_three_levels_of_64_tokens_unless_told_otherwise() -> None:
    assert fit_codebook(random_features(80), n_restarts=1).vocabulary == (64, 64, 64)
