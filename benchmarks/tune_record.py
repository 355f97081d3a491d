"""What tuning leaves behind: the chosen values in `methods.yaml`, and a file that says how they were found."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from hsrl_gym.errors import HsrlError
from provenance import code_digest, device_name, git_commit, versions
from results import write_text
from spec import bundle_digest, bundle_folder
from tune_study import MethodStudy, Trial
from tune_trial import SIMULATOR


def write_record(study: MethodStudy, folder: Path, arguments: Sequence[str]) -> Path:
    """Write all trials of a study, and with what they were made, into `folder`/ENV-METHOD.yaml; return the file.

    With a bundle or a reward rule of one's own it is ENV-NAME-REWARD-METHOD.yaml, see `configuration.section_name`.
    """
    spec, best, trials = study.specs[0], study.best(), study.finished()
    record = {
        "env": study.env,
        "method": study.method,
        "chosen": None if best is None else {"trial": best.number, **best.settings},
        "total_reward": {"chosen": best and best.value, "before": trials[0].value if trials else None},
        "simulator": SIMULATOR,
        "steps": spec.steps,
        "n_envs": spec.n_envs,
        "episodes": spec.n_eval_episodes,
        "seeds": [one.seed for one in study.specs],
        "session": spec.all_env_kwargs(),
        "bundle_sha256": bundle_digest(bundle_folder(spec.env, spec.bundle)),
        "space": {name: choice.data() for name, choice in study.space.items()},
        "trials": [_trial_data(trial) for trial in trials],
        "commit": git_commit(),
        "code": code_digest(),
        "versions": versions(),
        "machine": device_name(spec.device),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/tune.py", *arguments]),
    }
    path = folder / f"{study.section.replace('/', '-')}-{study.method}.yaml"
    heading = "# How the settings of a method were chosen, by benchmarks/tune.py: the first trial is what it had.\n"
    write_text(path, heading + yaml.safe_dump(record, sort_keys=False, width=120))
    return path


def _trial_data(trial: Trial) -> dict[str, Any]:
    end = {"failed": trial.message} if trial.message else {"total_reward": trial.value}
    return {"settings": trial.settings, **end, "by_seed": trial.values, "seconds": trial.seconds}


def write_choice(path: Path, method: str, section: str, chosen: Mapping[str, Any]) -> bool:
    """Put values into `methods.yaml`, under the method and a section of it; return whether that changed the file.

    Comments, order and all else stay as they are.

    Raises:
        HsrlError: if the file would then say anything else than it should; it is left alone.
    """
    text = path.read_text(encoding="utf-8")
    before = yaml.safe_load(text) or {}
    sections = before.get(method) or {}
    values = {**(sections.get(section) or {}), **chosen}
    after = {**before, method: {**sections, section: values}}
    if after == before:
        return False
    line = f"  {section}: {_flow(values)}"
    new = _replace_section(text, method, section, line)
    if _load(new) != after:  # an unusual style of writing: the method's own lines are then written anew
        lines = [f"{method}:", *(f"  {name}: {_flow(own)}" for name, own in after[method].items())]
        new = _replace_block(text, method, lines)
    if _load(new) != after:
        raise HsrlError(f"{path}: cannot put {method} {section} {dict(chosen)} into it; do so by hand.")
    write_text(path, new)
    return True


def _load(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _flow(values: Mapping[str, Any]) -> str:
    """Return values on one line, as {learning_rate: 0.0003}."""
    return yaml.safe_dump(dict(values), default_flow_style=True, sort_keys=False, width=10_000).strip()


def _replace_section(text: str, method: str, section: str, line: str) -> str:
    """Return the text with one line for the section among those of the method, which is written in lines."""
    lines = text.splitlines()
    begin, end = _block(lines, method, 0)
    if begin == end:
        return _replace_block(text, method, [f"{method}:", line])
    body = lines[begin + 1 : end]
    if not any(one.strip() and not one.lstrip().startswith("#") for one in body):  # `method: {}`
        return "\n".join([*lines[:begin], f"{method}:", line, *lines[begin + 1 :]]) + "\n"
    own, after = _block(body, section, 2)
    return "\n".join([*lines[: begin + 1], *body[:own], line, *body[after:], *lines[end:]]) + "\n"


def _replace_block(text: str, method: str, new: Sequence[str]) -> str:
    """Return the text with these lines for a method, at its end if it has none."""
    lines = text.splitlines()
    begin, end = _block(lines, method, 0)
    return "\n".join([*lines[:begin], *new, *lines[end:]]) + "\n"


def _block(lines: Sequence[str], key: str, indent: int) -> tuple[int, int]:
    """Return where the lines of a key begin and end; both the end of all if it is not there."""
    own = re.compile(rf"""\s{{{indent}}}["']?{re.escape(key)}["']?\s*:(\s|$)""")
    begin = next((number for number, line in enumerate(lines) if own.match(line)), len(lines))
    end = begin + 1
    while end < len(lines) and (lines[end].startswith(" " * (indent + 1)) or not lines[end].strip()):
        end += 1
    while end > begin + 1 and not lines[end - 1].strip():  # blank lines belong to what follows
        end -= 1
    return begin, min(end, len(lines))


def command_line(arguments: Sequence[str] | None) -> list[str]:
    """Return the arguments of this call."""
    return list(sys.argv[1:] if arguments is None else arguments)
