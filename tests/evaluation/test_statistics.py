"""Intervals and probabilities of improvement, against ones worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hsrl_agent.evaluation.statistics import Interval, interval, probability_of_improvement


def test_interval_of_one_seed_is_not_available() -> None:
    one = interval([3.0])
    assert one == Interval(3.0, None, None)
    assert one.text() == "3.00 [n/a]"


def test_interval_of_two_seeds_is_their_range() -> None:
    two = interval([3.0, 2.0])
    assert two == Interval(2.5, 2.0, 3.0)
    assert two.text() == "2.50 [2.00, 3.00]"
    assert two.text(digits=1, signed=True) == "+2.5 [+2.0, +3.0]"


@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_of_equal_values_is_a_point(n: int) -> None:
    same = interval([0.1] * n)
    assert (same.low, same.high) == (0.1, 0.1)


def test_interval_of_more_seeds_is_the_bootstrap_of_the_mean() -> None:
    five = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert five.mean == 3.0
    # The mean of 5 draws from 1..5 has standard deviation sqrt(2 / 5); it is nearly normal and symmetric.
    half = 1.96 * np.sqrt(2 / 5)
    assert five.low == pytest.approx(3.0 - half, abs=0.15)
    assert five.high == pytest.approx(3.0 + half, abs=0.15)
    assert interval([1.0, 2.0, 3.0, 4.0, 5.0]) == five  # the same each time


def test_interval_follows_the_skew() -> None:
    """BCa leans to the long tail: of the bootstrap's means of these, 97.5% are 6 or less (binomial(5, 0.2) times 2)."""
    skewed = interval([0.0, 0.0, 0.0, 0.0, 10.0])
    assert (skewed.low, skewed.high) == (0.0, 8.0)


def test_interval_falls_back_to_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def undefined_bca(*args: Any, method: str, **kwargs: Any) -> Any:
        ends = (np.nan, np.nan) if method == "BCa" else (1.5, 2.5)
        return SimpleNamespace(confidence_interval=SimpleNamespace(low=ends[0], high=ends[1]))

    monkeypatch.setattr("scipy.stats.bootstrap", undefined_bca)
    assert interval([1.0, 2.0, 3.0]) == Interval(2.0, 1.5, 2.5)


def test_probability_of_improvement_by_hand() -> None:
    assert probability_of_improvement([3.0, 4.0], [2.0, 1.0]) == 1.0
    assert probability_of_improvement([2.0, 1.0], [3.0, 4.0]) == 0.0
    # 5 beats 1 and 4 and ties 5, 3 beats 1: 2.5 + 1 of 6 pairs.
    assert probability_of_improvement([5.0, 3.0], [1.0, 4.0, 5.0]) == pytest.approx(3.5 / 6)
    assert probability_of_improvement([1.0, 4.0, 5.0], [5.0, 3.0]) == pytest.approx(2.5 / 6)


@pytest.mark.parametrize(("better", "worse"), [([3.0], [2.0]), ([3.0], [2.0, 1.0]), ([3.0, 4.0], [2.0]), ([], [])])
def test_one_run_gives_no_probability(better: list[float], worse: list[float]) -> None:
    assert probability_of_improvement(better, worse) is None
