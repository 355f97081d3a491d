"""The paper's Figures 5 and 6: how much a setting matters, and what the levels of the critic weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from figures import LEVEL_COLOURS, band_name, count_steps, draw_legend, new_figure, spread, thousands, tidy, write_png
from hsrl_gym.errors import HsrlError
from results import Row, label, sort_methods

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS_A_ROW = 4
WEIGHTS, ENTROPIES, VALUES = "mlc_weight_", "entropy_", "value_"
_MOST_POINTS = 60  # of a line: more cannot be told apart, and each has an interval to work out

# What was tried of a setting, in its order: the value, and what each seed reached.
Groups = Mapping[str, Sequence[tuple[Any, Sequence[float]]]]


def draw_mlc_weights(rows: Sequence[Row], path: Path) -> None:
    """Draw the weights w_0 .. w_L of the multi-level critic over user-steps (Figure 6) into a PNG.

    Raises:
        HsrlError: if no row has them.
    """
    write_png(levels_figure(rows, WEIGHTS, "weight w_l of V(s, l)"), path)


def levels_figure(rows: Sequence[Row], prefix: str, what: str, legend: bool = True) -> Figure:
    """Return a diagnostic of every level over user-steps, a panel for each environment and method that has it.

    Args:
        rows: those without it are left out.
        prefix: of its names in a row's diagnostics: `WEIGHTS`, `ENTROPIES` or `VALUES`.
        what: the vertical axis.
        legend: whether there is one, under the panels.

    Raises:
        HsrlError: if no row has it.
    """
    panels = level_panels(rows, prefix)
    if not panels:
        raise HsrlError(f"no row has {prefix}0, {prefix}1, .. in its diagnostics; only HSRL's newer rows do.")
    n_columns = min(len(panels), _PANELS_A_ROW)
    n_rows = -(-len(panels) // n_columns)
    figure = new_figure(max(5.0 * n_columns, 6.0), 4.2 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles: dict[str, Any] = {}
    for axes, ((env, method), runs) in zip(grid, panels.items(), strict=False):
        for level in levels_of(runs, prefix):
            colour = LEVEL_COLOURS[level % len(LEVEL_COLOURS)]
            steps, means, lows, highs = diagnostic(runs, f"{prefix}{level}")
            axes.fill_between(steps, lows, highs, color=colour, alpha=0.18, linewidth=0)
            (line,) = axes.plot(steps, means, color=colour, linewidth=1.8)
            handles.setdefault(f"level {level}", line)
        axes.set_title(f"{env}, {label(method)}\n{band_name(len(runs))}", fontsize=10)
        axes.set_xlabel("user-steps learned from")
        axes.set_ylabel(what if axes in grid[::n_columns] else "")
        count_steps(axes)
        tidy(axes)
    if legend:
        draw_legend(figure, dict(sorted(handles.items())))
    return figure


def level_panels(rows: Sequence[Row], prefix: str) -> dict[tuple[str, str], list[Row]]:
    """Return the rows that have a diagnostic of the levels, by environment and method, in the tables' order."""
    envs = list(dict.fromkeys(row["env"] for row in rows))
    panels = {}
    for env in envs:
        for method in sort_methods({row["method"] for row in rows}):
            own = [row for row in rows if (row["env"], row["method"]) == (env, method)]
            runs = [row for row in own if levels_of([row], prefix)]
            if runs:
                panels[env, method] = runs
    return panels


def levels_of(runs: Sequence[Row], prefix: str) -> list[int]:
    """Return the levels that all runs have a diagnostic of."""
    found = [
        {
            int(name.removeprefix(prefix))
            for name, values in (row.get("diagnostics") or {}).items()
            if name.startswith(prefix) and name.removeprefix(prefix).isdigit() and values
        }
        for row in runs
    ]
    return sorted(set.intersection(*found)) if found else []


def diagnostic(runs: Sequence[Row], name: str) -> tuple[NDArray[np.float64], ...]:
    """Return steps, mean over seeds, and the ends of the band of a diagnostic, where all seeds have it."""
    at = []
    for row in runs:
        pairs = zip(row["diagnostics"]["steps"], row["diagnostics"][name], strict=False)
        at.append({steps: value for steps, value in pairs if value is not None})
    shared = sorted(set.intersection(*(set(one) for one in at)))
    kept = [shared[index] for index in _few(len(shared))]
    return np.array(kept, dtype=np.float64), *spread([one[step] for one in at] for step in kept)


def _few(n: int) -> list[int]:
    """Return at most `_MOST_POINTS` numbers of 0 .. n - 1, evenly, both ends among them."""
    return sorted({round(place) for place in np.linspace(0, n - 1, min(n, _MOST_POINTS))}) if n else []


def draw_sensitivity(rewards: Groups, depths: Groups, path: Path) -> None:
    """Draw what a method reaches with each value of a setting (Figure 5) into a PNG.

    Args:
        rewards: by the setting's name ("entropy weight", "vocabulary", "levels"), each value with the Total Reward of
            every seed. The values stand at even distances, in the order given.
        depths: the same for Depth, drawn below; {} for no second row.
        path: of the picture.

    Raises:
        HsrlError: if there is nothing to draw, or a value without seeds.
    """
    write_png(sensitivity_figure(rewards, depths), path)


def sensitivity_figure(rewards: Groups, depths: Groups) -> Figure:
    """Return the figure of `draw_sensitivity`: a column for each setting, means with 95% intervals."""
    for groups in (rewards, depths):
        for name, group in groups.items():
            if not group or not all(len(seeds) for _, seeds in group):
                raise HsrlError(f"got no values or no seeds for {name!r}, expected (value, [one number a seed]), ..")
    if not rewards or (depths and set(depths) != set(rewards)):
        raise HsrlError(f"got the settings {list(rewards)} and {list(depths)}, expected the same ones, at least one.")
    lines = [(rewards, "Total Reward", LEVEL_COLOURS[5]), (depths, "Depth", LEVEL_COLOURS[0])]
    lines = [line for line in lines if line[0]]
    figure = new_figure(max(3.6 * len(rewards), 5.0), 3.2 * len(lines))
    grid = figure.subplots(len(lines), len(rewards), squeeze=False, sharey="row")
    for axes_of_line, (groups, what, colour) in zip(grid, lines, strict=True):
        for axes, name in zip(axes_of_line, rewards, strict=True):
            _draw_group(axes, groups[name], colour)
            axes.set_xlabel(name)
            axes.set_ylabel(what if axes is axes_of_line[0] else "")
    seeds = sorted({len(values) for group in rewards.values() for _, values in group})
    figure.suptitle(" or ".join(band_name(n).replace("band", "bars") for n in seeds), fontsize=10)
    return figure


def _draw_group(axes: Any, group: Sequence[tuple[Any, Sequence[float]]], colour: str) -> None:
    means, lows, highs = spread([seeds for _, seeds in group])
    places = np.arange(len(group))
    for place, (_, seeds) in zip(places, group, strict=True):
        axes.plot([place] * len(seeds), seeds, linestyle="none", marker="o", markersize=3, color=colour, alpha=0.35)
    ends = np.array([means - lows, highs - means])
    axes.errorbar(places, means, yerr=np.maximum(ends, 0.0), color=colour, marker="o", capsize=3, linewidth=1.6)
    axes.set_xticks(places, [_value_text(value) for value, _ in group])
    tidy(axes)
    axes.margins(x=0.1)


def _value_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return thousands(value) if value >= 10_000 else f"{value:g}"
