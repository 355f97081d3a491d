"""Table 2: the scores of each method and their differences to HSRL. `COLUMNS` declares each column once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsrl_agent.evaluation.report import notes
from hsrl_agent.evaluation.report.belief import belief_tables
from hsrl_agent.evaluation.report.grouping import Line, group
from hsrl_agent.evaluation.report.sheet import Sheet
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.summary import REFERENCE, Summary, summarise

# The packaged bundles that stand for the paper's data sets, with the reward rule of its reference code.
_PAPER_RULES = {"rl4rs": "sweet_point", "ml1m": "mean_with_cost"}
PAPER = (
    "The paper's figures are those of its Table 2. They were measured on its own data and user model. They stand here "
    "for orientation and cannot be compared to ours."
)


@dataclass(frozen=True)
class Table2Line:
    """One method of one task: what its runs say together, and the runs themselves."""

    summary: Summary
    line: Line

    @property
    def paper(self) -> tuple[float | None, float | None]:
        """The paper's Total Reward and Depth; None where the method or the data are not the paper's."""
        if self.line.name != self.line.method.name:
            return None, None
        return self.line.method.paper.get(paper_data(self.line.runs[0]) or "", (None, None))


def paper_data(result: RunResult) -> str | None:
    """Return which data set of the paper a run stands for: "rl4rs", "ml1m" or None."""
    name = result.data.packaged
    return name if name and _PAPER_RULES.get(name) == result.session.get("reward") else None


COLUMNS: list[Column[Table2Line]] = [
    Column("task", "Task", lambda line: line.summary.task, only_csv=True),
    Column("method", "Name", lambda line: line.summary.line, only_csv=True),
    Column("label", "Method", lambda line: line.line.label),
    Column("n_seeds", "Seeds", lambda line: len(line.summary.seeds), digits=0, only_csv=True),
    Column("total_reward", "Total Reward [95%]", lambda line: line.summary.total_reward),
    Column("depth", "Depth, steps [95%]", lambda line: line.summary.depth, optional=True),
    Column("true_reward", "Total Reward by the true user [95%]", lambda line: line.summary.true_reward),
    Column("reward_minus_hsrl", "Reward minus HSRL [95%]", lambda line: line.summary.reward_to_reference, signed=True),
    Column(
        "depth_minus_hsrl", "Depth minus HSRL", lambda line: line.summary.depth_to_reference, signed=True, only_csv=True
    ),
    Column("p_hsrl_better", "P(HSRL better)", lambda line: line.summary.reference_better),
    Column("click_rate", "Clicks per item shown", lambda line: line.summary.click_rate, only_csv=True),
    Column("train_seconds", "Learning, s", lambda line: line.summary.train_seconds, digits=0, only_csv=True),
    Column("paper_total_reward", "Paper: Total Reward", lambda line: line.paper[0], optional=True),
    Column("paper_depth", "Paper: Depth, steps", lambda line: line.paper[1], optional=True),
]


def table2(results: Sequence[RunResult], asked: Mapping[str, Sequence[int]] | None = None) -> list[Table[Table2Line]]:
    """Return a table for each task.

    Args:
        results: the finished runs.
        asked: the seeds that were asked for in each task, so that missing runs are told.
    """
    tasks = group(results)
    summaries = {(one.task, one.line): one for one in summarise(results)}
    return [
        Table(
            task,
            COLUMNS,
            [Table2Line(summaries[task, line.name], line) for line in lines],
            leading=lambda line: line.summary.line == REFERENCE,
            notes=notes.describe_task(lines, notes.asked_of(asked, task)),
        )
        for task, lines in tasks.items()
    ]


def general_notes(results: Sequence[RunResult], tables: Sequence[Table[Table2Line]]) -> list[str]:
    """Return the notes below all tables."""
    lines = [line for table in tables for line in table.lines]
    found = notes.general(results, chance=any(line.summary.reference_better is not None for line in lines))
    paired = any(line.summary.reward_to_reference for line in lines)
    pairs = ["Differences to HSRL are paired by seed: both methods meet the same held-out users."] if paired else []
    return [*pairs, *found, *([PAPER] if any(line.paper[0] is not None for line in lines) else [])]


def table2_sheet(results: Sequence[RunResult], asked: Mapping[str, Sequence[int]] | None = None) -> Sheet:
    """Return Table 2 with the gaps between users."""
    tables = table2(results, asked)
    return Sheet("Table 2", notes.code_state(results), tables, belief_tables(results), general_notes(results, tables))
