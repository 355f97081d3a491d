"""From the command line to a list of runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsrl_agent.evaluation import backend, churn_plan, options
from hsrl_agent.evaluation.backend import ON_THIS_MACHINE, Backend
from hsrl_agent.evaluation.plugins import is_plugin, record_of, resolve, sorted_methods
from hsrl_agent.evaluation.settings import (
    NO_SETTINGS,
    Preset,
    Settings,
    choose_settings,
    preset_names,
    read_preset,
)
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.summary import REFERENCE
from hsrl_agent.evaluation.tasks import BUNDLE_ENV, Task, bundle_digest, bundle_folder, distinct, find_env, make_task
from hsrl_agent.method import merged
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import read_manifest
from hsrl_gym.envs.rules import REWARDS
from hsrl_gym.errors import HsrlError, unknown_name

if TYPE_CHECKING:
    from hsrl_agent.evaluation.studies import Variant

RESULTS = Path("results")
STUDIES = ("table3", "figure5")  # of HSRL, see studies.py
STUDIED_IN = "HSRL-RL4RS-v0"  # by Figure 6; a study names its own
_MANY_ITEMS = 10_000  # a catalog of this size doubles the work of a step, about


@dataclass(frozen=True)
class Plan:
    """What a call is to do.

    Attributes:
        specs: all runs of the table, finished or not, in the table's order.
        what: "table2", "table3", "figure5", "figure6", or what else `report.write` knows.
        out: folder of results and tables.
        jobs: runs at once, at most.
        notes: what the user should know before it starts, a line each.
        backend: what does the runs.
    """

    specs: tuple[RunSpec, ...]
    what: str
    out: Path
    jobs: int
    notes: tuple[str, ...] = ()
    backend: Backend = ON_THIS_MACHINE

    def seeds(self) -> dict[str, list[int]]:
        """Return the seeds asked for by task."""
        seeds: dict[str, list[int]] = {}
        for spec in self.specs:
            if spec.seed not in seeds.setdefault(spec.task, []):
                seeds[spec.task].append(spec.seed)
        return seeds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a comparison."""
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--table",
        choices=("2", "3", "churn"),
        help="2: all methods (the default); 3: HSRL with one part taken away at a time; churn: a catalog whose items "
        "are replaced",
    )
    what.add_argument(
        "--figure",
        choices=("5", "6", "churn"),
        help="5: HSRL with other settings and codebooks; 6: weights of its critic while it learns; churn: part of the "
        "catalog is replaced every day",
    )
    add("--preset", default="quick", metavar="NAME", help=f"numbers that no option names: {', '.join(preset_names())}")
    add("--envs", type=options.names, metavar="ID,..", help="environments (those of the preset)")
    add("--methods", type=options.names, metavar="NAME,..", help=f"any of {', '.join(METHODS)} (those of the preset)")
    add(
        "--variants", type=options.names, metavar="NAME,..", help="of --table 3 or --figure 5, beside HSRL itself (all)"
    )
    add(
        "--agent",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="compare this class too, for instance examples.my_agent:MyAgent; repeatable",
    )
    add("--seeds", type=options.whole_numbers, metavar="N,..", help="each one a run: 0,1,2 are three seeds, 3 is one")
    add("--steps", type=options.whole_number, metavar="N", help="user-steps to learn from")
    add("--episodes", type=options.whole_number, metavar="N", help="sessions that score a run")
    add("--checkpoints", type=options.whole_number, metavar="N", help="points of the learning curve after the first")
    add("--n-envs", type=options.whole_number, metavar="N", help="users at once while learning (32)")
    add(
        "--bundle",
        action="append",
        default=[],
        type=options.bundle,
        metavar="[ENV=]DIR",
        help="users of your own; with ENV under the rules of that environment; repeatable",
    )
    add(
        "--reward",
        action="append",
        default=[],
        type=options.reward,
        metavar="[ENV=]RULE",
        help=f"{' or '.join(REWARDS)}; repeatable",
    )
    add(
        "--settings",
        metavar="NAME|FILE",
        help=f"settings of the methods: a tuned file by name or path, or {NO_SETTINGS} for the code's defaults "
        "(those tuned on the bundle, if any)",
    )
    add("--onboarding", choices=tuple(churn_plan.ONBOARDING), help="of new items, with churn (both)")
    add(
        "--warmup",
        type=options.whole_number,
        metavar="N",
        help=f"user-steps to learn from before day 0 of --figure churn ({churn_plan.STEPS})",
    )
    add("--days", type=options.whole_number, metavar="N", help=f"of --figure churn ({churn_plan.DAYS})")
    add("--out", type=options.folder, metavar="DIR", help=f"folder of the results ({RESULTS}/table2, ..)")
    backend.add_arguments(parser)


