"""What the churn table says in words: cost of new items, retained reward, their share, user-steps until it is back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hsrl_agent.evaluation.churn import REWARD, SHARE, entry
from hsrl_agent.evaluation.churn_plan import WITH_ONBOARDING
from hsrl_agent.evaluation.churn_table import (
    ADDED,
    BACK,
    BEFORE,
    ENOUGH,
    IS_BACK,
    IS_SEEN,
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


def _name(line: Line) -> str:
    """Return what a sentence calls a line; labels have a comma before "onboarding"."""
    return line.label.replace(f", {WITH_ONBOARDING}", f" with {WITH_ONBOARDING}")


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
    text = f"{_name(best)} has {what}, {mean:.2f}"
    rival = next((line for _, line in ranked if line.method.name != best.method.name), None)
    if rival is None:
        return f"{text}."
    ours, theirs = values(best), values(rival)
    gaps = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    if not gaps:
        return f"{text}. It has no seed in common with {_name(rival)}, the next method."
    gap = interval(gaps)
    doubt = " The interval holds zero." if gap.low is not None and gap.low <= 0 else ""
    return f"{text}, {gap.text()} ahead of {_name(rival)}, the next method, paired by seed.{doubt}"


def in_words(lines: Sequence[Line], reward: str = REWARD) -> list[str]:
    """Return sentences on what holds in one task.

    Args:
        lines: of the task.
        reward: what `extra` calls the reward by the user who judges.
    """
    told = [_later(lines, reward), _cost(lines, reward), _kept(lines, reward), _lost(lines, reward)]
    if reward == REWARD:
        told += [_cut_short(lines), _share(lines), _back(lines)]
    return [sentence for sentence in told if sentence]


def ratios(line: Line, over: str, under: str) -> list[float]:
    """Return one number of `extra` divided by another, for each run that has both."""
    pairs = [(run.extra[over], run.extra[under]) for run in line.runs if over in run.extra and under in run.extra]
    return [one / other for one, other in pairs if other]


def _percent(lines: Sequence[Line], value: Callable[[Line], list[float]]) -> dict[str, float]:
    return {_name(line): 100.0 * float(np.mean(found)) for line in lines if (found := value(line))}


def _later(lines: Sequence[Line], reward: str) -> str:
    """Return who leads some time after all items were replaced: at the second of the later scores, else the first."""
    later = sorted({steps for line in lines for run in line.runs for steps in run.spec.protocol_kwargs["later"]})[:2]
    if not later:
        return ""
    name = entry(after(later[-1]), reward)
    what = f"the highest reward {later[-1]:,} user-steps after all items were replaced"
    return leader(lines, what, lambda line: {run.spec.seed: run.extra[name] for run in line.runs if name in run.extra})


def _cost(lines: Sequence[Line], reward: str) -> str:
    left = _percent(lines, lambda line: ratios(line, entry(ADDED, reward), entry(BEFORE, reward)))
    if not left:
        return ""
    changes = {label: round(percent - 100.0, 1) + 0.0 for label, percent in left.items()}  # + 0.0: no -0.0
    aim = _is_met({label: percent >= 100.0 - MOST_COST for label, percent in left.items()})
    return (
        f"Adding the new items changes Total Reward by {_each(changes, '{:+.1f}%')}. The aim, to lose at most "
        f"{MOST_COST:.0f}%, {aim}."
    )


def _kept(lines: Sequence[Line], reward: str) -> str:
    kept = _percent(lines, lambda line: ratios(line, entry(SEEN, reward), entry(KNOWN, reward)))
    if not kept:
        return ""
    worse = _percent(lines, lambda line: ratios(line, entry(KNOWN, reward), entry(REPLACED[100], reward)))
    void = [label for label in kept if worse.get(label, 100.0) < 100.0]
    sound = {label: percent for label, percent in kept.items() if label not in void}
    rewards = {
        _name(line): found.mean
        for line in lines
        if _name(line) in kept and (found := mean_of(line, entry(SEEN, reward)))
    }
    told = [
        f"With all items replaced, and after a mean of 20 impressions an item{_impressions(lines)}, Total Reward is "
        f"{_each(rewards, '{:.2f}')}."
    ]
    if sound:
        aim = _is_met({label: percent >= LEAST_KEPT for label, percent in sound.items()})
        told += [
            "Relative to what the same method gets with the true vectors of the items, that is "
            f"{_each(sound, '{:.0f}%')}. The aim, at least {LEAST_KEPT:.0f}%, {aim}."
        ]
    if void:
        told += [f"The true vectors set no standard for {listed(void)}: they do worse than what features say."]
    return " ".join(told)


def _impressions(lines: Sequence[Line]) -> str:
    """Return how long the impressions took, and how unequal they are, in parentheses."""
    took, medians, never = (_all_of(lines, name) for name in (STEPS_SEEN, MEDIAN_SEEN, NEVER_SEEN))
    facts = [f"{np.mean(took):,.0f} user-steps"] if took else []
    if medians:
        facts += [f"the median item has {np.median(medians):.0f}", f"{np.mean(never):.0%} have none"]
    return f" ({'; '.join(facts)})" if facts else ""


def _cut_short(lines: Sequence[Line]) -> str:
    """Return for which methods new items did not get their impressions in time."""
    short = [(line, _all_of([line], IS_SEEN).count(0.0)) for line in lines]
    runs = [f"{n} of {len(line.runs)} runs ({_name(line)})" for line, n in short if n]
    told = "New items were shown so seldom that they did not reach a mean of 20 impressions in"
    return f"{told} {listed(runs)}; these were scored with what they had." if runs else ""


def _all_of(lines: Sequence[Line], name: str) -> list[float]:
    return [run.extra[name] for line in lines for run in line.runs if name in run.extra]


def _lost(lines: Sequence[Line], reward: str) -> str:
    left = _percent(lines, lambda line: ratios(line, entry(REPLACED[100], reward), entry(BEFORE, reward)))
    told = "With all items replaced, and before anything is learned of them, methods keep of their Total Reward"
    return f"{told} {_each(left, '{:.0f}%')}." if left else ""


def _share(lines: Sequence[Line]) -> str:
    name = entry(ADDED, SHARE)
    shares = {_name(line): mean.mean for line in lines if (mean := mean_of(line, name))}
    oracle = next((shares.pop(_name(line)) for line in lines if line.name == ORACLE and _name(line) in shares), None)
    if oracle is None or not shares:
        return ""
    aim = _is_met({label: share >= LEAST_SHARE * oracle for label, share in shares.items()})
    return (
        f"Once added, new items fill {oracle:.0%} of the greedy oracle's slots, and of the slots of others "
        f"{_each(shares, '{:.0%}')}. The aim, half of "
        f"the oracle's share, {aim}."
    )


def _back(lines: Sequence[Line]) -> str:
    """Return how long it took each method to have enough of its own reward back, and whether HSRL took half."""
    told = {_name(line): (found.mean, line) for line in lines if line.learns_online and (found := mean_of(line, BACK))}
    ours = [one for one in told.values() if one[1].method.name == REFERENCE]
    others = [one for one in told.values() if one[1].method.name != REFERENCE]
    if not ours or not others:
        return ""
    steps, first = min(ours, key=_quickest)
    their_steps, rival = min(others, key=_quickest)
    aim = _is_met({_name(first): all(map(is_back, first.runs)) and steps <= their_steps / 2})
    each = listed([f"{mean:,.0f} ({label}{_never(line)})" for label, (mean, line) in told.items()])
    return (
        f"After a change of 60%, {ENOUGH:.0%} of a method's own reward before the change is back after this many "
        f"user-steps: {each}. The aim, at most half of those of the fastest other method, {_name(rival)}, {aim}."
    )


def _quickest(one: tuple[float, Line]) -> tuple[bool, float]:
    steps, line = one
    return not all(map(is_back, line.runs)), steps


def _never(line: Line) -> str:
    never = sum(not is_back(run) for run in line.runs)
    return f", never in {never} of {len(line.runs)} runs" if never else ""


def is_back(run: RunResult) -> bool:
    """Return whether enough of the reward was back at the last score after 60% were replaced."""
    return bool(run.extra.get(IS_BACK))


def _each(values: dict[str, float], form: str) -> str:
    return listed([f"{form.format(value)} ({label})" for label, value in values.items()])


def _is_met(met: dict[str, bool]) -> str:
    """Return by whom an aim is met, by the names of methods."""
    if all(met.values()):
        return f"is met by {'all' if len(met) > 1 else next(iter(met))}"
    if len(met) > 1 and not any(met.values()):
        return "is met by none"
    return f"is missed by {listed([name for name, is_met in met.items() if not is_met])}"
