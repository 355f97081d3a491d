"""From the command line to a list of runs."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch

from configuration import preset_names, read_preset, read_settings, settings_for
from hsrl_gym.bundle.folder import read_manifest
from hsrl_gym.envs.rules import REWARDS
from hsrl_gym.errors import HsrlError, unknown_name
from plugins import METHODS, is_plugin, resolve
from results import LABELS, row_path
from spec import RunSpec, bundle_folder, find_env
from studies import METHOD, STUDIES, Study, Variant, bundle_of, read_study

RESULTS = Path("results")
STUDIED_IN = "HSRL-RL4RS-v0"  # Figure 6
# How long a user-step takes, compared with HSRL's; those that do not learn online take as long as so many steps.
_COST_A_STEP = {
    "hsrl": 1.0,
    "hsrl-scratch": 0.6,
    "hsrl-items": 1.3,
    "hsrl-paper": 0.2,
    "a2c": 0.15,
    "a2c-log": 0.45,
    "ddpg": 0.55,
    "td3": 0.4,
    "pgra": 0.35,
    "hac": 0.2,
    "hac-log": 0.3,
    "ppo": 0.2,
}
_COST_A_RUN = {"random": 50, "popularity": 50, "oracle": 300, "sl": 4_500}
_MANY_ITEMS = 10_000  # a catalog of this size doubles the work of a step, about

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What a call of compare.py is to do.

    Attributes:
        specs: all runs of the table, finished or not, in the table's order.
        what: "table2", "table3", "figure5", "figure6" or "catalog_size".
        out: folder of rows and tables.
        jobs: processes.
        threads: torch threads in each of them.
        notes: what the user should know before it starts.
    """

    specs: tuple[RunSpec, ...]
    what: str
    out: Path
    jobs: int
    threads: int
    notes: tuple[str, ...]

    def seeds(self) -> dict[str, list[int]]:
        """Return the seeds asked for in each environment."""
        seeds: dict[str, list[int]] = {}
        for spec in self.specs:
            if spec.seed not in seeds.setdefault(spec.env, []):
                seeds[spec.env].append(spec.seed)
        return seeds


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing usage and leaving."""
        raise HsrlError(f"{message}; see --help.")


def parser() -> Parser:
    """Return the parser; the values are read by `make_plan`, so that every complaint has our form."""
    made = Parser(
        prog="compare.py", description="Learn, score and compare; print the paper's tables, draw its figures."
    )
    add = made.add_argument
    add("--table", metavar="N", help="2: all methods (this is the default); 3: HSRL with one part taken away at a time")
    add(
        "--figure",
        metavar="N",
        help="5: HSRL with other settings and codebooks; 6: weights of its critic over training",
    )
    add("--preset", default="quick", help=f"numbers that no option names: {' or '.join(preset_names())} (quick)")
    add("--envs", metavar="ID,..", help="environments (those of the preset)")
    add("--methods", metavar="NAME,..", help=f"of {', '.join(METHODS)} (those of the preset)")
    add("--variants", metavar="NAME,..", help="of --table 3 or --figure 5, beside HSRL as it is (all)")
    add("--agent", action="append", default=[], metavar="MODULE:CLASS", help="one more method, anyone's; repeatable")
    add("--seeds", metavar="N,..", help="each one a run: 0,1,2 are three seeds, 3 is the one seed 3")
    add("--steps", metavar="N", help="user-steps to learn from; 50,000 steps of 32 users are 1600000")
    add("--episodes", metavar="N", help="sessions that score a run")
    add("--checkpoints", metavar="N", help="points of the learning curve after the first")
    add("--n-envs", metavar="N", help="users at once while learning (32)")
    add("--bundle", action="append", default=[], metavar="ENV=DIR", help="users of an environment; repeatable")
    add("--reward", action="append", default=[], metavar="ENV=RULE", help=f"{' or '.join(REWARDS)}; repeatable")
    add("--jobs", metavar="N", help="processes (as many as there are cores)")
    add("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    add("--out", type=Path, help=f"folder of rows, tables and pictures ({RESULTS}/table2, {RESULTS}/figure5, ..)")
    return made


def make_plan(arguments: Sequence[str] | None = None) -> Plan:
    """Return the runs that the command line asks for.

    Raises:
        HsrlError: for anything that cannot be run as it stands.
    """
    options = parser().parse_args(arguments)
    what = _what(options)
    preset = read_preset(options.preset)
    study = read_study(what) if what in STUDIES else None
    own_envs = [study.env] if study else [STUDIED_IN] if what == "figure6" else preset["envs"]
    envs = _names("--envs", options.envs, own_envs)
    for env in envs:
        find_env(env)
    numbers = {
        name: whole_number(f"--{name.replace('_', '-')}", getattr(options, name), preset.get(name, default))
        for name, default in {"steps": None, "episodes": None, "checkpoints": None, "n_envs": 32}.items()
    }
    seeds = listed("--seeds", options.seeds, preset["seeds"], whole)
    bundles, rewards = _by_env("--bundle", options.bundle, envs), _by_env("--reward", options.reward, envs)
    for rule in rewards.values():
        if rule not in REWARDS:
            raise unknown_name("reward rule", rule, REWARDS)
    _check_device(options.device)
    out = _check_out(options.out or RESULTS / what)
    methods, left_out = _methods(options, what, preset)
    notes = (*_check_bundles(envs, bundles), *left_out)
    settings = read_settings()
    variants = _variants(options, what, study)
    specs = tuple(
        RunSpec(
            env=env,
            method=method,
            seed=seed,
            steps=numbers["steps"],
            bundle=bundle_of(variant, env, bundles.get(env), out),
            n_envs=numbers["n_envs"],
            n_eval_episodes=numbers["episodes"],
            n_checkpoints=numbers["checkpoints"],
            device=options.device,
            settings={**settings_for(settings, method, env, bundles.get(env), rewards.get(env)), **variant.settings},
            env_kwargs={"reward": rewards[env]} if env in rewards else {},
            variant=variant.name,
        )
        for env in envs
        for method in methods
        for variant in variants
        for seed in seeds
    )
    for spec in specs[:: len(seeds)]:
        resolve(spec.method, spec.settings)
    cores = n_cores()
    jobs = min(whole_number("--jobs", options.jobs, cores), len(specs))
    return Plan(specs, what, out, jobs, max(1, cores // jobs), notes)


def _what(options: argparse.Namespace) -> str:
    """Return which table or figure is asked for."""
    table, figure = options.table, options.figure
    if table and figure:
        raise HsrlError(f"got --table {table} and --figure {figure}, expected one of them.")
    what = f"figure{figure}" if figure else f"table{table or 2}"
    if what not in ("table2", "table3", "figure5", "figure6"):
        raise HsrlError(
            f"got {'--figure' if figure else '--table'} {figure or table}, expected --table 2 or 3, --figure 5 or 6."
        )
    return what


def _methods(options: argparse.Namespace, what: str, preset: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the methods, and a note on those that the preset leaves out."""
    if what == "table2":
        own = preset.get("methods", list(METHODS))
        left_out = [] if options.methods else [method for method in METHODS if method not in own]
        note = f"The preset {options.preset} leaves out {', '.join(left_out)}; --methods can name them."
        return checked_methods([*_names("--methods", options.methods, own), *options.agent]), [note] * bool(left_out)
    if options.methods or options.agent:
        raise HsrlError(f"got --methods or --agent for {what}, which is about HSRL alone; leave them out.")
    return [METHOD], []


