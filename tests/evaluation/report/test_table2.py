"""Table 2 against numbers worked out by hand, in all its forms."""

from __future__ import annotations

import csv
import io

import pytest
from made_results import A2C_RUNS, HSRL_RUNS, RANDOM_RUN, make_result
from rich.console import Console

from hsrl_agent.evaluation.report import table2
from hsrl_agent.evaluation.report.page import page
from hsrl_agent.evaluation.report.table import Column
from hsrl_agent.evaluation.report.table2 import paper_data, table2_sheet
from hsrl_agent.methods import METHODS

RUNS = [*HSRL_RUNS, *A2C_RUNS, RANDOM_RUN]


def test_markdown_by_hand() -> None:
    """Seeds 0 and 1: A2C minus HSRL is -1 and +1. Of the 3 x 2 pairs HSRL wins 3."""
    lines = table2_sheet(RUNS).markdown().splitlines()
    assert lines[0] == "Code: commit 01234567."
    assert lines[4] == "## ML1M"
    assert lines[6] == (
        "| Method | Total Reward [95%] | Depth, steps [95%] | Reward minus HSRL [95%] | P(HSRL better) "
        "| Paper: Total Reward | Paper: Depth, steps |"
    )
    assert lines[8] == "| Random | 2.00 [n/a] | 3.00 [n/a] |  |  |  |  |"
    assert lines[9] == (
        "| A2C | 11.00 [9.00, 13.00] | 12.00 [10.00, 14.00] | +0.00 [-1.00, +1.00] | 0.50 | 9.53 | 10.64 |"
    )
    assert lines[10].startswith("| HSRL | 11.00 [")


def test_csv_has_all_digits_and_all_tasks() -> None:
    runs = [*RUNS, make_result("random", 0, 1 / 3, "RL4RS")]
    lines = list(csv.DictReader(io.StringIO(table2_sheet(runs).csv())))
    assert [(line["task"], line["method"]) for line in lines] == [
        ("ML1M", "random"),
        ("ML1M", "a2c"),
        ("ML1M", "hsrl"),
        ("RL4RS", "random"),
    ]
    assert float(lines[3]["total_reward_mean"]) == 1 / 3
    assert lines[0]["total_reward_low"] == ""
    assert (lines[1]["depth_minus_hsrl_low"], lines[1]["depth_minus_hsrl_high"]) == ("-1.0", "1.0")
    assert (lines[1]["n_seeds"], lines[1]["paper_total_reward"], lines[1]["p_hsrl_better"]) == ("2", "9.533", "0.5")


def test_each_task_has_its_own_table_and_columns() -> None:
    """Nobody knows the true user of the second task, and its data are not the paper's."""
    runs = [make_result("hsrl", 0, 10.0, true=7.0), make_result("hsrl", 0, 3.0, "my shop", source="my.csv")]
    one, other = table2_sheet(runs).tables
    assert (one.title, other.title) == ("ML1M", "my shop")
    assert "Total Reward by the true user [95%]" in [column.heading for column in one.shown()]
    assert [column.name for column in other.shown()] == ["label", "total_reward", "depth"]


def test_one_seed_has_no_probability() -> None:
    (table,) = table2_sheet([make_result("hsrl", 0, 10.0), make_result("a2c", 0, 10.01)]).tables
    assert table.lines[0].summary.reference_better is None
    assert "P(HSRL better)" not in table.markdown()


@pytest.mark.parametrize(
    ("task", "changes", "expected"),
    [
        ("ML1M", {}, "ml1m"),
        ("RL4RS", {}, "rl4rs"),
        ("RL4RS", {"session": {"reward": "mean_with_cost", "slate_size": 9}}, None),
        ("RL4RS", {"packaged": None}, None),
        ("my shop", {}, None),
    ],
)
def test_the_paper_stands_only_beside_its_own_data(task: str, changes: dict, expected: str | None) -> None:
    result = make_result("hsrl-paper", 0, 3.0, task, **changes)
    assert paper_data(result) == expected
    assert ("Paper: Total Reward" in table2_sheet([result]).markdown()) == (expected is not None)
    assert ("The paper's figures" in table2_sheet([result]).markdown()) == (expected is not None)


def test_only_the_paper_s_algorithms_have_its_figures() -> None:
    (table,) = table2_sheet([make_result(method, 0, 3.0, "RL4RS") for method in METHODS]).tables
    with_figures = {line.summary.line for line in table.lines if line.paper[0] is not None}
    assert with_figures == {"sl", "a2c", "ddpg", "td3", "pgra", "hac", "hsrl-paper"}


def test_a_column_is_declared_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a declaration adds stands in Markdown, CSV, terminal and page."""
    column = Column("best", "Best seed", lambda line: max(line.line.rewards().values()), digits=1)
    monkeypatch.setattr(table2, "COLUMNS", [*table2.COLUMNS, column])
    sheet = table2_sheet(RUNS)
    assert "| Best seed |" in sheet.markdown()
    assert "| 13.0 |" in sheet.markdown()
    assert [line["best"] for line in csv.DictReader(io.StringIO(sheet.csv()))] == ["2.0", "13.0", "12.0"]
    console = Console(width=200, file=io.StringIO(), record=True)
    sheet.print(console)
    assert "Best seed" in console.export_text()
    assert "<th>Best seed</th>" in page(RUNS)
    assert "<td>13.0</td>" in page(RUNS)


def test_a_plugged_in_agent_goes_by_its_class_and_stands_last() -> None:
    runs = [make_result("my.agents:Mine", 0, 4.0), *HSRL_RUNS]
    (table,) = table2_sheet(runs).tables
    assert [line.line.label for line in table.lines] == ["HSRL", "Mine"]
