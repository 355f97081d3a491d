"""Small logs: from what size down they are treated otherwise, and in what.

A log of fewer than `SMALL_LOG` slates leaves much open, and is passed many times in a fit. So for a small log:

- `hsrl-gym build`, and the environments that build their own bundle, fit each user three times and take the mean
  (`ensemble_size_for`). With one fit to MovieLens-100K (9,600 slates), a supervised ranker has a Total Reward of 7.8 by
  the `train` user and of 4.7 by the `eval` user: agents learn what a single fit invents;
- `fit.fit_simulator` takes slates with short histories together, so that no time goes to padding.

Other logs give the same users, to the last bit, as if this module were not there.
"""

from __future__ import annotations

SMALL_LOG = 20_000  # slates


def is_small(n_slates: int) -> bool:
    """Return whether a log of M slates is small."""
    return n_slates < SMALL_LOG


def ensemble_size_for(n_slates: int) -> int:
    """Return the advised number of fits per user for a log of M slates."""
    return 3 if is_small(n_slates) else 1
