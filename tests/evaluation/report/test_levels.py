"""Metrics of the levels: the numbers that are drawn, the panels, and what cannot be drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_results import make_result

from hsrl_agent.evaluation.report.grouping import group
from hsrl_agent.evaluation.report.levels import (
    ENTROPIES,
    WEIGHTS,
    columns_for,
    levels_figure,
    levels_of,
    metric,
    with_levels,
)
from hsrl_agent.evaluation.result import RunResult
from hsrl_gym.errors import HsrlError

STEPS = [3200, 6400, 9600]


def run(method: str = "hsrl", seed: int = 0, **metrics: Any) -> RunResult:
    return make_result(method, seed, 1.0, metrics={"steps": STEPS, **metrics})


RUNS = [
    run(seed=0, mlc_weight_0=[0.5, 0.4, 0.2], mlc_weight_1=[0.5, 0.6, 0.8], entropy_1=[3.0, 2.0, 1.0]),
    run(seed=1, mlc_weight_0=[0.5, 0.2, 0.0], mlc_weight_1=[0.5, 0.8, 1.0], entropy_1=[3.0, None, 2.0]),
]


def test_weights_are_means_over_seeds_with_a_band() -> None:
    figure = levels_figure(group(RUNS)["ML1M"], WEIGHTS)
    lines = [np.round(line.get_ydata(), 9).tolist() for line in figure.axes[0].lines]
    assert lines == [[0.5, 0.3, 0.1], [0.5, 0.7, 0.9]]
    assert figure.axes[0].lines[0].get_xdata().tolist() == STEPS
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.0, 0.5)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["level 0", "level 1"]


def test_only_what_all_seeds_have_is_drawn() -> None:
    steps, means, *_ = metric(RUNS, "entropy_1")
    assert steps.tolist() == [3200, 9600]  # one seed has no number between
    assert means.tolist() == [3.0, 1.5]
    assert levels_of(RUNS, ENTROPIES) == [1]
    assert levels_of([*RUNS, run(entropy_2=[1.0, 1.0, 1.0])], ENTROPIES) == []
    assert levels_of([run(mlc_weight_0=[], value=[1.0] * 3)], WEIGHTS) == []


def test_runs_without_levels_have_no_panel() -> None:
    others = [run("a2c"), make_result("sl", 0, 1.0), run("hsrl-paper", mlc_weight_0=[1.0, 1.0, 1.0])]
    lines = group([*RUNS, *others])["ML1M"]
    assert [line.name for line in with_levels(lines, WEIGHTS)] == ["hsrl-paper", "hsrl"]
    with pytest.raises(HsrlError, match=r"no run with mlc_weight_0, mlc_weight_1, \.\. in its metrics"):
        levels_figure(group(others[:2])["ML1M"], WEIGHTS)


def test_all_panels_have_one_vertical_axis_and_a_spare_cell_holds_the_legend() -> None:
    names = ("hsrl", "hsrl-paper", "hsrl-scratch", "hsrl-items", "m:A", "m:B", "m:C")
    lines = group([run(name, mlc_weight_0=[0.1 * place] * 3) for place, name in enumerate(names)])["ML1M"]
    figure = levels_figure(lines, WEIGHTS)
    assert len({axes.get_ylim() for axes in figure.axes[:7]}) == 1
    assert len(figure.axes) == 8
    assert figure.axes[7].get_legend() is not None
    assert figure.legends == []


def test_panels_leave_at_most_one_cell_empty() -> None:
    assert [columns_for(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)] == [1, 2, 3, 4, 5, 3, 4, 4, 3, 5]


def test_a_long_run_is_thinned_with_both_ends() -> None:
    steps = list(range(0, 500_000, 1000))
    long = make_result("hsrl", 0, 1.0, metrics={"steps": steps, "mlc_weight_0": [step / 1e6 for step in steps]})
    at, means, *_ = metric([long], "mlc_weight_0")
    assert len(at) == 60
    assert (at[0], at[-1]) == (0, 499_000)
    assert np.allclose(means, at / 1e6)
