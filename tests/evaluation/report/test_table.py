"""One declaration of columns, four forms: Markdown, CSV, terminal, HTML."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hsrl_agent.evaluation.report.sheet import Sheet
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.statistics import Interval

LINES = [("HSRL", Interval(1.5, 1.0, 2.0), 1 / 3, 12_000), ("a|b", None, None, 9)]
COLUMNS: list[Column] = [
    Column("label", "Method", lambda line: line[0]),
    Column("reward", "Total Reward [95%]", lambda line: line[1], signed=True),
    Column("share", "Share", lambda line: line[2], digits=1),
    Column("steps", "Steps", lambda line: line[3], digits=0, only_csv=True),
    Column("note", "Note", lambda line: "`x` **y**" if line[1] else "", words=True),
    Column("empty", "Empty", lambda line: None),
]
TABLE = Table("A title", COLUMNS, LINES, leading=lambda line: line[0] == "HSRL")


def terminal(table: Table, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table.rich(width))
    return console.export_text()


def test_markdown() -> None:
    assert TABLE.markdown().splitlines() == [
        "| Method | Total Reward [95%] | Share | Note |",
        "| --- | ---: | ---: | --- |",
        "| HSRL | +1.50 [+1.00, +2.00] | 0.3 | `x` **y** |",
        r"| a\|b |  |  |  |",
    ]


def test_data_has_all_columns_with_all_digits() -> None:
    frame = TABLE.frame()
    assert list(frame) == ["label", "reward_mean", "reward_low", "reward_high", "share", "steps", "note", "empty"]
    assert frame["share"][0] == 1 / 3
    assert frame["reward_high"][0] == 2.0
    assert frame["reward_low"].isna().tolist() == [False, True]


def test_html_means_nothing_but_itself() -> None:
    text = Table("t", COLUMNS, [("<b>", Interval(1.0, None, None), None, 1)]).html()
    assert "<td>&lt;b&gt;</td><td><span class=mean>+1.00</span> <small>[n/a]</small></td>" in text
    assert "<td class=words><code>x</code> <strong>y</strong></td>" in text
    assert TABLE.html().count("<tr class=leading>") == 1
    assert "Empty" not in text


def test_a_narrow_terminal_folds_intervals_then_drops_what_is_optional() -> None:
    wide = terminal(TABLE, 80)
    assert "+1.50 [+1.00, +2.00]" in wide
    assert "x y" in wide
    narrow = terminal(TABLE, 45)
    assert "[+1.00, +2.00]" in narrow
    assert "+1.50 [" not in narrow
    optional = [
        column if column.name != "share" else Column("share", "Share", column.value, optional=True)
        for column in COLUMNS
    ]
    assert "Share" not in terminal(Table("t", optional, LINES), 40)
    assert "Share" in terminal(Table("t", optional, LINES), 80)


def test_a_column_is_shown_empty_only_if_asked_for() -> None:
    always = Table("t", [*COLUMNS, Column("always", "Always", lambda line: None, always=True)], LINES)
    assert "| Always |" in always.markdown()


def test_numbers_of_people_have_thousands() -> None:
    assert Column("n", "N", lambda line: line, digits=0).text(12_000) == "12,000"


@pytest.mark.parametrize("notes", [(), ("One `note`.",)])
def test_a_sheet_begins_with_the_state_of_the_code(notes: tuple[str, ...]) -> None:
    more = Table("More", COLUMNS[:2], LINES, notes=["of more"])
    sheet = Sheet("Results", "Code: commit abc.", [TABLE, TABLE], [more], notes)
    text = sheet.markdown()
    assert text.startswith("Code: commit abc.\n\n# Results\n\n## A title\n\n| Method |")
    assert text.count("## A title") == 2
    assert ("- One `note`." in text) == bool(notes)
    assert len(sheet.csv().splitlines()) == 1 + 2 * len(LINES)
    console = Console(width=100, file=io.StringIO(), record=True)
    sheet.print(console)
    printed = console.export_text()
    assert printed.startswith("Code: commit abc.")
    assert ("- One note." in printed) == bool(notes)
    assert "- of more" in printed
    assert "More" not in printed
