"""What went on within the sessions and in the codebook, as pictures: steps of a session, tokens in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from figures import LEVEL_COLOURS, looks_of, new_figure, tidy
from results import Row, label, sort_methods

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REWARD, PLAYING = "reward", "playing"
_AXIS = {REWARD: "mean reward of those still playing", PLAYING: "share of users still playing"}


def with_profile(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that have a profile of the session's steps."""
    return [row for row in rows if all((row.get("step_profile") or {}).get(name) for name in (REWARD, PLAYING))]


def profile_figure(rows: Sequence[Row], what: str) -> Figure:
    """Return `REWARD` or `PLAYING` by step of the session, mean over seeds, a line for each method.

    Args:
        rows: of one environment, each with a profile.
        what: which of the two.
    """
    methods = sort_methods({row["method"] for row in rows})
    looks = looks_of(methods)
    figure = new_figure(5.6, 4.0)
    axes: Any = figure.subplots()
    for method in methods:
        profiles = [row["step_profile"][what] for row in rows if row["method"] == method]
        means = mean_profile(profiles, beyond=0.0 if what == PLAYING else None)
        axes.plot(
            np.arange(1, len(means) + 1),
            means,
            color=looks[method][0],
            marker=looks[method][1],
            markersize=4.5,
            linewidth=1.6,
            linestyle="-" if any(row["learns_online"] for row in rows if row["method"] == method) else "--",
            label=label(method),
        )
    axes.set_xlabel("step of the session")
    axes.set_ylabel(_AXIS[what])
    axes.xaxis.get_major_locator().set_params(integer=True)
    if what == PLAYING:
        axes.set_ylim(-0.03, 1.03)
    tidy(axes)
    return figure


def mean_profile(profiles: Sequence[Sequence[float | None]], beyond: float | None = None) -> NDArray[np.float64]:
    """Return the mean over seeds at each step that any has, nan where none has a value.

    Args:
        profiles: one a seed; None where nobody played on.
        beyond: what counts for a seed beyond its last step; None for nothing.
    """
    longest = max(map(len, profiles))
    table = np.full((len(profiles), longest), np.nan if beyond is None else beyond)
    for line, profile in zip(table, profiles, strict=True):
        line[: len(profile)] = [np.nan if value is None else value for value in profile]
    known = ~np.isnan(table)
    total, count = np.where(known, table, 0.0).sum(0), known.sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def codebooks_of(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return what is known of each environment's codebook, from the first row that says it."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if (row.get("codebook") or {}).get("use"):
            found.setdefault(row["env"], row["codebook"])
    return found


def codebook_figure(codebook: dict[str, Any]) -> Figure:
    """Return how many items each token stands for, the most used first, a line for each level.

    A flat line is an even level; one that falls steeply is the hourglass of section 4.5.
    """
    figure = new_figure(5.6, 3.6)
    axes: Any = figure.subplots()
    for level, counts in enumerate(codebook["use"], start=1):
        colour = LEVEL_COLOURS[level % len(LEVEL_COLOURS)]
        axes.step(np.arange(1, len(counts) + 1), counts, where="mid", color=colour, label=f"level {level}")
    axes.set_xlabel("token, the most used first")
    axes.set_ylabel("items")
    axes.set_ylim(bottom=0)
    tidy(axes)
    axes.legend(frameon=False, fontsize=9)
    return figure
