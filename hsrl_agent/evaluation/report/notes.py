"""What a reader has to know beside a table: state of the code, data, learning, intervals, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hsrl_agent.evaluation.report.grouping import Line, group
from hsrl_agent.evaluation.report.text import count, listed, numbers
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.settings import NO_SETTINGS

WORLD = "HSRL-World-v0"  # where the true users are played, no learned ones
SCORING = (
    "Methods learn from the `train` users. The greedy policy is scored on held-out users, whose clicks the `eval` user "
    "model draws."
)
SWEET_POINT = (
    "`sweet_point` rewards a deliberate miss. With a slate of 9, 9 clicks at every step end at 9.0 in 10 steps; 8 "
    "clicks end at 15.6 in 16 steps. A high Total Reward can mean that a method learned this and nothing else."
)
_DECIDE_DIGITS = ("torch", "numpy")  # packages whose version changes sums and random numbers
CHANCE = (
    "P(HSRL better) is the probability of improvement: the share of all pairs of an HSRL run and a run of the method "
    "in which HSRL has the higher Total Reward. It needs two runs of each."
)


def code_state(results: Sequence[RunResult]) -> str:
    """Return the line that names the state of the code, or warns that there are several, of it or of its packages."""
    states: dict[str, str] = {}
    for result in results:
        state = state_of(result)
        states.setdefault(result.provenance.code or state, state)
    names = sorted(set(states.values()))
    mixed = [f"{len(states)} states of the code ({', '.join(names).replace('commit ', '')})"] if len(states) > 1 else []
    for package in _DECIDE_DIGITS:
        found = sorted({result.provenance.versions.get(package, "unknown") for result in results})
        mixed += [f"{len(found)} versions of {package} ({', '.join(found)})"] if len(found) > 1 else []
    if not mixed:
        return f"Code: {names[0]}."
    return f"**Mixed: these rows come from {listed(mixed)}; do not compare them to the last digit.**"


def state_of(result: RunResult) -> str:
    """Return the commit of a run; for installed code, which has none, the version and the digest of the code."""
    made = result.provenance
    if made.git_commit is None:
        return f"hsrl-gym {made.versions.get('hsrl-gym', 'of unknown version')}, digest {made.code or 'unknown'}"
    return f"commit {short_commit(made.git_commit)}"


def short_commit(commit: str | None) -> str:
    """Return eight digits of a commit, and whether there were changes that it does not hold."""
    revision, _, dirty = (commit or "unknown").partition("-")
    return f"{revision[:8]}{' with changes' if dirty else ''}"


def is_synthetic(result: RunResult) -> bool:
    """Return whether no real user stands behind the data of a run."""
    return "synthetic" in result.data.source.lower()


def describe_task(lines: Sequence[Line], asked: Sequence[int] = ()) -> list[str]:
    """Return the notes of one task: its data, rules, time of learning and settings, and which runs are missing.

    Args:
        lines: of the task.
        asked: the seeds that were asked for; none where nobody knows them.
    """
    runs = [run for line in lines for run in line.runs]
    first, session = runs[0], runs[0].session
    users = "the true users, for learning and for scoring, of" if first.spec.env == WORLD else "users fitted to"
    data = f"{users} {first.data.source}."
    data += " **Synthetic data, no real user.**" if is_synthetic(first) else ""
    steps = sorted({run.spec.steps for run in runs if run.learns_online})
    learned = f" {' or '.join(f'{n:,}' for n in steps)} user-steps of learning." if steps else ""
    seeds = sorted(asked or {run.spec.seed for run in runs})
    sessions = " or ".join(f"{n:,}" for n in sorted({run.spec.n_eval_episodes for run in runs}))
    rules = (
        f"Reward rule `{session.get('reward')}`. Slate of {session.get('slate_size')} items.{learned} "
        f"{count(len(seeds), 'seed')} ({numbers(seeds)}), {sessions} sessions a seed."
    )
    missing = [
        f"{line.label} has {len(line.runs)} of {count(len(asked), 'seed')}"
        for line in lines
        if len(line.runs) < len(asked)
    ]
    return [
        f"Data: {data}",
        rules,
        *_settings(runs),
        *([f"**Runs are missing:** {listed(missing)}."] if missing else []),
    ]


def _settings(runs: Sequence[RunResult]) -> list[str]:
    """Return the note on where the settings of the runs come from; none where nobody knows."""
    names = sorted({run.spec.settings_name for run in runs} - {""})
    words = ["the code's defaults" if name == NO_SETTINGS else f"`{name}`" for name in names]
    return [f"Settings: {listed(words)}."] if words else []


def describe_intervals(lines: Sequence[Line]) -> str:
    """Return what the intervals are, for the numbers of seeds that there are."""
    sizes = {len(line.runs) for line in lines}
    text = "[95%] is the bootstrap interval of the mean over seeds."
    if 1 in sizes:
        text += " One seed has none (n/a)."
    if 2 in sizes:
        text += " With two seeds it is the range of the two runs, not 95%."
    if sizes & {3, 4, 5}:
        text += " With three to five seeds it tends to be too narrow."
    return text


def general(results: Sequence[RunResult], chance: bool) -> list[str]:
    """Return the notes that all tasks share.

    Args:
        results: the finished runs.
        chance: whether a table shows P(HSRL better).
    """
    lines = [line for own in group(results).values() for line in own]
    devices = sorted({result.provenance.device_name for result in results})
    notes = [SCORING] if any(result.spec.env != WORLD for result in results) else []
    notes.append(describe_intervals(lines))
    notes += [CHANCE] if chance else []
    notes += [SWEET_POINT] if any(result.session.get("reward") == "sweet_point" for result in results) else []
    return [*notes, f"Computed on {listed(devices)}."]


def asked_of(asked: Mapping[str, Sequence[int]] | None, task: str) -> Sequence[int]:
    """Return the seeds that were asked for in a task, none where nobody knows them."""
    return (asked or {}).get(task, ())
