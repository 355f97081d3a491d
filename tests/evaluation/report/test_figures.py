"""What the pictures share."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_results import HSRL_RUNS, LEVEL_METRICS, make_result

from hsrl_agent.evaluation.report.dots import dot_figure
from hsrl_agent.evaluation.report.figures import GREY, apart, band_name, dark_style, spread, to_svg, write_png
from hsrl_agent.evaluation.report.grouping import group, highlighted
from hsrl_agent.evaluation.report.levels import WEIGHTS, levels_figure
from hsrl_agent.methods import METHODS


def test_bands() -> None:
    means, lows, highs = spread([[1.0], [2.0]])
    assert means.tolist() == lows.tolist() == highs.tolist() == [1.0, 2.0]
    assert [band_name(n) for n in (1, 2, 5)] == ["one seed", "2 seeds, band: their range", "5 seeds, band: 95%"]


def test_names_keep_apart_and_move_no_further_than_needed() -> None:
    assert apart([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert apart([0.5, 0.5, 0.9], 0.1) == pytest.approx([0.45, 0.55, 0.9])
    assert apart([0.99, 1.0], 0.1) == pytest.approx([0.9, 1.0])  # within the axes
    assert apart([0.0, 0.01], 0.1) == pytest.approx([0.0, 0.1])
    places = apart(sorted(np.random.default_rng(0).random(12)), 0.05)
    assert min(b - a for a, b in itertools.pairwise(places)) >= 0.05 - 1e-9


def test_hsrl_its_best_rivals_the_oracle_and_one_s_own_agent_are_in_colour() -> None:
    names = [*METHODS, "my.own:Agent"]
    rewards = {name: float(place) for place, name in enumerate(["my.own:Agent", *METHODS])}
    lines = group([make_result(name, 0, rewards[name]) for name in names])["ML1M"]
    coloured = [line.name for line in highlighted(lines)]
    assert {"hsrl", "oracle", "my.own:Agent"} < set(coloured)
    assert len(coloured) == 6
    best = [name for name in sorted(rewards, key=rewards.__getitem__) if name not in ("hsrl", "oracle")][-3:]
    assert set(best) < set(coloured)


def test_no_two_methods_look_alike() -> None:
    looks = {(record.look.colour, record.look.marker) for record in METHODS.values()}
    assert len(looks) == len(METHODS)
    one, other = (METHODS[name].look.colour for name in ("hsrl", "a2c-pretrained"))
    channels = [[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in (one, other)]
    assert np.abs(np.subtract(*channels)).sum() > 200


def test_dots_stand_from_worst_to_best_with_rings_for_the_true_user() -> None:
    runs = [*HSRL_RUNS, make_result("random", 0, 2.0), make_result("sl", 0, 5.0, true=4.0)]
    axes = dot_figure(group(runs)["ML1M"]).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["Random", "SL", "HSRL"]
    dots = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [float(np.squeeze(line.get_xdata())) for line in dots] == [2.0, 5.0, 4.0, 11.0]
    assert dots[2].get_markerfacecolor() == "none"
    grey = dot_figure(group([make_result(name, 0, float(place)) for place, name in enumerate(METHODS)])["ML1M"])
    assert sum(line.get_color() == GREY for line in grey.axes[0].lines) > 10


def test_svg_stands_on_its_own_and_takes_the_colours_of_the_page() -> None:
    lines = group([make_result("hsrl", 0, 1.0, metrics=LEVEL_METRICS)])["ML1M"]
    text = to_svg(levels_figure(lines, WEIGHTS), "one two", 'a "title"')
    assert text == to_svg(levels_figure(lines, WEIGHTS), "one two", 'a "title"')
    assert text.startswith('<svg role="img" aria-label="a &quot;title&quot;"')
    assert "var(--ink)" in text
    assert "#000000" not in text
    assert "<metadata" not in text
    ids = [part.split('"')[0] for part in text.split(' id="')[1:]]
    assert len(ids) == len(set(ids))
    assert all(one.startswith("one-two-") for one in ids)
    targets = [part.split('"')[0] for part in text.split('href="#')[1:]]
    targets += [part.split(")")[0] for part in text.split("url(#")[1:]]
    assert targets
    assert set(targets) <= set(ids)


def test_dark_looks_are_lighter_on_a_dark_ground() -> None:
    """Half-way to white: (0x33 + 255) // 2 is 0x99."""
    text = to_svg(dot_figure(group([make_result("a2c-pretrained", 0, 1.0)])["ML1M"]), "dots", "dots")
    assert METHODS["a2c-pretrained"].look.colour == "#332288"
    assert "var(--look-332288, #332288)" in text
    assert "--look-332288: #9990c3;" in dark_style()
    assert METHODS["hsrl"].look.colour.lower()[1:] not in dark_style()


def test_a_png_is_the_same_each_time(tmp_path) -> None:
    lines = group(HSRL_RUNS)["ML1M"]
    a, b = (write_png(dot_figure(lines), tmp_path / f"{name}.png").read_bytes() for name in "ab")
    assert a == b
    assert a.startswith(b"\x89PNG")
