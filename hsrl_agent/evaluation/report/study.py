"""Studies of HSRL: each variant against HSRL as it is, seed by seed (Table 3 and Figure 5 of the paper)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hsrl_agent.evaluation.plugins import record_of
from hsrl_agent.evaluation.report import notes
from hsrl_agent.evaluation.report.belief import belief_tables
from hsrl_agent.evaluation.report.grouping import Line, group
from hsrl_agent.evaluation.report.sheet import Sheet
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.report.table2 import paper_data
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.summary import REFERENCE, Summary, summarise
from hsrl_gym.errors import HsrlError

# What was tried of a setting, in its order: the value, and what each seed reached.
Groups = Mapping[str, Sequence[tuple[float, Sequence[float]]]]

# Table 3 of the paper: change of Total Reward and of Depth in percent, on RL4RS.
PAPER_CHANGES = {
    "w/o entropy": (-20.7, -17.1),
    "w/o hierarchical policy": (-17.3, -14.4),
    "w/o BC": (-8.6, -7.3),
    "w/o multi-level critic": (-12.8, -10.1),
}
TITLES = {"table3": "Table 3", "figure5": "Figure 5"}
_PAPER = (
    "The paper's changes are those of its Table 3. They were measured on its own data and user model. They stand here "
    "for orientation and cannot be compared to ours."
)


@dataclass(frozen=True)
class StudyLine:
    """A variant, or HSRL as it is: its summary, that of HSRL, and its runs."""

    summary: Summary
    full: Summary | None
    line: Line

    @property
    def label(self) -> str:
        """What people call it."""
        return "HSRL (full)" if self.summary.line == REFERENCE else self.line.label

    @property
    def percent(self) -> float | None:
        """Change of Total Reward against HSRL in percent."""
        change = self.summary.reward_to_reference
        if change is None or self.full is None or not self.full.total_reward.mean:
            return None
        return 100 * change.mean / self.full.total_reward.mean

    @property
    def paper(self) -> tuple[float | None, float | None]:
        """The paper's changes of Total Reward and of Depth in percent; None where the data are not the paper's."""
        on_its_data = paper_data(self.line.runs[0]) == "rl4rs"
        return PAPER_CHANGES.get(self.summary.line, (None, None)) if on_its_data else (None, None)


_SHARED: list[Column[StudyLine]] = [
    Column("task", "Task", lambda line: line.summary.task, only_csv=True),
    Column("variant", "Variant", lambda line: line.label),
    Column("n_seeds", "Seeds", lambda line: len(line.summary.seeds), digits=0, only_csv=True),
    Column("total_reward", "Total Reward [95%]", lambda line: line.summary.total_reward),
    Column("depth", "Depth, steps [95%]", lambda line: line.summary.depth, optional=True),
    Column("change", "Change of reward [95%]", lambda line: line.summary.reward_to_reference, signed=True),
    Column("change_percent", "Change, %", lambda line: line.percent, digits=1, signed=True),
    Column("p_hsrl_better", "P(HSRL better)", lambda line: line.summary.reference_better, optional=True),
    Column("true_reward", "Total Reward by the true user [95%]", lambda line: line.summary.true_reward),
    Column("true_change", "Change by the true user [95%]", lambda line: line.summary.true_to_reference, signed=True),
]
COLUMNS: dict[str, list[Column[StudyLine]]] = {
    "table3": [
        *_SHARED,
        Column("paper_reward_percent", "Paper: reward, %", lambda line: line.paper[0], digits=1, signed=True),
        Column("paper_depth_percent", "Paper: depth, %", lambda line: line.paper[1], digits=1, signed=True),
    ],
    "figure5": [
        *_SHARED[:1],
        Column("panel", "Setting", lambda line: _panel(line.line.runs[0]), only_csv=True),
        Column("value", "Value", lambda line: _value(line.line.runs[0]), only_csv=True),
        *_SHARED[1:],
    ],
}


def study_sheet(what: str, results: Sequence[RunResult], asked: Mapping[str, Sequence[int]] | None = None) -> Sheet:
    """Return the table of a study, one for each task.

    Args:
        what: "table3" or "figure5".
        results: the finished runs; HSRL as it is has no variant.
        asked: the seeds that were asked for in each task, so that missing runs are told.
    """
    tasks = group(results)
    summaries = {(one.task, one.line): one for one in summarise(results)}
    tables: list[Table[StudyLine]] = []
    for task, lines in tasks.items():
        full = summaries.get((task, REFERENCE))
        own = [StudyLine(summaries[task, line.name], full, line) for line in lines]
        about = notes.describe_task(lines, notes.asked_of(asked, task))
        tables.append(Table(task, COLUMNS[what], own, leading=lambda line: line.summary.line == REFERENCE, notes=about))
    every = [line for table in tables for line in table.lines]
    below = ["Changes are against HSRL (full), paired by seed: both meet the same held-out users."]
    below += notes.general(results, chance=any(line.summary.reference_better is not None for line in every))
    below += [_PAPER] if what == "table3" and any(line.paper[0] is not None for line in every) else []
    return Sheet(TITLES[what], notes.code_state(results), tables, belief_tables(results), below)


def _panel(result: RunResult) -> str | None:
    panel = result.spec.protocol_kwargs.get("panel")
    return None if panel is None else str(panel)


def _value(result: RunResult) -> float | None:
    value = result.spec.protocol_kwargs.get("value")
    return None if value is None else float(value)


def groups_of(results: Sequence[RunResult], number: Callable[[RunResult], float]) -> Groups:
    """Return, for each panel of Figure 5, the values that were tried in order, with a number of every seed.

    A variant's `protocol_kwargs` name its panel and its value. HSRL as it is stands in every panel, at its own value.

    Args:
        results: of one task.
        number: for instance Total Reward, of a run.
    """
    groups: dict[str, dict[float, list[float]]] = {}
    for result in results:
        panel, value = _panel(result), _value(result)
        if panel is not None and value is not None:
            groups.setdefault(panel, {}).setdefault(value, []).append(number(result))
    for result in results:
        for panel, values in groups.items():
            if result.spec.line == REFERENCE:
                values.setdefault(_own_value(panel, result), []).append(number(result))
    return {panel: sorted(values.items()) for panel, values in groups.items()}


def _own_value(panel: str, result: RunResult) -> float:
    """Return what HSRL as it is has of what a panel changes: of its codebook, of its settings, else of its code."""
    vocabulary = result.codebook["vocabulary"]
    of_codebook = {"vocabulary": vocabulary[0], "levels": len(vocabulary)}
    if panel in of_codebook:
        return float(of_codebook[panel])
    setting = panel.replace(" ", "_")
    if setting in result.spec.settings:
        return float(result.spec.settings[setting])
    known = inspect.signature(record_of(result.spec.method).agent_class).parameters
    if setting not in known:
        raise HsrlError(f"got the panel {panel!r}, expected vocabulary, levels or a setting of {result.spec.method!r}.")
    return float(known[setting].default)