def make_plan(given: argparse.Namespace) -> Plan:
    """Return the runs that the options ask for.

    Raises:
        HsrlError: for anything that cannot be run as it stands.
    """
    what, chosen = churn_plan.kind_of_call(given), backend.chosen(given)
    preset = read_preset(given.preset)
    out = given.out or RESULTS / what
    default_env, variants = _study(what, given)
    tasks = make_tasks(given.envs, given.bundle, given.reward, (default_env,) if default_env else preset.envs)
    methods, left_out = _methods(given, what, preset)
    notes = [*_synthetic_notes(tasks), *left_out]
    churns = what in churn_plan.KINDS
    numbers = {
        "steps": given.warmup or given.steps or (churn_plan.STEPS if churns else preset.steps),
        "n_envs": given.n_envs or preset.n_envs,
        "n_eval_episodes": given.episodes or (churn_plan.EPISODES if churns else preset.episodes),
        "n_checkpoints": 1 if churns else given.checkpoints or preset.checkpoints,
        "device": given.device,
    }
    settings = {task.name: choose_settings(given.settings, bundle_digest(task.folder)) for task in tasks}
    notes += [f"{name}: settings: {chosen.origin}." for name, chosen in settings.items()]
    seeds = given.seeds or preset.seeds
    if churns:
        onboarding, n_days = given.onboarding or "both", given.days or churn_plan.DAYS
        specs = churn_plan.churn_specs(what, tasks, methods, settings, seeds, numbers, onboarding, n_days)
    else:
        firsts = (
            _spec(task, method, variant, settings[task.name], numbers, out)
            for task in tasks
            for method in methods
            for variant in variants
        )
        specs = [replace(first, seed=seed) for first in firsts for seed in seeds]
    return Plan(tuple(specs), what, out, chosen.jobs(given.jobs, len(specs)), tuple(notes), chosen)


def _spec(
    task: Task, method: str, variant: Variant | None, settings: Settings, numbers: Mapping[str, Any], out: Path
) -> RunSpec:
    """Return the run of a method, or a variant of it, with seed 0; a bundle of the variant's own is made in OUT."""
    own, bundle, name, place = settings.of(method), task.bundle, "", {}
    if variant is not None:
        from hsrl_agent.evaluation.studies import bundle_of

        own, bundle = merged(own, variant.settings), bundle_of(variant, task.env, task.bundle, out)
        name, place = variant.name, variant.place
    resolve(method, own)
    return RunSpec(
        task=task.name,
        env=task.env,
        method=method,
        seed=0,
        bundle=bundle,
        settings=own,
        env_kwargs=task.env_kwargs,
        variant=name,
        protocol_kwargs=place,
        settings_name=settings.name,
        **numbers,
    )


def _study(what: str, given: argparse.Namespace) -> tuple[str | None, tuple[Variant | None, ...]]:
    """Return the environment and the variants of a study, HSRL itself being the variant without a name."""
    if what not in STUDIES:
        if given.variants:
            raise HsrlError(f"got --variants for {what}, which has none; ask for --table 3 or --figure 5.")
        return (STUDIED_IN if what == "figure6" else None), (None,)
    from hsrl_agent.evaluation.studies import read_study

    study = read_study(what)
    return study.env, study.only(given.variants).variants if given.variants else study.variants


