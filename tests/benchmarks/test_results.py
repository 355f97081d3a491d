"""Rows on disk, and the numbers of the table against ones worked out by hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from curves import band, curve_figure, draw_curves
from hsrl_agent.methods import METHODS
from report import PAPER, caption, markdown, print_tables, table_csv, write_rows, write_table2
from results import (
    Interval,
    interval,
    label,
    probability_of_improvement,
    read_rows,
    sort_methods,
    summarise,
    write_row,
    write_text,
)
from spec import ROW_SCHEMA

RL4RS, ML1M = "HSRL-RL4RS-v0", "HSRL-ML1M-v0"


def make_row(method: str, seed: int, reward: float, env: str = ML1M, **changes: Any) -> dict[str, Any]:
    row = {
        "schema": ROW_SCHEMA,
        "key": f"{env}-{method}-{seed}",
        "env": env,
        "method": method,
        "seed": seed,
        "steps": 3200,
        "device": "cpu",
        "device_name": "abacus",
        "learns_online": method not in ("random", "popularity", "sl"),
        "total_reward": reward,
        "depth": reward + 1.0,
        "click_rate": 0.5,
        "n_episodes": 500,
        "curve": [[0, 0.0, 1.0, 2.0], [1600, 1.0, reward - 1.0, 3.0], [3200, 2.0, reward, reward + 1.0]],
        "train_seconds": 2.0,
        "eval_seconds": 1.0,
        "session": {"reward": "sweet_point" if env == RL4RS else "mean_with_cost", "slate_size": 9},
        "bundle": {"name": "x", "source": "SyntheticWorld('x', seed=0)"},
        "git_commit": "0123456789abcdef-dirty",
    }
    return {**row, **changes}


HSRL_ROWS = [make_row("hsrl", seed, reward) for seed, reward in enumerate((10.0, 12.0, 11.0))]
A2C_ROWS = [make_row("a2c", seed, reward) for seed, reward in enumerate((9.0, 13.0))]
RANDOM_ROWS = [make_row("random", 5, 2.0)]
TRUE_ROWS = [
    *(dict(row, true_user={"total_reward": true}) for row, true in zip(A2C_ROWS, (9.0, 10.0), strict=True)),
    dict(HSRL_ROWS[0], true_user={"total_reward": 7.0}),
    *HSRL_ROWS[1:],
    make_row("random", 0, 2.0, true_user=None),
]


def test_interval_of_one_seed_is_not_available() -> None:
    one = interval([3.0])
    assert (one.mean, one.low, one.high, one.n) == (3.0, None, None, 1)
    assert one.text() == "3.00 [n/a]"


def test_interval_of_two_seeds_is_their_range() -> None:
    two = interval([3.0, 2.0])
    assert (two.mean, two.low, two.high, two.n) == (2.5, 2.0, 3.0, 2)
    assert two.text() == "2.50 [2.00, 3.00]"
    assert two.text(digits=1, signed=True) == "+2.5 [+2.0, +3.0]"


@pytest.mark.parametrize("n", [2, 3, 5])
def test_interval_of_equal_values_is_a_point(n: int) -> None:
    same = interval([0.1] * n)
    assert (same.low, same.high) == (0.1, 0.1)


def test_interval_of_more_seeds_is_the_bootstrap_of_the_mean() -> None:
    five = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert five.mean == 3.0
    # The mean of 5 draws from 1..5 has standard deviation sqrt(2 / 5); it is nearly normal and symmetric.
    half = 1.96 * np.sqrt(2 / 5)
    assert five.low == pytest.approx(3.0 - half, abs=0.15)
    assert five.high == pytest.approx(3.0 + half, abs=0.15)
    assert interval([1.0, 2.0, 3.0, 4.0, 5.0]) == five  # the same each time


def test_interval_follows_the_skew() -> None:
    """BCa leans to the long tail: of the bootstrap's means of these, 97.5% are 6 or less (binomial(5, 0.2) times 2)."""
    skewed = interval([0.0, 0.0, 0.0, 0.0, 10.0])
    assert (skewed.low, skewed.high) == (0.0, 8.0)


def test_interval_falls_back_to_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def undefined_bca(*args: Any, method: str, **kwargs: Any) -> Any:
        ends = (np.nan, np.nan) if method == "BCa" else (1.5, 2.5)
        return SimpleNamespace(confidence_interval=SimpleNamespace(low=ends[0], high=ends[1]))

    monkeypatch.setattr("scipy.stats.bootstrap", undefined_bca)
    assert interval([1.0, 2.0, 3.0]) == Interval(2.0, 1.5, 2.5, 3)


