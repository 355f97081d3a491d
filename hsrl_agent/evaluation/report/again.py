"""From results back to the commands that give them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from hsrl_agent.evaluation.plugins import is_plugin
from hsrl_agent.evaluation.report.grouping import Line
from hsrl_agent.evaluation.report.notes import short_commit
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.settings import choose_settings
from hsrl_agent.evaluation.tasks import BUNDLE_ENV


def commands(tasks: Mapping[str, Sequence[Line]]) -> str:
    """Return what to type to get these runs again: the commit, and a call for each size of runs."""
    groups: dict[tuple[Any, ...], list[Sequence[Line]]] = {}
    for lines in tasks.values():
        groups.setdefault(_size(lines), []).append(lines)
    runs = [run for lines in tasks.values() for line in lines for run in line.runs]
    return "\n".join([_checkout(runs), *(_command(group) for group in groups.values())])


def _checkout(runs: Sequence[RunResult]) -> str:
    """Return how to get the code, where one clean commit holds it."""
    commits = {run.provenance.git_commit for run in runs}
    if len({run.provenance.code for run in runs}) > 1 or (len(commits) > 1 and None in commits):
        return "# These runs come from several states of the code: no single commit gives them all again."
    newest = max(runs, key=lambda run: run.provenance.started_at).provenance.git_commit
    if newest is None:
        return "# The commit of these runs is not known."
    if "-" in newest:
        return f"# These runs come from commit {short_commit(newest)} that are not committed."
    return f"git checkout {newest}"


def _size(lines: Sequence[Line]) -> tuple[Any, ...]:
    """Return what one call has one of: methods, seeds, steps, sessions, points, users, device, settings."""
    spec = max((run.spec for line in lines for run in line.runs), key=lambda spec: spec.steps)
    numbers = (spec.steps, spec.n_eval_episodes, spec.n_checkpoints, spec.n_envs, spec.device)
    return (*(line.name for line in lines), *_seeds(lines), *numbers, _settings_named(lines))


def _seeds(lines: Sequence[Line]) -> list[int]:
    return sorted({run.spec.seed for line in lines for run in line.runs})


def _settings_named(lines: Sequence[Line]) -> str:
    """Return the settings that `--settings` must name; "" where they are chosen without it, or not known."""
    first = lines[0].runs[0]  # of HSRL itself in a study, whose variants can have bundles of their own
    name = first.spec.settings_name
    return "" if name in ("", choose_settings(None, first.data.digest).name) else name


def _digest(digest: str) -> str:
    """Return the digest in words; old results have another hash there, which no bundle has."""
    return f"the digest {digest[:16]}.." if re.fullmatch("[0-9a-f]{64}", digest) else "an unknown digest"


def _command(tasks: Sequence[Sequence[Line]]) -> str:
    names = [line.name for line in tasks[0]]
    firsts = [lines[0].runs[0] for lines in tasks]
    spec = max((run.spec for line in tasks[0] for run in line.runs), key=lambda spec: spec.steps)
    envs = [run.spec.env for run in firsts if run.spec.env != BUNDLE_ENV]
    options = {
        "--envs": ",".join(dict.fromkeys(envs)),
        "--methods": ",".join(name for name in names if not is_plugin(name)),
        "--seeds": ",".join(map(str, _seeds(tasks[0]))),
        "--steps": spec.steps,
        "--episodes": spec.n_eval_episodes,
        "--checkpoints": spec.n_checkpoints,
        "--n-envs": spec.n_envs,
        "--device": spec.device,
        "--settings": _settings_named(tasks[0]),
    }
    words = [f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value]
    words += [f"--agent {shlex.quote(name)}" for name in names if is_plugin(name)]
    notes = []
    for run in firsts:
        rule = run.spec.env_kwargs.get("reward")
        if rule:
            words.append(f"--reward {shlex.quote(f'{run.spec.env}={rule}')}")
        if run.spec.bundle is not None:
            place = shlex.quote(f"path/to/{run.data.name}")
            words.append(f"--bundle {'' if run.spec.env == BUNDLE_ENV else f'{run.spec.env}='}{place}")
            notes.append(f"# {place}: the folder of the bundle whose content has {_digest(run.data.digest)}.")
        if run.data.packaged is None and any(
            one.spec.settings and not one.spec.settings_name for lines in tasks for line in lines for one in line.runs
        ):
            notes.append(f"# {run.spec.task}: --settings must name the settings listed above.")
    return "\n".join([*dict.fromkeys(notes), " \\\n    ".join(["hsrl-agent compare", *words])])
