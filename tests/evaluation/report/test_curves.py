"""Learning curves: what is drawn, where lines begin and end, and whose names are written."""

from __future__ import annotations

import itertools

import pytest
from made_results import A2C_RUNS, HSRL_RUNS, make_result
from matplotlib.text import Text

from hsrl_agent.evaluation.report.curves import SECONDS, STEPS, band, curve_figure
from hsrl_agent.evaluation.report.figures import GREY
from hsrl_agent.evaluation.report.grouping import group
from hsrl_agent.evaluation.result import CurvePoint
from hsrl_agent.methods import METHODS


def points(*rows: tuple[int, float, float]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(steps, seconds, reward, 0.0) for steps, seconds, reward in rows)


def test_band_of_a_curve() -> None:
    """Mean and range over two seeds, at the steps that both have."""
    curves = [points((0, 0.0, 1.0), (10, 0.0, 2.0), (20, 0.0, 5.0)), points((0, 0.0, 3.0), (20, 0.0, 4.0))]
    steps, means, lows, highs = band(curves)
    assert steps.tolist() == [0, 20]
    assert means.tolist() == [2.0, 4.5]
    assert lows.tolist() == [1.0, 4.0]
    assert highs.tolist() == [3.0, 5.0]
    _, means, lows, highs = band(curves[:1])
    assert lows.tolist() == means.tolist() == highs.tolist() == [1.0, 2.0, 5.0]


def test_curves_against_the_clock() -> None:
    slow = [make_result("hsrl", seed, 3.0, curve=points((0, 0.0, 1.0), (3200, 8.0 + 4 * seed, 3.0))) for seed in (0, 1)]
    runs = [make_result("random", 0, 1.0, train_seconds=0.0), make_result("sl", 0, 2.0, train_seconds=6.0), *slow]
    steps, seconds = (
        {line.get_color(): line for line in curve_figure(group(runs), by).axes[0].lines} for by in (STEPS, SECONDS)
    )
    hsrl, sl, random = (METHODS[name].look.colour for name in ("hsrl", "sl", "random"))
    assert steps[hsrl].get_xdata().tolist() == [0, 3200]
    assert seconds[hsrl].get_xdata().tolist() == [0.0, 10.0]  # 8 and 12 seconds
    assert seconds[sl].get_xdata()[0] == 6.0  # where its fit ended
    assert seconds[sl].get_xdata()[1] > 10.0
    for lines in (steps, seconds):
        assert list(lines[random].get_xdata()) == [0, 1]  # from edge to edge
    assert list(steps[sl].get_xdata()) == [0, 1]


def test_the_leaders_are_in_colour_with_a_band_and_all_have_their_names() -> None:
    runs = [make_result(name, seed, place + seed) for place, name in enumerate(METHODS) for seed in (0, 1)]
    axes = curve_figure(group(runs)).axes[0]
    colours = [line.get_color() for line in axes.lines]
    assert METHODS["hsrl"].look.colour in colours
    assert colours.count(GREY) == len(METHODS) - 5
    assert len(axes.collections) == 4  # HSRL and its three best rivals; the oracle does not learn
    assert {text.get_text() for text in axes.texts} == {method.label for method in METHODS.values()}


@pytest.mark.parametrize("tasks", [["ML1M"], ["ML1M", "RL4RS"]])
def test_names_fit_into_the_picture_and_lie_apart(tasks: list[str]) -> None:
    figure = curve_figure(group([make_result(name, 0, 4.0, task) for task in tasks for name in METHODS]))
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)
        assert all(box.y0 >= 0.0 and box.y1 <= figure.bbox.y1 for box in boxes)
        centres = [(box.y0 + box.y1) / 2 for box in boxes]
        assert min(b - a for a, b in itertools.pairwise(centres)) > 0.6 * boxes[0].height


def test_an_agent_that_was_scored_once_is_a_point() -> None:
    own = make_result("m:Mine", 0, 4.0, curve=points((3200, 2.0, 4.0)))
    axes = curve_figure(group([*HSRL_RUNS, *A2C_RUNS, own])).axes[0]
    assert len(axes.containers) == 1
    assert "Mine" in [text.get_text() for text in axes.texts]
