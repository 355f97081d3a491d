"""All methods of a task at one glance: Total Reward with its interval, the best on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hsrl_agent.evaluation.report.figures import GREY, band_name, new_figure, spread, tidy
from hsrl_agent.evaluation.report.grouping import Line, highlighted
from hsrl_agent.evaluation.summary import REFERENCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES_A_METHOD = 0.24


def dot_figure(lines: Sequence[Line]) -> Figure:
    """Return a dot a method with its interval over seeds, and a ring for what the true user pays, where known.

    Args:
        lines: of one task.
    """
    ordered = sorted(lines, key=Line.mean_reward)
    strong = [line.name for line in highlighted(lines)]
    figure = new_figure(5.6, 1.3 + _INCHES_A_METHOD * len(ordered))
    axes: Any = figure.subplots()
    for place, line in enumerate(ordered):
        colour = line.look.colour if line.name in strong else GREY
        mean, low, high = (float(column[0]) for column in spread([list(line.rewards().values())]))
        axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(mean, place, color=colour, marker="o", markersize=6.5)
        true = list(line.true_rewards().values())
        if true:
            axes.plot(float(np.mean(true)), place, color=colour, marker="o", markersize=6.5, markerfacecolor="none")
    if any(line.true_rewards() for line in lines):
        for name, face in (("by the eval user", GREY), ("by the true user", "none")):
            axes.plot([], [], "o", color=GREY, markersize=6.5, markerfacecolor=face, label=name)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_yticks(range(len(ordered)), [line.label for line in ordered], fontsize=9)
    for line, text in zip(ordered, axes.get_yticklabels(), strict=True):
        text.set_fontweight("bold" if line.name == REFERENCE else "normal")
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.set_xlabel(f"Total Reward of held-out users\n{band_name(max(len(line.runs) for line in lines), 'bar')}")
    tidy(axes)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.03)
    return figure
