"""Residual k-means on catalogs too large to hold all distances at once, against one that holds them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hsrl_gym.items import quantization
from hsrl_gym.items.quantization import residual_k_means


def crowd(n_items: int = 300, seed: int = 0) -> NDArray[np.float32]:
    """Items of a few crowds, so that many have to leave their nearest token; some are twins."""
    generator = np.random.default_rng(seed)
    points = generator.integers(0, 3, size=(n_items, 3)) * 5 + generator.normal(size=(n_items, 3)).round(1)
    return points.astype(np.float32)


@pytest.mark.parametrize("sizes", [(8, 8, 5), (4, 4, 4), (6, 50), (5, 2), (1, 3)])
@pytest.mark.parametrize("n_rows", [1, 7])
def test_distances_some_rows_at_a_time_give_the_same(
    sizes: tuple[int, ...], n_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    centroids, codes, n_moved = residual_k_means(crowd(), sizes, seed=1, n_restarts=1)
    monkeypatch.setattr(quantization, "_ROWS_AT_ONCE", n_rows)
    again, codes_again, n_moved_again = residual_k_means(crowd(), sizes, seed=1, n_restarts=1)
    assert n_moved == n_moved_again > 0
    np.testing.assert_array_equal(codes, codes_again)
    for table, table_again in zip(centroids, again, strict=True):
        np.testing.assert_array_equal(table, table_again)


def test_twins_that_part_lose_nothing() -> None:
    """The tokens of the second level are copies of one centroid, so whoever takes the other is as near as before."""
    _, codes, n_moved = residual_k_means(np.zeros((2, 1), dtype=np.float32), (1, 2), seed=0, n_restarts=1)
    assert sorted(codes[:, 1].tolist()) == [0, 1]
    assert n_moved == 0


@pytest.mark.parametrize("n_distinct", [1, 4, 5, 6, 40])
def test_distinct_points_are_looked_for_until_there_are_enough(n_distinct: int) -> None:
    """They are all there, though they come late, where there are no more than tokens."""
    late = np.concatenate([np.zeros(500), np.arange(n_distinct)]).astype(np.float32)[:, None]
    found = quantization._some_distinct(late, 6)
    if n_distinct < 6:
        np.testing.assert_array_equal(found, np.arange(n_distinct)[:, None])
    assert len(found) >= min(n_distinct, 6)


def test_minibatches_part_clear_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "_MINI_BATCH_FROM", 100)
    centroids, codes, _ = residual_k_means(crowd(200), (27, 64), seed=0, n_restarts=4)
    corners = crowd(200) - centroids[0][codes[:, 0]]
    assert np.square(corners).mean() < 2.0  # about 1 within a crowd, 17 in all
    assert len(np.unique(codes, axis=0)) == 200
