"""The learning curves, a panel for each task, against user-steps or against seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsrl_agent.evaluation.report.figures import (
    GREY,
    End,
    band_name,
    count_steps,
    name_ends,
    new_figure,
    spread,
    tidy,
)
from hsrl_agent.evaluation.report.grouping import Line, highlighted
from hsrl_agent.evaluation.report.notes import is_synthetic
from hsrl_agent.evaluation.result import CurvePoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, SECONDS = "user-steps learned from", "seconds of learning, mean over seeds"
_MOST_LETTERS = 40  # of the data's name over a panel
_WIDTH, _HEIGHT, _AXES = 6.2, 4.6, 3.6  # of a panel with its names, of a figure, of the axes; inches
_INSTANT = 0.5  # seconds of learning that nobody notices


class _Style(NamedTuple):
    colour: str
    marker: str
    strong: bool


def curve_figure(tasks: Mapping[str, Sequence[Line]], against: str = STEPS) -> Figure:
    """Return Total Reward of held-out users against `STEPS` or `SECONDS`: mean over seeds.

    HSRL, its three best rivals, the greedy oracle and one's own agents are in colour, with a band: the 95% bootstrap
    interval from three seeds on, the range of the runs below. The others are thin and grey. Methods that do not learn
    by acting are dashed lines; against seconds they begin where their fit had ended. An agent that was scored once is
    a point.

    Args:
        tasks: the lines of each task.
        against: the horizontal axis.
    """
    figure = new_figure(_WIDTH * len(tasks), _HEIGHT)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, (task, lines) in zip(panels, tasks.items(), strict=True):
        strong = [line.name for line in highlighted(lines)]
        ordered = sorted(lines, key=lambda line: (not line.learns_online, line.name in strong))
        ends = []
        for line in ordered:  # those that do not learn last, when the others have said how far the axis goes
            style = _Style(line.look.colour, line.look.marker, True)
            if line.name not in strong:
                style = _Style(GREY, "", False)
            place = _draw(axes, line, against, style) if line.learns_online else _draw_still(axes, line, against, style)
            ends.append(End(*place, line.label, style.colour, style.strong))
        axes.set_title(_title(task, lines), fontsize=10)
        axes.set_xlabel(against)
        axes.set_ylabel("Total Reward of held-out users" if axes is panels[0] else "")
        count_steps(axes)
        tidy(axes)
        axes.autoscale_view()
        name_ends(axes, ends, _AXES)
    return figure


def _draw(axes: Any, line: Line, against: str, style: _Style) -> tuple[float | None, float]:
    """Draw a method that learns by acting, and return the end of its line."""
    curves = [run.curve for run in line.runs]
    steps, means, lows, highs = band(curves)
    places = steps if against == STEPS else seconds(curves, steps)
    if len(steps) == 1:
        ends = np.array([means - lows, highs - means])
        axes.errorbar(places, means, yerr=ends, color=style.colour, marker=line.look.marker, linestyle="none")
    elif style.strong:
        axes.fill_between(places, lows, highs, color=style.colour, alpha=0.16, linewidth=0, zorder=2.5)
        axes.plot(places, means, color=style.colour, marker=style.marker, markersize=4.5, linewidth=2.0, zorder=3)
    else:
        axes.plot(places, means, color=style.colour, linewidth=1.0)
    return float(places[-1]), float(means[-1])


def _draw_still(axes: Any, line: Line, against: str, style: _Style) -> tuple[float | None, float]:
    """Draw a method that does not learn by acting, which has one score, and return the end of its line."""
    height = line.mean_reward()
    look = {"color": style.colour, "linestyle": "--", "linewidth": 1.8 if style.strong else 1.0}
    begin = float(np.mean([run.train_seconds for run in line.runs]))
    if against == STEPS or begin < _INSTANT:
        axes.axhline(height, **look)
        return None, height
    end = max(axes.get_xlim()[1], 1.25 * begin) if axes.has_data() else 1.25 * begin
    axes.plot([begin, end], [height, height], **look)
    return end, height


def band(curves: Sequence[Sequence[CurvePoint]]) -> tuple[NDArray[np.float64], ...]:
    """Return steps, mean Total Reward over seeds, and the ends of the band, for the steps that all seeds have."""
    at = [{point.steps: point.total_reward for point in curve} for curve in curves]
    shared = sorted(set.intersection(*map(set, at)))
    return np.array(shared, dtype=np.float64), *spread([curve[step] for curve in at] for step in shared)


def seconds(curves: Sequence[Sequence[CurvePoint]], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the seconds of learning that brought the seeds to `steps`, their mean."""
    at = [{point.steps: point.seconds for point in curve} for curve in curves]
    return np.array([np.mean([curve[int(step)] for curve in at]) for step in steps])


def _title(task: str, lines: Sequence[Line]) -> str:
    first = lines[0].runs[0]
    kind = "synthetic data" if is_synthetic(first) else first.data.source
    kind = kind if len(kind) <= _MOST_LETTERS else f"{kind[: _MOST_LETTERS - 2].rstrip()}.."
    return f"{task}\n{kind}, {band_name(max(len(line.runs) for line in lines))}"