def test_summary_by_hand() -> None:
    summaries = summarise([*A2C_ROWS, *HSRL_ROWS, *RANDOM_ROWS])
    assert [one.method for one in summaries] == ["random", "a2c", "hsrl"]
    random, a2c, hsrl = summaries
    assert a2c.seeds == (0, 1)
    assert (a2c.total_reward.mean, a2c.total_reward.low, a2c.total_reward.high) == (11.0, 9.0, 13.0)
    assert (a2c.depth.mean, a2c.depth.low, a2c.depth.high) == (12.0, 10.0, 14.0)
    assert hsrl.total_reward.mean == 11.0
    assert hsrl.reward_to_reference is None
    # Seed 0: 9 - 10, seed 1: 13 - 12; HSRL's seed 2 has no partner.
    paired = a2c.reward_to_reference
    assert paired is not None
    assert (paired.mean, paired.low, paired.high, paired.n) == (0.0, -1.0, 1.0, 2)
    assert a2c.depth_to_reference == paired
    assert random.reward_to_reference is None  # no seed in common


def test_pairing_takes_out_what_the_seeds_share() -> None:
    """Rewards vary by 10 over the seeds, differences by 0.1: the paired interval is as narrow as the latter."""
    hsrl = [make_row("hsrl", seed, 10.0 * seed) for seed in range(4)]
    a2c = [make_row("a2c", seed, 10.0 * seed - 1.0 + 0.1 * (seed % 2)) for seed in (3, 2, 1, 0)]
    found = summarise([*hsrl, *a2c])[0].reward_to_reference
    assert found is not None
    assert found.mean == pytest.approx(-0.95)
    assert found.low is not None
    assert found.high is not None
    assert -1.0 - 1e-9 <= found.low < found.high <= -0.9 + 1e-9


def test_probability_of_improvement_by_hand() -> None:
    assert probability_of_improvement([3.0], [2.0]) == 1.0
    assert probability_of_improvement([2.0], [3.0]) == 0.0
    # 5 beats 1 and 4 and ties 5, 3 beats 1: 2.5 + 1 of 6 pairs.
    assert probability_of_improvement([5.0, 3.0], [1.0, 4.0, 5.0]) == pytest.approx(3.5 / 6)
    assert probability_of_improvement([1.0, 4.0, 5.0], [5.0, 3.0]) == pytest.approx(2.5 / 6)
    # HSRL 10, 12, 11 against A2C 9, 13: 3 of 6, though A2C has no seed 2; against random, with no seed in common, all.
    random, a2c, hsrl = summarise([*A2C_ROWS, *HSRL_ROWS, *RANDOM_ROWS])
    assert (random.reference_better, a2c.reference_better, hsrl.reference_better) == (1.0, 0.5, None)
    assert summarise(A2C_ROWS)[0].reference_better is None


def test_true_user_in_summary_and_tables() -> None:
    rows = [*TRUE_ROWS, make_row("random", 0, 2.0, env=RL4RS)]
    random, a2c, hsrl, elsewhere = summarise(rows)
    assert random.true_reward is None  # nobody asked the true user
    assert a2c.true_reward == Interval(9.5, 9.0, 10.0, 2)
    assert hsrl.true_reward == Interval(7.0, None, None, 1)  # of the seeds that have it
    assert elsewhere.true_reward is None
    lines = markdown(rows, [random, a2c, hsrl, elsewhere], {}).splitlines()
    assert "ML1M Total Reward [95%] | Depth [95%] | true user [95%] | paper: Reward / Depth | RL4RS" in lines[2]
    assert lines[2].count("true user") == 1
    assert "| 12.00 [10.00, 14.00] | 9.50 [9.00, 10.00] | 9.533 / 10.644 |" in lines[5]
    assert lines[4].startswith("| Random | 2.00 [n/a] | 3.00 [n/a] |  |  | 2.00 [n/a] |")
    assert {line.count("|") for line in lines[2:7]} == {lines[2].count("|")}
    text = list(csv.DictReader(io.StringIO(table_csv([random, a2c, hsrl]))))
    assert [line["true_reward_mean"] for line in text] == ["", "9.5", "7.0"]
    assert [line["p_hsrl_better"] for line in text] == ["1.0", "0.5", ""]
    assert "| A2C | +0.00 [-1.00, +1.00] | +0.00 [-1.00, +1.00] | 0.50 |  |  |  |" in lines


