"""Means over seeds with their intervals, and how often one method is better than another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_N_RESAMPLES = 9_999


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95% bootstrap interval.

    Attributes:
        mean: over the seeds.
        low, high: None for one seed. With two seeds the ends are the two values themselves.
    """

    mean: float
    low: float | None
    high: float | None

    def text(self, digits: int = 2, signed: bool = False) -> str:
        """Return "mean [low, high]", or "mean [n/a]" for one seed."""
        form = f"{{:{'+' if signed else ''}.{digits}f}}"
        ends = "n/a" if self.low is None or self.high is None else f"{form.format(self.low)}, {form.format(self.high)}"
        return f"{form.format(self.mean)} [{ends}]"


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of one value a seed and its 95% bootstrap interval.

    BCa where it is defined (three seeds and more), else the percentiles of the bootstrap.
    """
    from scipy.stats import bootstrap  # takes a second or two, which processes that only learn need not wait for

    data = np.asarray(values, dtype=np.float64)
    mean = float(data.mean())
    if len(data) == 1:
        return Interval(mean, None, None)
    if len(data) == 2 or np.ptp(data) == 0.0:
        return Interval(mean, float(data.min()), float(data.max()))
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # degenerate resamples give NaN, which is looked at below
            found = bootstrap(
                (data,), np.mean, n_resamples=_N_RESAMPLES, method=method, random_state=np.random.default_rng(0)
            ).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
    return Interval(mean, float(found.low), float(found.high))


def probability_of_improvement(better: Sequence[float], worse: Sequence[float]) -> float | None:
    """Return the share of all pairs in which a run of `better` lies above one of `worse`, ties counted half.

    Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice": all pairs, not those
    of one seed, so that n seeds give n^2 comparisons. None where either has one run: one pair says nothing.
    """
    if len(better) < 2 or len(worse) < 2:
        return None
    difference = np.subtract.outer(np.asarray(better, dtype=np.float64), np.asarray(worse, dtype=np.float64))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))
