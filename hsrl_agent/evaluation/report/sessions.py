"""What goes on within the sessions and in the codebook: reward and users left by step, items behind each token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsrl_agent.evaluation.report.figures import GREY, LEVEL_COLOURS, new_figure, tidy
from hsrl_agent.evaluation.report.grouping import Line, highlighted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REWARD, PLAYING = "reward", "playing"
_AXIS = {REWARD: "mean reward of those still playing", PLAYING: "share of users still playing"}


def with_profile(lines: Sequence[Line]) -> list[Line]:
    """Return the lines all of whose runs have a profile of the session's steps."""
    return [
        line for line in lines if all(run.step_profile.get(name) for run in line.runs for name in (REWARD, PLAYING))
    ]


def profile_figure(lines: Sequence[Line], what: str) -> Figure:
    """Return `REWARD` or `PLAYING` by step of the session, mean over seeds, the leading methods in colour.

    Args:
        lines: of one task, each with a profile.
        what: which of the two.
    """
    strong = highlighted(lines)
    figure = new_figure(5.6, 3.8)
    axes: Any = figure.subplots()
    for line in sorted(lines, key=lambda line: line in strong):
        means = mean_profile([run.step_profile[what] for run in line.runs], 0.0 if what == PLAYING else None)
        look: dict[str, Any] = {"color": GREY, "linewidth": 1.0}
        if line in strong:
            look = {"color": line.look.colour, "marker": line.look.marker, "linewidth": 1.8, "label": line.label}
        dashes = "-" if line.learns_online else "--"
        axes.plot(np.arange(1, len(means) + 1), means, linestyle=dashes, markersize=4.5, **look)
    if len(strong) < len(lines):
        axes.plot([], [], color=GREY, linewidth=1.0, label="other methods")
    axes.set_xlabel("step of the session")
    axes.set_ylabel(_AXIS[what])
    axes.xaxis.get_major_locator().set_params(integer=True)
    if what == PLAYING:
        axes.set_ylim(-0.03, 1.03)
    tidy(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def mean_profile(profiles: Sequence[Sequence[float | None]], beyond: float | None = None) -> NDArray[np.float64]:
    """Return the mean over seeds at each step that any has, nan where none has a value.

    Args:
        profiles: one a seed; None where nobody played on.
        beyond: what counts for a seed beyond its last step; None for nothing.
    """
    longest = max(map(len, profiles))
    table = np.full((len(profiles), longest), np.nan if beyond is None else beyond)
    for row, profile in zip(table, profiles, strict=True):
        row[: len(profile)] = [np.nan if value is None else value for value in profile]
    known = ~np.isnan(table)
    total, n_known = np.where(known, table, 0.0).sum(0), known.sum(0)
    return np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)


def codebook_of(lines: Sequence[Line]) -> Mapping[str, Any] | None:
    """Return what is known of a task's codebook, from the first run that says it."""
    return next((run.codebook for line in lines for run in line.runs if run.codebook.get("use")), None)


def codebook_figure(codebook: Mapping[str, Any]) -> Figure:
    """Return how many items each token stands for, the most used first, a line for each level.

    A flat line is an even level; one that falls steeply is the hourglass of section 4.5.
    """
    figure = new_figure(5.6, 3.4)
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
