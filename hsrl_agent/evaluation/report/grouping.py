"""Runs by task and by line of a table, in the order of the tables, with the names and looks of the lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hsrl_agent.evaluation.result import RunResult, Score
from hsrl_agent.evaluation.summary import REFERENCE
from hsrl_agent.method import Look, Method
from hsrl_agent.methods import METHODS

ORACLE = "oracle"
# Of agents given by "package.module:Class", which have no record.
_SPARE_LOOKS = (Look("#117733", "<"), Look("#882255", "H"), Look("#44AA99", "^"), Look("#AA4499", "v"))


@dataclass(frozen=True)
class Line:
    """The runs of one line of a table.

    Attributes:
        task: which users were played.
        name: `RunSpec.line`, the variant or the method.
        label: what tables call it.
        look: colour and marker.
        method: its record; None for a plugged-in agent.
        runs: one a seed, by seed.
    """

    task: str
    name: str
    label: str
    look: Look
    method: Method | None
    runs: tuple[RunResult, ...]

    @property
    def learns_online(self) -> bool:
        """Whether the method learns by acting."""
        return self.runs[0].learns_online

    @property
    def plugged_in(self) -> bool:
        """Whether it is an agent of the reader's own."""
        return self.method is None

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
    """Return the lines of each task: tasks as they come, lines by rank, variants as they come, own agents last."""
    cells: dict[str, dict[str, dict[int, RunResult]]] = {}
    for result in results:
        spec = result.spec
        cells.setdefault(spec.task, {}).setdefault(spec.line, {})[spec.seed] = result
    plugged = list(dict.fromkeys(name for names in cells.values() for name in names if is_plugin(name)))
    looks = {name: _SPARE_LOOKS[place % len(_SPARE_LOOKS)] for place, name in enumerate(plugged)}
    tasks = {}
    for task, names in cells.items():
        lines = [_line(task, name, runs, looks.get(name)) for name, runs in names.items()]
        tasks[task] = sorted(lines, key=_place)
    return tasks


def is_plugin(name: str) -> bool:
    """Return whether a method is given by "package.module:Class"."""
    return ":" in name and name not in METHODS


def in_colour(lines: Sequence[Line], n_rivals: int = 3) -> list[Line]:
    """Return the lines that a picture of many brings out: HSRL, its best rivals, the oracle, and one's own agents."""
    always = [line for line in lines if line.name in (REFERENCE, ORACLE) or line.plugged_in]
    rivals = sorted((line for line in lines if line not in always), key=Line.mean_reward, reverse=True)[:n_rivals]
    return [line for line in lines if line in always or line in rivals]


def scores_by(lines: Iterable[Line], which: str) -> dict[str, list[Score]]:
    """Return the scores by "score", "true_score" or "train_score" of each line that has them."""
    found = {line.name: [getattr(run, which) for run in line.runs if getattr(run, which)] for line in lines}
    return {name: scores for name, scores in found.items() if scores}


def _line(task: str, name: str, runs: dict[int, RunResult], spare: Look | None) -> Line:
    ordered = tuple(runs[seed] for seed in sorted(runs))
    record = METHODS.get(ordered[0].spec.method)
    if record is None:
        label = name.rpartition(":")[2]
        return Line(task, name, label, spare or _SPARE_LOOKS[0], None, ordered)
    return Line(task, name, record.label if name == record.name else name, record.look, record, ordered)


def _place(line: Line) -> tuple[int, int]:
    if line.method is None:
        return 10**9, 0
    return line.method.rank, int(line.name != line.method.name)
