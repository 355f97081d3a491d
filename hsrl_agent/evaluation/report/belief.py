"""How far the `eval` user can be trusted: its scores beside those of a second user, and how far both rank alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hsrl_agent.evaluation.report.grouping import Line, group
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.result import JUDGES, RunResult, Score
from hsrl_agent.evaluation.statistics import Interval, interval
from hsrl_agent.evaluation.summary import REFERENCE, Belief, believe

_NAMES = {"true_user": "true user", "train_user": "`train` user"}  # by `Belief.other`
_TRAIN_USER_NOTE = (
    "Nobody knows the true user of these data. The `train` user is the model that agents learned from. A large gap "
    "means that a method answers to that one model."
)


@dataclass(frozen=True)
class Gap:
    """Mean Total Reward of one method by two users over the seeds that both have scored, and the difference."""

    name: str
    label: str
    ours: float
    other: float
    gap: Interval


def gap_columns(other: str) -> list[Column[Gap]]:
    """Return the columns of a table of gaps to a user of that name."""
    return [
        Column("label", "Method", lambda gap: gap.label),
        Column("eval_reward", "`eval` user", lambda gap: gap.ours),
        Column("other_reward", other, lambda gap: gap.other),
        Column("gap", "Gap [95%]", lambda gap: gap.gap, signed=True),
    ]


def belief_tables(results: Sequence[RunResult]) -> list[Table[Gap]]:
    """Return a table for each task and each second user that has scored its runs; none where nobody has."""
    tasks = group(results)
    return [_table(belief, tasks[belief.task]) for belief in believe(results)]


def _table(belief: Belief, lines: Sequence[Line]) -> Table[Gap]:
    field, name = JUDGES[belief.other], _NAMES[belief.other]
    gaps = [gap for line in lines if (gap := _gap(line, field))]
    return Table(
        f"{belief.task}: Total Reward by two users",
        gap_columns(name),
        gaps,
        leading=lambda gap: gap.name == REFERENCE,
        notes=[*agreement(belief, name, len(gaps)), *([_TRAIN_USER_NOTE] if belief.other == "train_user" else [])],
    )


def agreement(belief: Belief, other: str, n_methods: int) -> list[str]:
    """Return how far two users rank methods alike, in a sentence or two; nothing where there is no ranking."""
    if belief.tau is None:
        return []
    text = (
        f"{belief.task}: the `eval` user and the {other} rank {n_methods} methods with Kendall's tau {belief.tau:.2f} "
        "(1 is the same order)."
    )
    if belief.repeated is not None:
        text += f" The `eval` user's own rankings by two seeds have tau {belief.repeated:.2f}."
    return [text]


def _gap(line: Line, field: str) -> Gap | None:
    pairs: list[tuple[Score, Score]] = [(run.score, getattr(run, field)) for run in line.runs if getattr(run, field)]
    if not pairs:
        return None
    ours, other = ([score.total_reward for score in side] for side in zip(*pairs, strict=True))
    differences = [one - two for one, two in zip(ours, other, strict=True)]
    return Gap(line.name, line.label, float(np.mean(ours)), float(np.mean(other)), interval(differences))
