"""Which files and tables each kind of comparison gives."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from made_results import A2C_RUNS, HSRL_RUNS, LEVEL_METRICS, make_result
from rich.console import Console

from hsrl_agent.evaluation.churn_days import PROTOCOL as DAYS
from hsrl_agent.evaluation.churn_table import PROTOCOL as TABLE
from hsrl_agent.evaluation.report.write import KINDS, kind_of, print_report, write_report
from hsrl_agent.evaluation.result import RunResult
from hsrl_gym.errors import HsrlError

LEVELS = [make_result("hsrl", 0, 5.0, metrics=LEVEL_METRICS)]
SWEPT = [
    make_result("hsrl", 0, 5.0, codebook={"vocabulary": [64, 64]}),
    make_result("hsrl", 0, 4.0, variant="levels = 3", protocol_kwargs={"panel": "levels", "value": 3}),
]
CHANGED = [
    make_result("hsrl", 0, 5.0, protocol=TABLE, protocol_kwargs={"later": []}, extra={"before.reward": 1.0}),
]
TURNED = [
    make_result(
        "hsrl",
        0,
        5.0,
        protocol=DAYS,
        protocol_kwargs={"n_days": 1, "every": 15, "arrive": 0.1, "held_back": 0.8},
        extra={"day_0.reward": 1.0, "day_1.reward": 2.0},
    )
]
CASES: dict[str, tuple[list[RunResult], list[str]]] = {
    "table2": (
        [*HSRL_RUNS, *A2C_RUNS],
        ["table2.md", "table2.csv", "learning_curves.png", "learning_curves_seconds.png", "report.html"],
    ),
    "table3": ([HSRL_RUNS[0], make_result("hsrl", 0, 4.0, variant="w/o BC")], ["table3.md", "table3.csv"]),
    "figure5": (SWEPT, ["figure5.md", "figure5.csv", "figure5.png"]),
    "figure6": (LEVELS, ["figure6.png"]),
    "catalog_size": (
        [make_result("hsrl", 0, 5.0, protocol_kwargs={"n_items": 300})],
        ["catalog_size.md", "catalog_size.csv", "catalog_size.png"],
    ),
    "churn": (CHANGED, ["churn.md", "churn.csv", "report.html"]),
    "churn_days": (TURNED, ["churn_days.md", "churn_days.csv", "churn_days.png", "report.html"]),
}


@pytest.mark.parametrize("what", KINDS)
def test_files_and_terminal_of_each_kind(what: str, tmp_path: Path) -> None:
    results, names = CASES[what]
    files = write_report(results, tmp_path / "deep", what, {"ML1M": [0]})
    assert [file.name for file in files] == names
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == sorted(names)
    assert all(file.stat().st_size > 0 for file in files)
    console = Console(width=100, file=io.StringIO(), record=True)
    print_report(console, results, what, {"ML1M": [0]})
    assert console.export_text().startswith("Code: commit 01234567.")
    assert kind_of([replace(result, kind=what) for result in results]) == what
    assert kind_of(results) == ("table2" if what == "figure6" else what)  # of which the rows alone say nothing
    assert kind_of([*results, replace(results[0], kind="figure6")]) == kind_of(results)


def test_levels_are_drawn_with_table_2_where_there_are_any(tmp_path: Path) -> None:
    assert tmp_path / "figure6.png" in write_report(LEVELS, tmp_path, "table2")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(HsrlError, match="unknown kind of report 'table4'; did you mean table"):
        write_report(HSRL_RUNS, tmp_path, "table4")
    with pytest.raises(HsrlError, match="got no finished run, expected at least one"):
        write_report([], tmp_path, "table2")
    assert not list(tmp_path.iterdir())
