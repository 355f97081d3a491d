"""What was set of each method, what its runs took, and what the codebook looks like, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsrl_agent.evaluation.report.grouping import Line
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.report.text import count
from hsrl_agent.evaluation.result import RunResult


def _settings_of(line: Line) -> str:
    found = {", ".join(f"`{name}={value}`" for name, value in sorted(run.spec.settings.items())) for run in line.runs}
    return " or ".join(sorted(text or "defaults" for text in found))


def _seconds_of(line: Line) -> float:
    return float(np.mean([run.train_seconds for run in line.runs]))


SETTINGS: list[Column[Line]] = [
    Column("label", "Method", lambda line: line.label),
    Column("settings", "Settings", _settings_of, words=True),
    Column("steps", "User-steps", lambda line: line.runs[0].spec.steps if line.learns_online else None, digits=0),
    Column("seconds", "Learning, s a run", _seconds_of, digits=0),
]


def settings_table(task: str, lines: Sequence[Line]) -> Table[Line]:
    """Return the settings of each method of a task."""
    return Table(task, SETTINGS, lines)


def versions(results: Sequence[RunResult]) -> str:
    """Return the versions that the runs were made with, in a sentence."""
    known = {", ".join(f"{name} {number}" for name, number in run.provenance.versions.items()) for run in results}
    return f"Versions: {'; '.join(sorted(known - {''})) or 'unknown'}."


@dataclass(frozen=True)
class Level:
    """One level of a codebook."""

    level: int
    vocabulary: int
    used: int
    perplexity: float


LEVELS: list[Column[Level]] = [
    Column("level", "Level", lambda one: str(one.level)),
    Column("vocabulary", "Tokens", lambda one: one.vocabulary, digits=0),
    Column("used", "Tokens in use", lambda one: one.used, digits=0),
    Column("perplexity", "Perplexity, tokens", lambda one: one.perplexity, digits=1),
]


def codebook_table(task: str, codebook: Mapping[str, Any]) -> Table[Level]:
    """Return the levels of a task's codebook."""
    columns = (codebook["vocabulary"], codebook["used_tokens"], codebook["perplexity"])
    levels = [Level(place, *numbers) for place, numbers in enumerate(zip(*columns, strict=True), start=1)]
    shared = codebook.get("n_collisions") or 0
    text = f"{count(shared, 'collision')}: an item has the code of another." if shared else "No two items share a code."
    return Table(task, LEVELS, levels, notes=[text])
