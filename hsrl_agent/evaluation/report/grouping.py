"""Runs by task and by line of a table, in the order of the tables, with the names and looks of the lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hsrl_agent.evaluation.plugins import is_plugin, record_of
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.summary import REFERENCE, by_line
from hsrl_agent.method import Look, Method

ORACLE = "oracle"


@dataclass(frozen=True)
class Line:
    """The runs of one line of a table.

    Attributes:
        task: which users were played.
        name: `RunSpec.line`, the variant or the method.
        method: its record.
        runs: one a seed, by seed.
    """

    task: str
    name: str
    method: Method
    runs: tuple[RunResult, ...]

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.method.label if self.name == self.method.name else self.name

    @property
    def look(self) -> Look:
        """Colour and marker."""
        return self.method.look

    @property
    def learns_online(self) -> bool:
        """Whether the method learns by acting."""
        return self.runs[0].learns_online

    @property
    def plugged_in(self) -> bool:
        """Whether it is an agent of the reader's own."""
        return is_plugin(self.method.name)

    def rewards(self) -> dict[int, float]:
        """Return Total Reward by the `eval` user of each seed."""
        return {run.spec.seed: run.score.total_reward for run in self.runs}

    def true_rewards(self) -> dict[int, float]:
        """Return Total Reward by the true user of each seed that has it."""
        return {run.spec.seed: run.true_score.total_reward for run in self.runs if run.true_score}

    def mean_reward(self) -> float:
        """Return the mean Total Reward over the seeds."""
        return float(np.mean(list(self.rewards().values())))


def group(results: Iterable[RunResult]) -> dict[str, list[Line]]:
    """Return the lines of each task in the order of the tables; see `summary.by_line`."""
    return {task: [_line(task, name, runs) for name, runs in lines.items()] for task, lines in by_line(results).items()}


def _line(task: str, name: str, runs: dict[int, RunResult]) -> Line:
    ordered = tuple(runs[seed] for seed in sorted(runs))
    return Line(task, name, record_of(ordered[0].spec.method), ordered)


def highlighted(lines: Sequence[Line], n_rivals: int = 3) -> list[Line]:
    """Return the lines that a figure draws in colour: HSRL, its best rivals, the oracle, and one's own agents."""
    always = [line for line in lines if line.name in (REFERENCE, ORACLE) or line.plugged_in]
    rivals = sorted((line for line in lines if line not in always), key=Line.mean_reward, reverse=True)[:n_rivals]
    return [line for line in lines if line in always or line in rivals]
