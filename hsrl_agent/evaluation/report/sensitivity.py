"""How much a setting matters (Figure 5 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hsrl_agent.evaluation.report.figures import LEVEL_COLOURS, band_name, new_figure, spread, tidy
from hsrl_agent.evaluation.report.study import Groups
from hsrl_agent.evaluation.report.text import thousands
from hsrl_gym.errors import HsrlError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sensitivity_figure(rewards: Groups, depths: Groups) -> Figure:
    """Return what a method reaches with each value of a setting: a column for each setting, means with intervals.

    Args:
        rewards: by the setting's name ("entropy weight", "vocabulary", "levels"), each value with the Total Reward of
            every seed. The values stand at even distances, in the order given.
        depths: the same for Depth, drawn below; {} for no second row.

    Raises:
        HsrlError: if there is nothing to draw, or a value without seeds.
    """
    for groups in (rewards, depths):
        for name, group in groups.items():
            if not group or not all(len(seeds) for _, seeds in group):
                raise HsrlError(f"got no values or no seeds for {name!r}, expected (value, [one number a seed]), ..")
    if not rewards or (depths and set(depths) != set(rewards)):
        raise HsrlError(f"got the settings {list(rewards)} and {list(depths)}, expected the same ones, at least one.")
    rows = [(rewards, "Total Reward", LEVEL_COLOURS[5]), (depths, "Depth, steps", LEVEL_COLOURS[0])]
    rows = [row for row in rows if row[0]]
    figure = new_figure(max(3.6 * len(rewards), 5.0), 0.4 + 2.8 * len(rows))
    grid = figure.subplots(len(rows), len(rewards), squeeze=False, sharey="row")
    for axes_of_row, (groups, what, colour) in zip(grid, rows, strict=True):
        for axes, name in zip(axes_of_row, rewards, strict=True):
            _draw(axes, groups[name], colour)
            axes.set_xlabel(name)
            axes.set_ylabel(what if axes is axes_of_row[0] else "")
    seeds = sorted({len(values) for group in rewards.values() for _, values in group})
    figure.suptitle(" or ".join(band_name(n, "bars") for n in seeds), fontsize=10)
    return figure


def _draw(axes: Any, group: Sequence[tuple[float, Sequence[float]]], colour: str) -> None:
    means, lows, highs = spread([seeds for _, seeds in group])
    places = np.arange(len(group))
    for place, (_, seeds) in zip(places, group, strict=True):
        axes.plot([place] * len(seeds), seeds, linestyle="none", marker="o", markersize=3, color=colour, alpha=0.35)
    ends = np.array([means - lows, highs - means])
    axes.errorbar(places, means, yerr=np.maximum(ends, 0.0), color=colour, marker="o", capsize=3, linewidth=1.6)
    axes.set_xticks(places, [thousands(value) if value >= 10_000 else f"{value:g}" for value, _ in group])
    tidy(axes)
    axes.margins(x=0.1)
