"""The learning curves, a panel for each environment."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results import LABELS, Row, interval, label, sort_methods, write_bytes

# Okabe and Ito's colours, told apart with every kind of colour vision; HSRL takes the strongest two.
_COLOURS = {
    "random": "#999999",
    "popularity": "#000000",
    "sl": "#CC79A7",
    "a2c": "#E69F00",
    "ddpg": "#56B4E9",
    "td3": "#8C6D31",
    "pgra": "#B8B000",
    "hac": "#009E73",
    "hsrl-paper": "#0072B2",
    "hsrl": "#D55E00",
}
_PLUGIN_COLOURS = ("#009E73", "#56B4E9", "#B8B000", "#8C6D31")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Draw Total Reward of held-out users over user-steps: mean over seeds, with a band.

    The band is the 95% bootstrap interval from three seeds on, the range of the runs below. Methods that do not learn
    by acting are dashed lines; an agent that was scored once is a point.
    """
    from matplotlib.figure import Figure

    envs = list(dict.fromkeys(row["env"] for row in rows))
    methods = sort_methods({row["method"] for row in rows})
    plugins = [method for method in methods if method not in LABELS]
    colours = {**_COLOURS, **{name: _PLUGIN_COLOURS[i % len(_PLUGIN_COLOURS)] for i, name in enumerate(plugins)}}
    figure = Figure(figsize=(max(5.6 * len(envs), 7.0), 4.8), layout="constrained")
    panels = figure.subplots(1, len(envs), squeeze=False)[0]
    handles: dict[str, Any] = {}
    for axes, env in zip(panels, envs, strict=True):
        for index, method in enumerate(methods):
            runs = [row for row in rows if row["env"] == env and row["method"] == method]
            if runs:
                handles[label(method)] = _draw(axes, runs, colours[method], _MARKERS[index % len(_MARKERS)])
        axes.set_title(_title(env, rows), fontsize=10)
        axes.set_xlabel("user-steps learned from")
        axes.set_ylabel("Total Reward of held-out users" if axes is panels[0] else "")
        axes.xaxis.set_major_formatter(lambda value, _: _thousands(value))
        axes.grid(True, color="0.92")
        axes.set_axisbelow(True)
        axes.margins(x=0.02)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def _draw(axes: Any, runs: Sequence[Row], colour: str, marker: str) -> Any:
    """Draw one method of one environment and return what the legend shows."""
    if not runs[0]["learns_online"]:
        height = float(np.mean([row["total_reward"] for row in runs]))
        return axes.axhline(height, color=colour, linestyle="--", linewidth=1.6)
    steps, means, lows, highs = band([row["curve"] for row in runs])
    if len(steps) == 1:
        spread = np.array([means - lows, highs - means])
        return axes.errorbar(steps, means, yerr=spread, color=colour, marker=marker, markersize=7, linestyle="none")
    axes.fill_between(steps, lows, highs, color=colour, alpha=0.18, linewidth=0)
    (line,) = axes.plot(steps, means, color=colour, marker=marker, markersize=4, linewidth=1.8)
    return line


def band(curves: Sequence[Sequence[Sequence[float]]]) -> tuple[NDArray[np.float64], ...]:
    """Return steps, mean Total Reward over seeds, and the ends of the band, for the steps that all seeds have."""
    shared = sorted(set.intersection(*({point[0] for point in curve} for curve in curves)))
    at = [{point[0]: point[2] for point in curve} for curve in curves]
    intervals = [interval([curve[step] for curve in at]) for step in shared]
    means = [one.mean for one in intervals]
    lows = [one.mean if one.low is None else one.low for one in intervals]
    highs = [one.mean if one.high is None else one.high for one in intervals]
    return tuple(np.array(column, dtype=np.float64) for column in (shared, means, lows, highs))


def _title(env: str, rows: Sequence[Row]) -> str:
    own = [row for row in rows if row["env"] == env]
    source = own[0]["bundle"]["source"]
    kind = "synthetic data" if "synthetic" in source.lower() else source
    n_seeds = len({row["seed"] for row in own})
    bands = {1: "", 2: ", band: range"}.get(n_seeds, ", band: 95%")
    return f"{env}\n{kind[:60]}, {n_seeds} seed{'s' * (n_seeds > 1)}{bands}"


def _thousands(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"
