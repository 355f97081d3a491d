"""What each level of HSRL says of itself while it learns: weights of the critic (Figure 6), values, entropies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsrl_agent.evaluation.report.figures import (
    LEVEL_COLOURS,
    band_name,
    count_steps,
    draw_legend,
    new_figure,
    spread,
    tidy,
)
from hsrl_agent.evaluation.report.grouping import Line
from hsrl_agent.evaluation.result import RunResult
from hsrl_gym.errors import HsrlError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHTS, ENTROPIES, VALUES = "mlc_weight_", "entropy_", "value_"
AXES = {WEIGHTS: "weight w_l of V(s, l)", ENTROPIES: "entropy, nats", VALUES: "V(s, l)"}
_MOST_COLUMNS = 5
_MOST_POINTS = 60  # of a line: more cannot be told apart, and each has an interval to work out


def levels_figure(lines: Sequence[Line], prefix: str) -> Figure:
    """Return a metric of every level over user-steps, a panel for each line that has it, all with one vertical axis.

    Args:
        lines: those without it are left out.
        prefix: of its names in `RunResult.metrics`: `WEIGHTS`, `ENTROPIES` or `VALUES`.

    Raises:
        HsrlError: if no line has it.
    """
    panels = with_levels(lines, prefix)
    if not panels:
        raise HsrlError(f"got no run with {prefix}0, {prefix}1, .. in its metrics, expected one of HSRL.")
    n_columns = columns_for(len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = new_figure(max(3.4 * n_columns, 5.0), 0.5 + 3.0 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).flatten()
    handles: dict[str, Any] = {}
    for place, (axes, line) in enumerate(zip(grid, panels, strict=False)):
        for level in levels_of(line.runs, prefix):
            colour = LEVEL_COLOURS[level % len(LEVEL_COLOURS)]
            steps, means, lows, highs = metric(line.runs, f"{prefix}{level}")
            axes.fill_between(steps, lows, highs, color=colour, alpha=0.18, linewidth=0)
            (handles[f"level {level}"],) = axes.plot(steps, means, color=colour, linewidth=1.8)
        axes.set_title(f"{line.task}, {line.label}\n{band_name(len(line.runs))}", fontsize=9)
        axes.set_xlabel("user-steps learned from" if place + n_columns >= len(panels) else "")
        axes.set_ylabel(AXES[prefix] if place % n_columns == 0 else "")
        count_steps(axes)
        tidy(axes)
    handles = dict(sorted(handles.items()))
    spare = list(grid[len(panels) :])
    for axes in spare:
        axes.set_axis_off()
    if spare:
        spare[0].legend(handles.values(), handles.keys(), loc="center", frameon=False)
    else:
        draw_legend(figure, handles)
    return figure


def columns_for(n_panels: int) -> int:
    """Return in how many columns panels stand, so that few cells stay empty; a spare one holds the legend."""
    choices = range(min(2, n_panels), min(_MOST_COLUMNS, n_panels) + 1)
    return min(choices, key=lambda n: (-n_panels % n, -n))


def with_levels(lines: Sequence[Line], prefix: str) -> list[Line]:
    """Return the lines that have a metric of the levels, each with the runs that have it."""
    found = [replace(line, runs=tuple(run for run in line.runs if levels_of([run], prefix))) for line in lines]
    return [line for line in found if line.runs]


def levels_of(runs: Sequence[RunResult], prefix: str) -> list[int]:
    """Return the levels that all runs have a metric of."""
    found = [
        {
            int(name.removeprefix(prefix))
            for name, values in run.metrics.items()
            if name.startswith(prefix) and name.removeprefix(prefix).isdigit() and values
        }
        for run in runs
    ]
    return sorted(set.intersection(*found)) if found else []


def metric(runs: Sequence[RunResult], name: str) -> tuple[NDArray[np.float64], ...]:
    """Return steps, mean over seeds, and the ends of the band of a metric, where all seeds have it."""
    at = []
    for run in runs:
        pairs = zip(run.metrics["steps"], run.metrics[name], strict=False)
        at.append({steps: value for steps, value in pairs if value is not None})
    shared = sorted(set.intersection(*map(set, at)))
    kept = [shared[index] for index in _few(len(shared))]
    return np.array(kept, dtype=np.float64), *spread([one[step] for one in at] for step in kept)


def _few(n: int) -> list[int]:
    """Return at most `_MOST_POINTS` numbers of 0 .. n - 1, evenly, both ends among them."""
    return sorted({round(place) for place in np.linspace(0, n - 1, min(n, _MOST_POINTS))}) if n else []
