"""What the churn table says in words: cost of new items, retained reward, their share, user-steps until it is back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hsrl_agent.evaluation.churn import REWARD, SHARE, entry
from hsrl_agent.evaluation.churn_table import (
    ADDED,
    BACK,
    BEFORE,
    ENOUGH,
    IS_BACK,
    KNOWN,
    MEDIAN_SEEN,
    NEVER_SEEN,
    REPLACED,
    SEEN,
    STEPS_SEEN,
    after,
)
from hsrl_agent.evaluation.report.grouping import ORACLE, Line
from hsrl_agent.evaluation.report.text import listed
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.statistics import Interval, interval
from hsrl_agent.evaluation.summary import REFERENCE

MOST_COST, LEAST_KEPT, LEAST_SHARE = 2.0, 90.0, 0.5  # percent, percent, part of the oracle's


def is_onboarded(line: Line) -> bool:
    """Return whether new items were onboarded in the runs of a line."""
    return bool(line.runs[0].spec.protocol_kwargs.get("onboarding"))


def mean_of(line: Line, name: str) -> Interval | None:
    """Return the mean over seeds of a number in `extra`, None where no run has it."""
    values = [run.extra[name] for run in line.runs if name in run.extra]
    return interval(values) if values else None


def leader(lines: Sequence[Line], what: str, values: Callable[[Line], dict[int, float]]) -> str:
    """Return which line has the most, and how far it is ahead of the next method. The oracle does not compete.

    Args:
        lines: of one task.
        what: they have, for instance "the largest area".
        values: of a line, by seed.
    """
    means = [(float(np.mean(list(found.values()))), line) for line in lines if (found := values(line))]
    ranked = sorted((one for one in means if one[1].name != ORACLE), key=lambda one: -one[0])
    if not ranked:
        return ""
    mean, best = ranked[0]
    text = f"{best.label} has {what}, {mean:.2f}"
    rival = next((line for _, line in ranked if line.method.name != best.method.name), None)
    if rival is None:
        return f"{text}."
    ours, theirs = values(best), values(rival)
    gaps = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    if not gaps:
        return f"{text}. It has no seed in common with {rival.label}, the next method."
    gap = interval(gaps)
    doubt = " The interval holds zero." if gap.low is not None and gap.low <= 0 else ""
    return f"{text}, {gap.text()} ahead of {rival.label}, the next method, paired by seed.{doubt}"


def in_words(lines: Sequence[Line], reward: str = REWARD) -> list[str]:
    """Return sentences on what holds in one task.

    Args:
        lines: of the task.
        reward: what `extra` calls the reward by the user who judges.
    """
    told = [_later(lines, reward), _cost(lines, reward), _kept(lines, reward), _lost(lines, reward)]
    if reward == REWARD:
        told += [_share(lines), _back(lines)]
    return [sentence for sentence in told if sentence]


def ratios(line: Line, over: str, under: str) -> list[float]:
    """Return one number of `extra` divided by another, for each run that has both."""
    pairs = [(run.extra[over], run.extra[under]) for run in line.runs if over in run.extra and under in run.extra]
    return [one / other for one, other in pairs if other]


def _percent(lines: Sequence[Line], value: Callable[[Line], list[float]]) -> dict[str, float]:
    return {line.label: 100.0 * float(np.mean(found)) for line in lines if (found := value(line))}


def _later(lines: Sequence[Line], reward: str) -> str:
    """Return who leads some time after all items were replaced: at the second of the later scores, else the first."""
    later = sorted({steps for line in lines for run in line.runs for steps in run.spec.protocol_kwargs["later"]})[:2]
    if not later:
        return ""
    name = entry(after(later[-1]), reward)
    what = f"the highest reward {later[-1]:,} user-steps after all items were replaced"
    return leader(lines, what, lambda line: {run.spec.seed: run.extra[name] for run in line.runs if name in run.extra})


def _cost(lines: Sequence[Line], reward: str) -> str:
    gains = _percent(lines, lambda line: ratios(line, entry(ADDED, reward), entry(BEFORE, reward)))
    if not gains:
        return ""
    costs = {label: 100.0 - gain for label, gain in gains.items()}
    return (
        f"Adding the new items costs, gains being below zero, {_each(costs, '{:.1f}%')}. At most {MOST_COST:.0f}% "
        f"{_holds({label: cost <= MOST_COST for label, cost in costs.items()})}."
    )


def _kept(lines: Sequence[Line], reward: str) -> str:
    kept = _percent(lines, lambda line: ratios(line, entry(SEEN, reward), entry(KNOWN, reward)))
    if not kept:
        return ""
    took = [run.extra[STEPS_SEEN] for line in lines for run in line.runs if STEPS_SEEN in run.extra]
    long = f" ({np.mean(took):,.0f} user-steps)" if took else ""
    worse = _percent(lines, lambda line: ratios(line, entry(KNOWN, reward), entry(REPLACED[100], reward)))
    void = [label for label in kept if worse.get(label, 100.0) < 100.0]
    enough = {label: percent >= LEAST_KEPT for label, percent in kept.items() if label not in void}
    aim = f" At least {LEAST_KEPT:.0f} {_holds(enough)}." if enough else ""
    doubt = f" This says nothing for {listed(void)}: known vectors do worse there than guesses." if void else ""
    rewards = {
        line.label: found.mean for line in lines if line.label in kept and (found := mean_of(line, entry(SEEN, reward)))
    }
    return (
        f"With all items replaced, after 20 impressions an item on average{long}{_spread(lines)}, Total Reward is "
        f"{_each(rewards, '{:.2f}')}. In percent of that with known vectors, each method's own, that is "
        f"{_each(kept, '{:.0f}')}.{aim}{doubt}"
    )


def _spread(lines: Sequence[Line]) -> str:
    """Return how unequal the impressions are, between parentheses that are open."""
    medians, never = (
        [run.extra[name] for line in lines for run in line.runs if name in run.extra]
        for name in (MEDIAN_SEEN, NEVER_SEEN)
    )
    return f" (median {np.median(medians):.0f}; {np.mean(never):.0%} of the items were never shown)" if medians else ""


def _lost(lines: Sequence[Line], reward: str) -> str:
    left = _percent(lines, lambda line: ratios(line, entry(REPLACED[100], reward), entry(BEFORE, reward)))
    return (
        f"With all items replaced, before any learning, of the reward is left {_each(left, '{:.0f}%')}." if left else ""
    )


def _share(lines: Sequence[Line]) -> str:
    name = entry(ADDED, SHARE)
    shares = {line.label: mean.mean for line in lines if (mean := mean_of(line, name))}
    oracle = next((shares.pop(line.label) for line in lines if line.name == ORACLE and line.label in shares), None)
    if oracle is None or not shares:
        return ""
    return (
        f"Where they are added, new items have {oracle:.2f} of the greedy oracle's slates, and of the others' "
        f"{_each(shares, '{:.2f}')}. Half of the oracle's share "
        f"{_holds({label: share >= LEAST_SHARE * oracle for label, share in shares.items()})}."
    )


def _back(lines: Sequence[Line]) -> str:
    """Return how long it took each method to have enough of its own reward back, and whether HSRL took half."""
    told = {line.label: (found.mean, line) for line in lines if line.learns_online and (found := mean_of(line, BACK))}
    ours = [one for one in told.values() if one[1].method.name == REFERENCE]
    others = [one for one in told.values() if one[1].method.name != REFERENCE]
    if not ours or not others:
        return ""
    steps, first = min(ours, key=_quickest)
    their_steps, rival = min(others, key=_quickest)
    half = "holds" if all(map(is_back, first.runs)) and steps <= their_steps / 2 else "does not hold"
    each = listed([f"{_steps(line, mean)} ({label})" for label, (mean, line) in told.items()])
    return (
        f"After a change of 60%, {ENOUGH:.0%} of a method's own reward before it is back in {each}. Half of the "
        f"fastest other method's, {rival.label}'s, {half} for {first.label}."
    )


def _quickest(one: tuple[float, Line]) -> tuple[bool, float]:
    steps, line = one
    return not all(map(is_back, line.runs)), steps


def _steps(line: Line, steps: float) -> str:
    never = sum(not is_back(run) for run in line.runs)
    return f"{steps:,.0f} user-steps{f' (never in {never} of {len(line.runs)} runs)' if never else ''}"


def is_back(run: RunResult) -> bool:
    """Return whether enough of the reward was back at the last score after 60% were replaced."""
    return bool(run.extra.get(IS_BACK))


def _each(values: dict[str, float], form: str) -> str:
    return listed([f"{form.format(value)} ({label})" for label, value in values.items()])


def _holds(known: dict[str, bool]) -> str:
    """Return for whom an aim holds."""
    if all(known.values()):
        return "holds for all"
    if not any(known.values()):
        return "holds for none"
    return f"does not hold for {listed([label for label, holds in known.items() if not holds])}"
