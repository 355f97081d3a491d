"""From the command line of tune.py to the studies it asks for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configuration import CONFIGS, METHODS_FILE, check_section, read_settings, section_name, settings_for
from hsrl_gym.envs.rules import REWARDS
from hsrl_gym.errors import HsrlError
from plan import Parser, make_plan
from search_space import SEARCH_FILE, Space, current, read_search
from spec import RunSpec
from tune_trial import make_agent

DEFAULT_OUT = Path("results/tune")
_STEPS, _SEEDS, _TRIALS = "12800", "100,101", "12"


@dataclass(frozen=True)
class MethodPlan:
    """What is to be tried for one method: a run for each seed, the space, and what the method has now."""

    specs: tuple[RunSpec, ...]
    space: Space
    now: dict[str, Any]

    @property
    def method(self) -> str:
        """Return its name."""
        return self.specs[0].method


@dataclass(frozen=True)
class TunePlan:
    """What a call of tune.py is to do.

    Attributes:
        env: the environment.
        methods: in the order of the tables.
        n_trials: of each.
        out: folder of the journal.
        configs: folder of methods.yaml, and of tuned/ with the search space and the records.
        jobs, threads: processes, and torch threads in each of them.
        dry_run: whether to say only what would be done.
        notes: what the user should know before it starts.
    """

    env: str
    methods: tuple[MethodPlan, ...]
    n_trials: int
    out: Path
    configs: Path
    jobs: int
    threads: int
    dry_run: bool
    notes: tuple[str, ...]


def parser() -> Parser:
    """Return the parser; `make_plan` of the tables reads most of the values, so that complaints are the same."""
    made = Parser(prog="tune.py", description="Choose settings of methods on the train users, and keep how.")
    add = made.add_argument
    add("--env", required=True, metavar="ID", help="environment")
    add("--methods", metavar="NAME,..", help=f"of those in configs/{SEARCH_FILE} (all)")
    add("--trials", default=_TRIALS, metavar="N", help=f"settings to try for each method ({_TRIALS})")
    add("--steps", default=_STEPS, metavar="N", help=f"user-steps to learn from in each run ({_STEPS})")
    add("--seeds", default=_SEEDS, metavar="N,..", help=f"runs of each trial; none that a table has ({_SEEDS})")
    add("--episodes", default="500", metavar="N", help="sessions that score a run (500)")
    add("--n-envs", default="32", metavar="N", help="users at once while learning (32)")
    add("--bundle", metavar="DIR", help="users of the environment")
    add("--reward", metavar="RULE", help=" or ".join(REWARDS))
    add("--jobs", metavar="N", help="processes (as many as there are cores)")
    add("--device", default="cpu", help="cpu, cuda or cuda:N (cpu)")
    add("--out", type=Path, default=DEFAULT_OUT, help=f"folder of what was tried ({DEFAULT_OUT})")
    add("--configs", type=Path, default=CONFIGS, help="folder of methods.yaml and tuned/ (this one's)")
    add("--dry-run", action="store_true", help="say what would be tried, and try nothing")
    return made


def make_tune_plan(arguments: Sequence[str] | None = None) -> TunePlan:
    """Return the studies that the command line asks for.

    Raises:
        HsrlError: for anything that cannot be run as it stands.
    """
    options = parser().parse_args(arguments)
    n_trials = _trials(options.trials)
    search_file = options.configs / SEARCH_FILE
    spaces = read_search(search_file)
    plan = make_plan(_table_arguments(options, list(spaces)))
    check_section(section_name(options.env, options.bundle, options.reward))
    settings = read_settings(options.configs / METHODS_FILE.name)
    methods = []
    for method in dict.fromkeys(spec.method for spec in plan.specs):
        if method not in spaces:
            raise HsrlError(f"{search_file} says nothing of {method!r}, expected one of {', '.join(spaces)}.")
        own = settings_for(settings, method, options.env, options.bundle, options.reward)
        specs = tuple(replace(spec, settings=own) for spec in plan.specs if spec.method == method)
        now = current(make_agent(specs[0]), spaces[method], own, f"{search_file}, {method}")
        methods.append(MethodPlan(specs, spaces[method], now))
    return TunePlan(
        options.env,
        tuple(methods),
        n_trials,
        plan.out,
        options.configs,
        plan.jobs,
        plan.threads,
        options.dry_run,
        plan.notes,
    )


def _table_arguments(options: argparse.Namespace, methods: Sequence[str]) -> list[str]:
    """Return the options as compare.py has them, which checks them."""
    values = {
        "--envs": options.env,
        "--methods": options.methods or ",".join(methods),
        "--seeds": options.seeds,
        "--steps": options.steps,
        "--episodes": options.episodes,
        "--n-envs": options.n_envs,
        "--jobs": options.jobs,
        "--device": options.device,
        "--out": str(options.out),
        "--bundle": options.bundle and f"{options.env}={options.bundle}",
        "--reward": options.reward and f"{options.env}={options.reward}",
    }
    return [f"{name}={value}" for name, value in values.items() if value is not None]


def _trials(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise HsrlError(f"got --trials {text}, expected a whole number of at least 1.")
    return int(text)
