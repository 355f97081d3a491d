"""What the results of a comparison say together: means with intervals, differences to HSRL, agreement of judges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from hsrl_agent.evaluation.plugins import record_of
from hsrl_agent.evaluation.result import JUDGES, RunResult
from hsrl_agent.evaluation.statistics import Interval, interval, probability_of_improvement
from hsrl_agent.method import Method

REFERENCE = "hsrl"  # the line that the others are paired with

Runs = Mapping[int, RunResult]  # by seed


@dataclass(frozen=True)
class Summary:
    """What one line of a table reached on one task.

    Attributes:
        task: name of the task.
        line: method or variant.
        label: what tables call the line.
        method: record of its method.
        seeds: of the runs.
        total_reward, depth: over the seeds.
        true_reward: Total Reward by the true user, over the seeds that have it; None where nobody knows that user.
        reward_to_reference, depth_to_reference: the line minus HSRL, seed by seed; None for HSRL itself and without
            common seeds.
        true_to_reference: the same of Total Reward by the true user.
        reference_better: probability that a run of HSRL has the higher Total Reward; None for HSRL itself, and where
            either has one run only.
        click_rate: mean over the seeds.
        train_seconds: mean over the seeds.
    """

    task: str
    line: str
    label: str
    method: Method
    seeds: tuple[int, ...]
    total_reward: Interval
    depth: Interval
    true_reward: Interval | None
    reward_to_reference: Interval | None
    depth_to_reference: Interval | None
    true_to_reference: Interval | None
    reference_better: float | None
    click_rate: float
    train_seconds: float


def summarise(results: Iterable[RunResult]) -> list[Summary]:
    """Return a summary for each task (as they come) and line (methods by rank, then variants as they come)."""
    return [
        _summary(runs, lines.get(REFERENCE, {}) if line != REFERENCE else {})
        for lines in by_line(results).values()
        for line, runs in lines.items()
    ]


def by_line(results: Iterable[RunResult]) -> dict[str, dict[str, dict[int, RunResult]]]:
    """Return the results by task (as they come), line (methods by rank, then variants as they come) and seed."""
    cells: dict[str, dict[str, dict[int, RunResult]]] = {}
    for result in results:
        spec = result.spec
        cells.setdefault(spec.task, {}).setdefault(spec.line, {})[spec.seed] = result
    return {task: dict(sorted(lines.items(), key=lambda item: _rank(item[1]))) for task, lines in cells.items()}


def _rank(runs: Runs) -> float:
    spec = next(iter(runs.values())).spec
    return math.inf if spec.variant else record_of(spec.method).rank


def _summary(runs: Runs, reference: Runs) -> Summary:
    """Return the summary of one line; `reference` is empty for the reference itself."""
    seeds = sorted(runs)
    common = [seed for seed in seeds if seed in reference]
    spec = runs[seeds[0]].spec
    method = record_of(spec.method)
    rewards, rivals = ([one.score.total_reward for one in lines.values()] for lines in (runs, reference))
    true, true_reference = true_rewards(runs), true_rewards(reference)
    return Summary(
        task=spec.task,
        line=spec.line,
        label=spec.variant or method.label,
        method=method,
        seeds=tuple(seeds),
        total_reward=interval([runs[seed].score.total_reward for seed in seeds]),
        depth=interval([runs[seed].score.depth for seed in seeds]),
        true_reward=_interval(list(true.values())),
        reward_to_reference=_interval([_gap(runs[seed], reference[seed], "total_reward") for seed in common]),
        depth_to_reference=_interval([_gap(runs[seed], reference[seed], "depth") for seed in common]),
        true_to_reference=_interval([true[s] - true_reference[s] for s in common if s in true and s in true_reference]),
        reference_better=probability_of_improvement(rivals, rewards),
        click_rate=float(np.mean([runs[seed].score.click_rate for seed in seeds])),
        train_seconds=float(np.mean([runs[seed].train_seconds for seed in seeds])),
    )


def true_rewards(runs: Runs) -> dict[int, float]:
    """Return Total Reward by the true user, of the seeds that have it."""
    return {seed: one.true_score.total_reward for seed, one in sorted(runs.items()) if one.true_score is not None}


def _interval(values: list[float]) -> Interval | None:
    return interval(values) if values else None


def _gap(one: RunResult, other: RunResult, name: str) -> float:
    return float(getattr(one.score, name) - getattr(other.score, name))


@dataclass(frozen=True)
class Belief:
    """How the scores of a task by the learned `eval` user agree with those of a second judge.

    Attributes:
        task: name of the task.
        tau: Kendall's tau-b between the lines' mean Total Rewards by the one and by the other: 1 for the same ranking,
            -1 for the reverse. None with fewer than two lines, or where all have one score.
        other: the judge: "true_user"; or "train_user", the one that agents learned from, where nobody knows the true
            one. Agreement with that one tells how much of a score is a method's answer to the model it learned from.
        repeated: Kendall's tau-b between the rankings of one seed and another, both by the `eval` user, mean over all
            pairs of seeds; None as for `tau`. Where it is low, lines differ by little more than their seeds do.
    """

    task: str
    tau: float | None
    other: str = "true_user"
    repeated: float | None = None


def believe(results: Iterable[RunResult]) -> list[Belief]:
    """Return a belief for each task and each judge that has scored runs of it. Other runs do not count."""
    beliefs = []
    for task, lines in by_line(results).items():
        for other, field_name in JUDGES.items():
            pairs = {line: _pairs(runs, field_name) for line, runs in lines.items()}
            scored = {line: by_seed for line, by_seed in pairs.items() if by_seed}
            if scored:
                beliefs.append(_belief(task, other, scored))
    return beliefs


def _pairs(runs: Runs, field_name: str) -> dict[int, tuple[float, float]]:
    """Return by seed the Total Rewards by the `eval` user and by the judge."""
    scores = {seed: getattr(one, field_name) for seed, one in runs.items()}
    return {seed: (runs[seed].score.total_reward, score.total_reward) for seed, score in scores.items() if score}


def _belief(task: str, other: str, lines: Mapping[str, Mapping[int, tuple[float, float]]]) -> Belief:
    means = np.array([np.mean(list(by_seed.values()), axis=0) for by_seed in lines.values()])  # (lines, 2)
    return Belief(task, _tau(means[:, 0], means[:, 1]), other, _repeated(lines))


def _repeated(lines: Mapping[str, Mapping[int, tuple[float, float]]]) -> float | None:
    taus = []
    for pair in combinations(sorted(set().union(*lines.values())), 2):
        both = [[scores[seed][0] for seed in pair] for scores in lines.values() if scores.keys() >= set(pair)]
        taus.append(_tau(*zip(*both, strict=True)) if both else None)
    known = [tau for tau in taus if tau is not None]
    return float(np.mean(known)) if known else None


def _tau(one: ArrayLike, other: ArrayLike) -> float | None:
    from scipy.stats import kendalltau  # a second or two, which processes that only learn need not wait for

    tau = float(kendalltau(one, other).statistic) if np.size(one) > 1 else math.nan
    return tau if math.isfinite(tau) else None
