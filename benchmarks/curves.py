"""The learning curves, a panel for each environment, against user-steps or against seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from figures import band_name, count_steps, draw_legend, looks_of, new_figure, spread, tidy, write_png
from results import Row, label, sort_methods

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_LETTERS = 40  # of the data's name over a panel
STEPS, SECONDS = "user-steps learned from", "seconds of learning, mean over seeds"


def draw_curves(rows: Sequence[Row], path: Path, against: str = STEPS) -> None:
    """Draw Total Reward of held-out users against `STEPS` or `SECONDS` into a PNG; see `curve_figure`."""
    write_png(curve_figure(rows, against), path)


def curve_figure(rows: Sequence[Row], against: str = STEPS, legend: bool = True) -> Figure:
    """Return Total Reward of held-out users against `STEPS` or `SECONDS`: mean over seeds, with a band.

    The band is the 95% bootstrap interval from three seeds on, the range of the runs below. Methods that do not learn
    by acting are dashed lines, against seconds from where their fit had ended; an agent that was scored once is a
    point.
    """
    envs = list(dict.fromkeys(row["env"] for row in rows))
    methods = sort_methods({row["method"] for row in rows})
    looks = looks_of(methods)
    figure = new_figure(max(5.6 * len(envs), 7.0) if legend else 5.6 * len(envs), 4.8 if legend else 4.0)
    panels = figure.subplots(1, len(envs), squeeze=False)[0]
    handles: dict[str, Any] = {}
    for axes, env in zip(panels, envs, strict=True):
        still = []
        for method in methods:
            runs = [row for row in rows if row["env"] == env and row["method"] == method]
            if runs and runs[0]["learns_online"]:
                handles[label(method)] = _draw(axes, runs, against, *looks[method])
            elif runs:
                still.append((method, runs))
        for method, runs in still:  # last, when the other curves have said how far the axis goes
            handles[label(method)] = _draw_still(axes, runs, against, looks[method][0])
        axes.set_title(_title(env, rows), fontsize=10)
        axes.set_xlabel(against)
        axes.set_ylabel("Total Reward of held-out users" if axes is panels[0] else "")
        count_steps(axes)
        tidy(axes)
    if legend:
        draw_legend(figure, {label(method): handles[label(method)] for method in methods})
    return figure


def _draw(axes: Any, runs: Sequence[Row], against: str, colour: str, marker: str) -> Any:
    """Draw one method of one environment and return what the legend shows."""
    steps, means, lows, highs = band([row["curve"] for row in runs])
    places = steps if against == STEPS else _seconds([row["curve"] for row in runs], steps)
    if len(steps) == 1:
        ends = np.array([means - lows, highs - means])
        return axes.errorbar(places, means, yerr=ends, color=colour, marker=marker, markersize=7, linestyle="none")
    axes.fill_between(places, lows, highs, color=colour, alpha=0.18, linewidth=0)
    (line,) = axes.plot(places, means, color=colour, marker=marker, markersize=4, linewidth=1.8)
    return line


def _draw_still(axes: Any, runs: Sequence[Row], against: str, colour: str) -> Any:
    """Draw a method that does not learn by acting, which has one score, and return what the legend shows."""
    height = float(np.mean([row["total_reward"] for row in runs]))
    style = {"color": colour, "linestyle": "--", "linewidth": 1.6}
    begin = float(np.mean([row.get("train_seconds", 0.0) for row in runs]))
    if against == STEPS or begin < 0.5:
        return axes.axhline(height, **style)
    end = max(axes.get_xlim()[1], 1.25 * begin) if axes.has_data() else 1.25 * begin
    (line,) = axes.plot([begin, end], [height, height], **style)
    return line


def band(curves: Sequence[Sequence[Sequence[float]]]) -> tuple[NDArray[np.float64], ...]:
    """Return steps, mean Total Reward over seeds, and the ends of the band, for the steps that all seeds have."""
    shared = _shared_steps(curves)
    at = [{point[0]: point[2] for point in curve} for curve in curves]
    return np.array(shared, dtype=np.float64), *spread([curve[step] for curve in at] for step in shared)


def _seconds(curves: Sequence[Sequence[Sequence[float]]], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the seconds of learning that brought the seeds to `steps`, their mean."""
    at = [{point[0]: point[1] for point in curve} for curve in curves]
    return np.array([np.mean([curve[step] for curve in at]) for step in steps])


def _shared_steps(curves: Sequence[Sequence[Sequence[float]]]) -> list[float]:
    return sorted(set.intersection(*({point[0] for point in curve} for curve in curves)))


def _title(env: str, rows: Sequence[Row]) -> str:
    own = [row for row in rows if row["env"] == env]
    source = own[0]["bundle"]["source"]
    kind = "synthetic data" if "synthetic" in source.lower() else source
    kind = kind if len(kind) <= _MOST_LETTERS else f"{kind[: _MOST_LETTERS - 2].rstrip()}.."
    return f"{env}\n{kind}, {band_name(len({row['seed'] for row in own}))}"
