"""What methods make of items that came after learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hsrl_agent.evaluation.report import notes
from hsrl_agent.evaluation.report.grouping import Line, group
from hsrl_agent.evaluation.report.sheet import Sheet
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.statistics import Interval, interval
from hsrl_agent.evaluation.summary import REFERENCE


def _extra(name: str, line: Line) -> Interval | None:
    values = [run.extra[name] for run in line.runs if name in run.extra]
    return interval(values) if values else None


COLUMNS: list[Column[Line]] = [
    Column("task", "Task", lambda line: line.task, only_csv=True),
    Column("label", "Method", lambda line: line.label),
    Column("before", "Without the new items [95%]", lambda line: _extra("before", line)),
    Column("after", "With them, no learning since [95%]", lambda line: _extra("after", line)),
    Column("whole", "With them from the start [95%]", lambda line: _extra("whole", line)),
    Column("share_new", "Share of new items in the first slates [95%]", lambda line: _extra("share_new", line)),
]


def new_items_sheet(results: Sequence[RunResult], asked: Mapping[str, Sequence[int]] | None = None) -> Sheet:
    """Return a table for each task, from the numbers that the protocol put into `extra`."""
    tables = [
        Table(
            task,
            COLUMNS,
            lines,
            leading=lambda line: line.name == REFERENCE,
            notes=notes.describe_task(lines, notes.asked_of(asked, task)),
        )
        for task, lines in group(results).items()
    ]
    asked_for = [run.spec.protocol_kwargs for run in results]
    percents = sorted({float(one["percent_new"]) for one in asked_for if "percent_new" in one})
    new = [
        f"{percent:g}% of the items were not on sale while a method learned. A slate drawn by chance would hold "
        f"{percent / 100:.2f} of them."
        for percent in percents
    ]
    below = ["Numbers are Total Reward by the `eval` user, but for the last column.", *new]
    return Sheet("New items", notes.code_state(results), tables, notes=[*below, *notes.general(results, chance=False)])