@pytest.mark.parametrize("width", [80, 160])
def test_terminal_shows_the_true_user_and_the_chance(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    print_tables(console, TRUE_ROWS, {})
    text = " ".join(console.export_text().split())
    for part in ("true user", "9.50", "P(HSRL", "0.50", "Kendall's tau 1.00"):
        assert part in text
    plain = Console(width=width, file=io.StringIO(), record=True)
    print_tables(plain, A2C_ROWS, {})
    assert "true user" not in plain.export_text()
    assert "P(HSRL" not in plain.export_text()


def test_order_and_names_of_methods() -> None:
    methods = ["my.agents:Mine", "hsrl", "hsrl-paper", "hsrl-scratch", "a2c", "sl", "popularity", "random"]
    ordered = ["random", "popularity", "sl", "a2c", "hsrl-paper", "hsrl-scratch", "hsrl", "my.agents:Mine"]
    assert sort_methods(methods) == ordered
    names = ["Random", "Popularity", "SL", "A2C", "HSRL (paper's form)", "HSRL (from scratch)", "HSRL", "Mine"]
    assert [label(method) for method in ordered] == names


def test_markdown_table() -> None:
    rows = [*HSRL_ROWS[:2], *A2C_ROWS, make_row("random", 0, 2.0), make_row("random", 0, 1.5, env=RL4RS)]
    text = markdown(rows, summarise(rows), {ML1M: [0, 1], RL4RS: [0]})
    lines = text.splitlines()
    assert lines[2] == (
        "| Method | ML1M Total Reward [95%] | Depth [95%] | paper: Reward / Depth "
        "| RL4RS Total Reward [95%] | Depth [95%] | paper: Reward / Depth |"
    )
    assert lines[4] == "| Random | 2.00 [n/a] | 3.00 [n/a] |  | 1.50 [n/a] | 2.50 [n/a] |  |"
    assert lines[5] == "| A2C | 11.00 [9.00, 13.00] | 12.00 [10.00, 14.00] | 9.533 / 10.644 |  |  | 7.789 / 9.140 |"
    assert (
        lines[6] == "| HSRL | 11.00 [10.00, 12.00] | 12.00 [11.00, 13.00] | 18.884 / 18.970 |  |  | 12.308 / 13.084 |"
    )
    assert "| A2C | +0.00 [-1.00, +1.00] | +0.00 [-1.00, +1.00] | 0.50 |  |  |  |" in lines
    assert "| Random | -8.00 [n/a] | -8.00 [n/a] | 1.00 |  |  |  |" in lines
    assert "Random on ML1M has 1 of 2 seeds" in text


def test_caption_says_what_the_numbers_are() -> None:
    rows = [make_row("hsrl", seed, 3.0 + seed, env=RL4RS, key=str(seed)) for seed in (0, 1)]
    text = "\n".join(caption(rows, summarise(rows), {RL4RS: [0, 1]}))
    for part in (
        "SyntheticWorld('x', seed=0). **Synthetic data, no real user.**",
        "Reward rule `sweet_point`, slate of 9, 3,200 user-steps",
        "2 seeds (0, 1), 500 sessions a seed",
        "With two seeds its ends are the two runs themselves",
        "9 clicks of 9 at every step end at 9.0 in 10 steps, 8 of 9 at 15.6 in 16",
        "commit 01234567-dirty. Ran on abacus",
    ):
        assert part in text
    assert "missing" not in text
    assert "n/a" not in text
    real = [make_row("hsrl", 0, 3.0, bundle={"source": "MovieLens-100K"})]
    text = "\n".join(caption(real, summarise(real), {ML1M: [0, 1]}))
    assert "MovieLens-100K." in text
    assert "ynthetic" not in text
    assert "deliberate miss" not in text
    assert "HSRL on ML1M has 1 of 2 seeds" in text
    assert "With one seed there is none (n/a)" in text


def test_caption_of_the_true_users() -> None:
    rows = [make_row("hsrl", 0, 3.0, env="HSRL-World-v0")]
    text = "\n".join(caption(rows, summarise(rows), {}))
    assert "World: the true users, for learning and for scoring, of SyntheticWorld('x', seed=0)." in text
    assert "learned from" not in text
    assert "`eval` user" not in text


def test_figures_of_the_paper() -> None:
    """Table 2 of the paper; Delta vs. HAC in its last row gives a second way to each HSRL figure."""
    for env, gains in {RL4RS: (22.4, 17.9), ML1M: (7.1, 6.4)}.items():
        assert set(PAPER[env]) == {"sl", "a2c", "ddpg", "td3", "pgra", "hac", "hsrl", "hsrl-paper"}
        for column, gain in enumerate(gains):
            assert 100 * (PAPER[env]["hsrl"][column] / PAPER[env]["hac"][column] - 1) == pytest.approx(gain, abs=0.06)


def test_csv_has_all_digits() -> None:
    rows = [*HSRL_ROWS[:2], *A2C_ROWS, make_row("random", 0, 1 / 3)]
    lines = list(csv.DictReader(io.StringIO(table_csv(summarise(rows)))))
    assert [line["method"] for line in lines] == ["random", "a2c", "hsrl"]
    assert float(lines[0]["total_reward_mean"]) == 1 / 3
    assert lines[0]["total_reward_low"] == ""
    assert (lines[1]["reward_minus_hsrl_low"], lines[1]["reward_minus_hsrl_high"]) == ("-1.0", "1.0")
    assert (lines[1]["n_seeds"], lines[1]["paper_total_reward"], lines[1]["paper_depth"]) == ("2", "9.533", "10.644")
    assert lines[2]["reward_minus_hsrl_mean"] == ""


def test_report_is_written_whole(tmp_path: Path) -> None:
    rows = [*HSRL_ROWS, *A2C_ROWS, make_row("m:Mine", 0, 4.0, curve=[[3200, 2.0, 4.0, 5.0]])]
    out = tmp_path / "deep" / "out"
    files = [*write_table2(rows, out, {ML1M: [0, 1, 2]}), write_rows(rows, out)]
    names = ["table2.md", "table2.csv", "learning_curves.png", "learning_curves_seconds.png", "results.jsonl"]
    assert [file.name for file in files] == names
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(names)
    assert [json.loads(line) for line in files[-1].read_text().splitlines()] == rows
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files[2:4])
    assert files[2].read_bytes() != files[3].read_bytes()


