"""What the runs of a task say in a few sentences: who leads, by how much, by whose judgement, on which data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsrl_agent.evaluation.report.grouping import ORACLE, Line
from hsrl_agent.evaluation.report.notes import is_synthetic
from hsrl_agent.evaluation.statistics import interval
from hsrl_agent.evaluation.summary import REFERENCE

_FEWEST = 3  # seeds for an interval
_MOST_TASKS = 2  # that a title can hold


@dataclass(frozen=True)
class Finding:
    """The result of one task: a title and the sentences that hold it up."""

    task: str
    title: str
    sentences: tuple[str, ...]


def find(task: str, lines: Sequence[Line]) -> Finding:
    """Return the finding of a task. The greedy oracle does not compete: it is told the click probabilities."""
    ranked = sorted((line for line in lines if line.name != ORACLE), key=Line.mean_reward, reverse=True)
    if not ranked:
        return Finding(task, f"Only the greedy oracle ran on {task}", tuple(_reference_lines(lines, [])))
    first = ranked[0]
    mean = interval(list(first.rewards().values())).text()
    sentences = [f"{first.label} has the highest Total Reward, {mean}."]
    title = f"{first.label} on {task}"
    if len(ranked) > 1:
        title, margin = _compare(task, first, ranked[1])
        sentences += margin
    sentences += _by_the_true_user(ranked)
    sentences += _reference_lines(lines, ranked)
    source = first.runs[0].data.source
    sentences.append(f"Data: {source}.{' **Synthetic data, no real user.**' * is_synthetic(first.runs[0])}")
    return Finding(task, title, tuple(sentences))


def page_title(findings: Mapping[str, Finding]) -> str:
    """Return the finding of the whole page."""
    titles = [finding.title for finding in findings.values()]
    return "; ".join(titles) if len(titles) <= _MOST_TASKS else f"Slate recommendation on {len(titles)} tasks"


def _compare(task: str, first: Line, second: Line) -> tuple[str, list[str]]:
    """Return a title and how far two methods are apart, paired by seed."""
    ours, theirs = first.rewards(), second.rewards()
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return f"{first.label} leads on {task}", [f"It has no seed in common with {second.label}, the next."]
    gap = interval([ours[seed] - theirs[seed] for seed in common])
    lead = f"It is {gap.text()} ahead of {second.label}, the next, paired by seed."
    if gap.low is not None and gap.low <= 0:
        title, doubts = f"{first.label} and {second.label} are level on {task}", ["The interval holds zero."]
    else:
        title, doubts = f"{first.label} leads on {task}", []
    if len(common) < _FEWEST:
        few = "One seed has" if len(common) == 1 else "Two seeds have"
        title, doubts = title.replace(" leads ", " is ahead "), [f"{few} no 95% interval."]
    return title, [lead, *doubts]


def _reference_lines(lines: Sequence[Line], ranked: Sequence[Line]) -> list[str]:
    """Return where HSRL stands if it is not one of the first two, and what the oracle has."""
    found = []
    for place, line in enumerate(ranked, start=1):
        if line.name == REFERENCE and place > 2:
            found.append(f"{line.label} is number {place} of {len(ranked)} with {line.mean_reward():.2f}.")
    for line in lines:
        if line.name == ORACLE:
            true = list(line.true_rewards().values())
            also = f" ({sum(true) / len(true):.2f} by the true user)" if true else ""
            found.append(
                f"The greedy oracle, which is told the click probabilities, has {line.mean_reward():.2f}{also}."
            )
    return found


def _by_the_true_user(ranked: Sequence[Line]) -> list[str]:
    """Return whom the true user puts first, where it is known."""
    rewards = {line.label: list(line.true_rewards().values()) for line in ranked}
    known = {label: sum(values) / len(values) for label, values in rewards.items() if values}
    if len(known) < 2:
        return []
    best = max(known, key=known.__getitem__)
    also = "also " if best == ranked[0].label else ""
    return [f"By the true user {best} is {also}first, with {known[best]:.2f}."]
