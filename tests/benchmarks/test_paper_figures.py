"""Figures 5 and 6: the numbers that are drawn, and what cannot be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from figures import looks_of, spread, thousands, to_svg
from hsrl_gym.errors import HsrlError
from paper_figures import (
    ENTROPIES,
    WEIGHTS,
    diagnostic,
    draw_mlc_weights,
    draw_sensitivity,
    level_panels,
    levels_figure,
    levels_of,
    sensitivity_figure,
)
from results import LABELS, interval

PNG = b"\x89PNG"
STEPS = [3200, 6400, 9600]


def row(method: str = "hsrl", seed: int = 0, **diagnostics: Any) -> dict[str, Any]:
    return {"env": "HSRL-ML1M-v0", "method": method, "seed": seed, "diagnostics": {"steps": STEPS, **diagnostics}}


ROWS = [
    row(seed=0, mlc_weight_0=[0.5, 0.4, 0.2], mlc_weight_1=[0.5, 0.6, 0.8], entropy_1=[3.0, 2.0, 1.0]),
    row(seed=1, mlc_weight_0=[0.5, 0.2, 0.0], mlc_weight_1=[0.5, 0.8, 1.0], entropy_1=[3.0, None, 2.0]),
]
REWARDS = {
    "entropy weight": [(0.001, [3.0, 5.0]), (0.01, [6.0, 8.0])],
    "levels": [(2, [1.0, 2.0, 3.0]), (3, [4.0, 4.0, 4.0]), (4, [2.0, 2.5, 3.0])],
}


def lines(figure: Any, panel: int = 0) -> list[list[float]]:
    return [list(map(float, line.get_ydata())) for line in figure.axes[panel].lines]


def test_weights_are_means_over_seeds_with_a_band() -> None:
    figure = levels_figure(ROWS, WEIGHTS, "weight")
    assert [np.round(line, 9).tolist() for line in lines(figure)] == [[0.5, 0.3, 0.1], [0.5, 0.7, 0.9]]
    assert figure.axes[0].lines[0].get_xdata().tolist() == STEPS
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.0, 0.5)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["level 0", "level 1"]
    assert "2 seeds, band: their range" in figure.axes[0].get_title()


def test_only_what_all_seeds_have_is_drawn() -> None:
    steps, means, *_ = diagnostic(ROWS, "entropy_1")
    assert steps.tolist() == [3200, 9600]  # one seed has no number between
    assert means.tolist() == [3.0, 1.5]
    assert levels_of(ROWS, ENTROPIES) == [1]
    assert levels_of([*ROWS, row(entropy_2=[1.0, 1.0, 1.0])], ENTROPIES) == []
    assert levels_of([row(mlc_weight_0=[], value=[1.0] * 3)], WEIGHTS) == []


def test_rows_without_levels_have_no_panel() -> None:
    others = [row("a2c"), {**row("sl"), "diagnostics": None}, row("hsrl-paper", mlc_weight_0=[1.0, 1.0, 1.0])]
    assert list(level_panels([*ROWS, *others], WEIGHTS)) == [("HSRL-ML1M-v0", "hsrl-paper"), ("HSRL-ML1M-v0", "hsrl")]
    with pytest.raises(HsrlError, match=r"no row has mlc_weight_0, mlc_weight_1, \.\. in its diagnostics"):
        draw_mlc_weights(others[:2], Path("nowhere.png"))


def test_a_long_run_is_thinned_with_both_ends() -> None:
    steps = list(range(0, 500_000, 1000))
    long = {**row(), "diagnostics": {"steps": steps, "mlc_weight_0": [step / 1e6 for step in steps]}}
    at, means, *_ = diagnostic([long], "mlc_weight_0")
    assert len(at) == 60
    assert (at[0], at[-1]) == (0, 499_000)
    assert np.allclose(means, at / 1e6)


def test_pictures_are_written_and_the_same_each_time(tmp_path: Path) -> None:
    for name in "ab":
        draw_mlc_weights(ROWS, tmp_path / f"weights-{name}.png")
        draw_sensitivity(REWARDS, {}, tmp_path / f"sensitivity-{name}.png")
    for what in ("weights", "sensitivity"):
        a, b = ((tmp_path / f"{what}-{name}.png").read_bytes() for name in "ab")
        assert a.startswith(PNG)
        assert a == b


def test_sensitivity_shows_means_and_intervals() -> None:
    depths = {name: [(value, [1 + x for x in seeds]) for value, seeds in group] for name, group in REWARDS.items()}
    figure = sensitivity_figure(REWARDS, depths)
    assert len(figure.axes) == 4
    left = figure.axes[0]
    (bars,) = left.containers
    assert bars[0].get_ydata().tolist() == [4.0, 7.0]
    ends = [segment[:, 1].tolist() for segment in bars[2][0].get_segments()]
    assert ends == [[3.0, 5.0], [6.0, 8.0]]
    assert [text.get_text() for text in left.get_xticklabels()] == ["0.001", "0.01"]
    (bars,) = figure.axes[1].containers
    three = interval([1.0, 2.0, 3.0])
    assert bars[2][0].get_segments()[0][:, 1].tolist() == pytest.approx([three.low, three.high])
    (bars,) = figure.axes[2].containers
    assert bars[0].get_ydata().tolist() == [5.0, 8.0]
    assert [axes.get_ylabel() for axes in figure.axes] == ["Total Reward", "", "Depth", ""]


@pytest.mark.parametrize(
    ("rewards", "depths", "message"),
    [
        ({}, {}, "expected the same ones, at least one"),
        ({"levels": []}, {}, "got no values or no seeds for 'levels'"),
        ({"levels": [(2, [])]}, {}, "got no values or no seeds for 'levels'"),
        ({"levels": [(2, [1.0])]}, {"vocabulary": [(2, [1.0])]}, "expected the same ones"),
    ],
)
def test_refuses_groups_with_nothing_in_them(tmp_path: Path, rewards: Any, depths: Any, message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        draw_sensitivity(rewards, depths, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_bands_and_looks() -> None:
    means, lows, highs = spread([[1.0], [2.0]])
    assert means.tolist() == lows.tolist() == highs.tolist() == [1.0, 2.0]
    methods = [*LABELS, "my.own:Agent", "my.own:Other"]
    looks = looks_of(methods)
    assert len(set(looks.values())) == len(methods)  # nobody looks like somebody else
    assert [thousands(value) for value in (500, 12_800, 1_600_000)] == ["500", "12.8k", "1.6M"]


def test_svg_stands_on_its_own_and_takes_the_colours_of_the_page() -> None:
    text = to_svg(levels_figure(ROWS, WEIGHTS, "weight"), "one", 'a "title"')
    assert text == to_svg(levels_figure(ROWS, WEIGHTS, "weight"), "one", 'a "title"')
    assert text.startswith('<svg role="img" aria-label="a &quot;title&quot;"')
    assert "var(--ink)" in text
    assert "#000000" not in text
    assert "<metadata" not in text
    ids = [part.split('"')[0] for part in text.split(' id="')[1:]]
    assert len(ids) == len(set(ids))
    assert all(one.startswith("one-") for one in ids)
    targets = [part.split('"')[0] for part in text.split('href="#')[1:]]
    targets += [part.split(")")[0] for part in text.split("url(#")[1:]]
    assert targets
    assert set(targets) <= set(ids)