def test_band_of_a_curve() -> None:
    """Mean and range over two seeds, at the steps that both have."""
    curves = [
        [[0, 0.0, 1.0, 0.0], [10, 0.0, 2.0, 0.0], [20, 0.0, 5.0, 0.0]],
        [[0, 0.0, 3.0, 0.0], [20, 0.0, 4.0, 0.0]],
    ]
    steps, means, lows, highs = band(curves)
    assert steps.tolist() == [0, 20]
    assert means.tolist() == [2.0, 4.5]
    assert lows.tolist() == [1.0, 4.0]
    assert highs.tolist() == [3.0, 5.0]
    steps, means, lows, highs = band(curves[:1])
    assert lows.tolist() == means.tolist() == highs.tolist() == [1.0, 2.0, 5.0]


def test_pictures_differ_with_the_numbers(tmp_path: Path) -> None:
    draw_curves(HSRL_ROWS, tmp_path / "a.png")
    draw_curves(HSRL_ROWS, tmp_path / "b.png")
    draw_curves([*HSRL_ROWS, *A2C_ROWS, *RANDOM_ROWS], tmp_path / "c.png")
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_rows_come_back(tmp_path: Path) -> None:
    path = write_row(tmp_path, HSRL_ROWS[0])
    plugin = make_row("some.module:Class/../x", 3, 1.0)
    assert write_row(tmp_path, plugin).parent == path.parent == tmp_path / "runs"
    rows, complaints = read_rows(tmp_path)
    assert rows == {HSRL_ROWS[0]["key"]: HSRL_ROWS[0], plugin["key"]: plugin}
    assert complaints == []
    assert read_rows(tmp_path / "nothing") == ({}, [])


@pytest.mark.parametrize(
    "content",
    [
        "",
        json.dumps(HSRL_ROWS[0])[:-40],
        "[1, 2]",
        json.dumps({**HSRL_ROWS[0], "schema": 0}),
        json.dumps({name: value for name, value in HSRL_ROWS[0].items() if name != "curve"}),
        json.dumps({**HSRL_ROWS[0], "total_reward": "12"}),
        "\udcff",
    ],
)
def test_a_broken_row_is_told_and_left_out(tmp_path: Path, content: str) -> None:
    good = write_row(tmp_path, A2C_ROWS[0])
    broken = good.with_name("broken.json")
    broken.write_bytes(content.encode(errors="surrogateescape"))
    rows, complaints = read_rows(tmp_path)
    assert list(rows) == [A2C_ROWS[0]["key"]]
    assert len(complaints) == 1
    assert str(broken) in complaints[0]
    assert "that run is done again" in complaints[0]
    assert "\n" not in complaints[0]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "row.json"
    write_text(path, "before")

    def fail(*args: Any) -> None:
        assert path.read_text() == "before"  # what is there stays until the new one is complete
        raise OSError("disk full")

    monkeypatch.setattr("results.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "after")
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["row.json"]


def test_a_row_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_row(tmp_path, make_row("hsrl", 0, float("nan")))
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("n_envs", [1, 2])
def test_the_legend_fits_into_the_picture(n_envs: int) -> None:
    rows = [make_row(method, 0, 4.0) for method in METHODS]
    envs = [ML1M, "HSRL-RL4RS-v0"][:n_envs]
    figure = curve_figure([{**row, "env": env} for env in envs for row in rows])
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert 0.0 <= legend.get_window_extent().x0 < legend.get_window_extent().x1 <= figure.bbox.x1