def _variants(options: argparse.Namespace, what: str, study: Study | None) -> tuple[Variant, ...]:
    if options.variants and not study:
        raise HsrlError(f"got --variants for {what}, which has none; leave it out, or ask for --table 3 or --figure 5.")
    if not study:
        return (Variant(),)
    return study.only(_names("--variants", options.variants, [])).variants if options.variants else study.variants


def cost(spec: RunSpec) -> float:
    """Return how long a run takes, in units of HSRL's user-steps on a small catalog; a guess, to order runs by."""
    items = read_manifest(bundle_folder(spec.env, spec.bundle))["simulator"].get("n_items", 0)
    if spec.method in _COST_A_RUN:
        return _COST_A_RUN[spec.method]
    return spec.steps * _COST_A_STEP.get(spec.method, 1.0) * (1.0 + items / _MANY_ITEMS)


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def result_file(plan: Plan, spec: RunSpec, key: str) -> Path:
    """Return where the row of a run stands."""
    return row_path(plan.out, spec.env, spec.method, spec.seed, key)


def _names(option: str, text: str | None, default: Sequence[str]) -> list[str]:
    return listed(option, text, default, str)


def listed(option: str, text: str | None, default: Sequence[T], read: Callable[[str], T]) -> list[T]:
    """Return the parts of a comma-separated list, without repeats."""
    if text is None:
        return list(default)
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise HsrlError(f"got {option} {text!r}, expected a comma-separated list without empty places.")
    try:
        return list(dict.fromkeys(read(part) for part in parts))
    except ValueError:
        raise HsrlError(
            f"got {option} {text!r}, expected whole numbers separated by commas, for instance 0,1,2."
        ) from None