def make_tasks(
    envs: Sequence[str] | None,
    bundles: Sequence[options.Pair],
    rewards: Sequence[options.Pair],
    default_envs: Sequence[str],
) -> list[Task]:
    """Return the users that are played: those of environments, and those of bundles without an environment.

    Args:
        envs: that were named. None are those of ENV=DIR bundles if a bundle stands alone, else `default_envs`.
        bundles, rewards: of an environment, or with None for no environment: a bundle of its own, a rule for all.
        default_envs: those of the preset or the study.

    Raises:
        HsrlError: for a bundle or a rule of an environment that is not compared.
    """
    alone = [folder for env, folder in bundles if env is None]
    if envs is None:
        envs = [env for env, _ in bundles if env is not None] if alone else default_envs
    for env in envs:
        find_env(env)
    known = [*envs, *([BUNDLE_ENV] if alone else [])]
    folder_of, rule_of = _by_env("--bundle", bundles, envs), _by_env("--reward", rewards, known)
    every = next((rule for env, rule in rewards if env is None), None)
    tasks = [make_task(env, folder_of.get(env), rule_of.get(env, every)) for env in envs]
    tasks += [make_task(BUNDLE_ENV, folder, rule_of.get(BUNDLE_ENV, every)) for folder in alone]
    return distinct(tasks)


def _by_env(option: str, pairs: Sequence[options.Pair], envs: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for env, value in pairs:
        if env is None:
            continue
        if env not in envs:
            raise unknown_name(f"environment in {option}", env, envs)
        if env in values:
            raise HsrlError(f"got {option} twice for {env}, expected it once.")
        values[env] = value
    return values


def _methods(given: argparse.Namespace, what: str, preset: Preset) -> tuple[list[str], list[str]]:
    """Return the methods, and a note on those that the preset leaves out."""
    if what in churn_plan.KINDS:
        return checked_methods([*(given.methods or churn_plan.default_methods()), *given.agent]), []
    if what != "table2":
        if given.methods or given.agent:
            raise HsrlError(f"got --methods or --agent for {what}, which is about HSRL alone; leave them out.")
        return [REFERENCE], []
    own = preset.methods or tuple(METHODS)
    left_out = [] if given.methods else [method for method in METHODS if method not in own]
    note = f"The preset {given.preset} leaves out {', '.join(left_out)}; --methods can name them."
    return checked_methods([*(given.methods or own), *given.agent]), [note] * bool(left_out)


def checked_methods(methods: Sequence[str]) -> list[str]:
    """Return methods in the order of the tables, each once; raise HsrlError for one that nobody knows."""
    for method in methods:
        if not is_plugin(method) and method not in METHODS:
            raise unknown_name("method", method, METHODS)
    return sorted_methods(list(methods))


def _synthetic_notes(tasks: Sequence[Task]) -> list[str]:
    """Return what has to be said of environments whose own users are played."""
    notes = []
    for task in tasks:
        source = read_manifest(task.folder)["source"]
        if task.bundle is None:
            made_up = " (synthetic data, no real user)" if "synthetic" in source.lower() else ""
            learned = "are those of" if find_env(task.env).kwargs.get("simulator") == "true" else "were learned from"
            notes.append(f"{task.name}: no --bundle was named, so its users {learned} {source}{made_up}.")
    return notes


def cost(spec: RunSpec) -> float:
    """Return how long a run takes, in units of HSRL's user-steps on a small catalog; a guess, to order runs by."""
    method = record_of(spec.method)
    if not method.learns_online:
        return method.cost
    items = read_manifest(bundle_folder(spec.env, spec.bundle))["simulator"].get("n_items", 0)
    return churn_plan.n_user_steps(spec) * method.cost * (1.0 + items / _MANY_ITEMS)
