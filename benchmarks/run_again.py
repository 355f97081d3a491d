"""From rows back to the commands that give them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from plugins import is_plugin
from results import Row, sort_methods


def commands(rows: Sequence[Row]) -> str:
    """Return what to type in a checkout to get these rows again: the commit, and a call of compare.py for each size."""
    lines = [f"git checkout {commit}" for commit in _commits(rows)[:1]]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for env in dict.fromkeys(row["env"] for row in rows):
        own = [row for row in rows if row["env"] == env]
        groups.setdefault(_size(own), []).extend(own)
    return "\n".join([*lines, *(_command(group) for group in groups.values())])


def _commits(rows: Sequence[Row]) -> list[str]:
    return sorted({row["git_commit"].removesuffix("-dirty") for row in rows if row.get("git_commit")})


def _size(rows: Sequence[Row]) -> tuple[Any, ...]:
    """Return what one call of compare.py has one of: methods, seeds, steps, sessions, points, users, device."""
    numbers = (sorted({row.get(name) or 0 for row in rows})[-1] for name in ("steps", "n_episodes", "n_envs"))
    methods, seeds = sort_methods({row["method"] for row in rows}), sorted({row["seed"] for row in rows})
    points = max(len(row["curve"]) for row in rows) - 1
    return (*methods, *seeds, *numbers, points, rows[0].get("device"))


def _command(rows: Sequence[Row]) -> str:
    methods = sort_methods({row["method"] for row in rows})
    own = [method for method in methods if not is_plugin(method)]
    firsts = list({row["env"]: row for row in reversed(rows)}.values())[::-1]
    options = {
        "--envs": ",".join(row["env"] for row in firsts),
        "--methods": ",".join(own),
        "--seeds": ",".join(str(seed) for seed in sorted({row["seed"] for row in rows})),
        "--steps": max(row["steps"] for row in rows),
        "--episodes": rows[0]["n_episodes"],
        "--checkpoints": max(1, max(len(row["curve"]) for row in rows) - 1),
        "--n-envs": rows[0].get("n_envs"),
        "--device": rows[0].get("device"),
    }
    words = [f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value]
    words += [f"--agent {shlex.quote(method)}" for method in methods if is_plugin(method)]
    for row in firsts:
        if row["session"].get("reward"):
            words.append(f"--reward {row['env']}={row['session']['reward']}")
        if not row["bundle"].get("packaged", True):
            words.append(f"--bundle {row['env']}=DIR")
    notes = [
        f"# DIR: the folder of the bundle {row['bundle'].get('name')!r} whose bundle.yaml has the sha256 "
        f"{str(row['bundle'].get('sha256'))[:16]}.."
        for row in firsts
        if not row["bundle"].get("packaged", True)
    ]
    return "\n".join([*notes, " \\\n    ".join(["python benchmarks/compare.py", *words])])