def whole(text: str) -> int:
    """Return the whole number in a text, for `listed`."""
    if not re.fullmatch(r"\d+", text):
        raise ValueError(text)
    return int(text)


def whole_number(option: str, text: str | None, default: Any) -> int:
    """Return what an option that counts something was given, at least 1; the default without a text."""
    if text is None:
        return int(default)
    if not re.fullmatch(r"\d[\d_]*", text) or int(text) < 1:
        raise HsrlError(f"got {option} {text}, expected a whole number of at least 1.")
    return int(text)


def _by_env(option: str, pairs: Sequence[str], envs: Sequence[str]) -> dict[str, str]:
    """Return the values of ENV=VALUE options."""
    values: dict[str, str] = {}
    for pair in pairs:
        env, sign, value = pair.partition("=")
        if not (env and sign and value):
            raise HsrlError(f"got {option} {pair!r}, expected ENV=VALUE, for instance {envs[0]}=..")
        if env not in envs:
            raise unknown_name(f"environment in {option}", env, envs)
        if env in values:
            raise HsrlError(f"got {option} twice for {env}, expected it once.")
        values[env] = value
    return values


def checked_methods(methods: Sequence[str]) -> list[str]:
    """Return methods in the order of the tables, each once; raise HsrlError for one that nobody knows."""
    for method in methods:
        if not is_plugin(method) and method not in METHODS:
            raise unknown_name("method", method, METHODS)
    order = list(LABELS)
    unique = dict.fromkeys(methods)
    return sorted(unique, key=lambda method: order.index(method) if method in order else len(order))


def _check_device(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise HsrlError(f"got --device {device}, expected cpu, cuda or cuda:N.")
    if device == "cpu":
        return
    index = int(device.partition(":")[2] or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise HsrlError(f"got --device {device}, but torch sees {torch.cuda.device_count()} CUDA devices; use cpu.")


def _check_out(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise HsrlError(f"got --out {out}, which is a file, expected a folder.")
    return out


def _check_bundles(envs: Sequence[str], bundles: dict[str, str]) -> tuple[str, ...]:
    """Read each manifest before anything is trained; return what has to be said of the defaults."""
    notes = []
    for env in envs:
        manifest = read_manifest(bundle_folder(env, bundles.get(env)))
        if env not in bundles:
            source = manifest["source"]
            made_up = " (synthetic data, no real user)" if "synthetic" in source.lower() else ""
            learned = "are those of" if find_env(env).kwargs.get("simulator") == "true" else "were learned from"
            notes.append(f"{env}: no --bundle was named, so its users {learned} {source}{made_up}.")
    return tuple(notes)
