"""Choose the settings of methods, every method with as many trials of as many steps, on the `train` users alone.

    python benchmarks/tune.py --env HSRL-RL4RS-v0 --methods a2c,hsrl --trials 12 --steps 12800 --jobs 2
    python benchmarks/tune.py --env HSRL-Bundle-v0 --bundle DIR --write mine.yaml    # then: compare --settings mine.yaml

The first trial of a method is what it has now, so that what is chosen was never worse in these trials. Trials stand in
Optuna's journal (--journal); the same command goes on where it stopped. --write puts what was chosen into a file of
settings. benchmarks/results/tuning.journal holds the trials behind the packaged settings.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsrl_agent.evaluation.terminal import make_console, run_command, say
from hsrl_gym.errors import HsrlError

if TYPE_CHECKING:
    from rich.console import Console

    from hsrl_agent.evaluation.pool import Ended
    from hsrl_agent.evaluation.settings import Settings
    from hsrl_agent.evaluation.spec import RunSpec
    from hsrl_agent.evaluation.tasks import Task
    from search import Space
    from trials import MethodStudy, Trial

JOURNAL = Path("results/tune/tuning.journal")


@dataclass(frozen=True)
class MethodPlan:
    """What is tried for one method: a run for each seed, the space, and the first trial."""

    specs: tuple[RunSpec, ...]
    space: Space
    now: dict[str, Any]

    @property
    def method(self) -> str:
        """Its name."""
        return self.specs[0].method


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 1 if no trial of a method came through; 2, after one line, for a wrong call; 130 if interrupted."""
    command = list(sys.argv[1:] if arguments is None else arguments)

    def work() -> int:
        options = parser().parse_args(command)
        try:
            import optuna  # noqa: F401
        except ModuleNotFoundError:
            raise HsrlError("tuning needs Optuna; install it with: pip install 'hsrl-gym[tune]'.") from None
        return tune(options, shlex.join(["python", "benchmarks/tune.py", *command]))

    return run_command("tune.py", work)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from hsrl_agent.evaluation.arguments import Parser, device, names, seeds, whole
    from hsrl_agent.evaluation.pool import n_cores

    made = Parser(prog="tune.py", description="Choose settings of methods on the train users.")
    add = made.add_argument
    add("--env", required=True, metavar="ID", help="environment")
    add("--bundle", metavar="DIR", help="its users (those of the environment)")
    add("--reward", metavar="RULE", help="reward rule (that of the environment)")
    add("--methods", type=names, metavar="NAME,..", help="(all in configs/search.yaml)")
    add("--search", type=Path, metavar="FILE", help="what may be chosen (configs/search.yaml)")
    add("--settings", metavar="NAME", help="what methods have now: none, or a file (those tuned on the bundle, if any)")
    add("--trials", type=whole, default=12, metavar="N", help="settings to try for each method (12)")
    add("--steps", type=whole, default=12_800, metavar="N", help="user-steps to learn from in each run (12800)")
    add("--seeds", type=seeds, default=(100, 101), metavar="N,..", help="of each trial; none of a table (100,101)")
    add("--episodes", type=whole, default=500, metavar="N", help="sessions that score a run (500)")
    add("--n-envs", type=whole, default=32, metavar="N", help="users at once while learning (32)")
    add("--jobs", type=whole, default=n_cores(), metavar="N", help="processes (as many as there are cores)")
    add("--device", type=device, default="cpu", help="cpu, cuda or cuda:N (cpu)")
    add("--journal", type=Path, default=JOURNAL, metavar="FILE", help=f"of the trials ({JOURNAL})")
    add("--write", type=Path, metavar="FILE", help="settings file to put what was chosen into")
    add("--dry-run", action="store_true", help="say what would be tried, and try nothing")
    return made


def tune(options: argparse.Namespace, command: str) -> int:
    """Do the trials that are not done yet, and write what they came to."""
    from hsrl_agent.evaluation.pool import run_all
    from hsrl_agent.evaluation.settings import choose_settings, read_tuned
    from hsrl_agent.evaluation.tasks import bundle_digest, make_task
    from trials import MethodStudy, open_storage

    console = make_console()
    task = make_task(options.env, options.bundle, options.reward)
    digest = bundle_digest(task.folder)
    settings = choose_settings(options.settings, digest)
    if options.write is not None and options.write.is_file() and read_tuned(options.write).bundle != digest:
        raise HsrlError(f"{options.write}: these settings were tuned on another bundle; name another file with --write.")
    plans = make_plans(options, task, settings)
    announce(console, options, task, plans, settings)
    if options.dry_run:
        return 0
    about = facts(task, options, digest, command)
    storage = open_storage(options.journal)
    studies = [
        MethodStudy(one.specs, one.space, one.now, options.trials, storage, {**about, "method": one.method})
        for one in plans
    ]
    found = sum(len(study.finished()) for study in studies)
    if found:
        say(console, f"{found} of {options.trials * len(studies)} trials are in {options.journal} already.")
    run_all(lambda: next_run(studies), options.jobs, Watcher(studies, console))
    return max(conclude(console, study, task, digest, options.write, command) for study in studies)


def make_plans(options: argparse.Namespace, task: Task, settings: Settings) -> list[MethodPlan]:
    """Return what is tried for each method, in the order of the tables.

    Raises:
        HsrlError: for a method without a space, or an environment with one user, whom tuning would see.
    """
    from hsrl_agent.evaluation.plugins import resolve, sorted_methods
    from hsrl_agent.evaluation.spec import RunSpec
    from hsrl_agent.evaluation.tasks import find_env
    from search import SEARCH_FILE, read_search, starting_point
    from trials import PROTOCOL

    own = find_env(task.env).kwargs.get("simulator")
    if own is not None:
        raise HsrlError(f"{task.env} is learned from and scored by one user, {own!r}; tune another environment.")
    path = options.search or SEARCH_FILE
    spaces = read_search(path)
    names = options.methods or list(spaces)
    for name in names:
        if name not in spaces:
            resolve(name)  # says so if nobody knows it
            raise HsrlError(f"{path}: no space for {name!r}, expected one of {', '.join(spaces)}.")
    base = RunSpec(
        task.name,
        task.env,
        "",
        seed=0,
        steps=options.steps,
        bundle=task.bundle,
        n_envs=options.n_envs,
        n_eval_episodes=options.episodes,
        n_checkpoints=1,
        device=options.device,
        env_kwargs=task.env_kwargs,
        protocol=PROTOCOL,
    )
    plans = []
    for name in sorted_methods(names):
        now = settings.of(name)
        specs = tuple(replace(base, method=name, seed=seed, settings=now) for seed in options.seeds)
        plans.append(MethodPlan(specs, spaces[name], starting_point(resolve(name, now), spaces[name], now)))
    return plans


def facts(task: Task, options: argparse.Namespace, digest: str, command: str) -> dict[str, Any]:
    """Return what the journal keeps of a study beside its trials."""
    from hsrl_agent.evaluation.provenance import provenance

    made = asdict(provenance(options.device, datetime.now(timezone.utc)))
    return {
        "env": task.env,
        "bundle": digest,
        "session": dict(task.env_kwargs),
        "simulator": "train",
        "steps": options.steps,
        "n_envs": options.n_envs,
        "episodes": options.episodes,
        "seeds": list(options.seeds),
        "command": command,
        **made,
    }


def announce(
    console: Console, options: argparse.Namespace, task: Task, plans: Sequence[MethodPlan], settings: Settings
) -> None:
    """Say what will be tried, and with --dry-run in which ranges."""
    n_runs = len(plans) * options.trials * len(options.seeds)
    say(
        console,
        f"{task.name}: {len(plans)} methods, {options.trials} trials each, {len(options.seeds)} seeds each, "
        f"{options.steps:,} user-steps: {n_runs} runs on {options.jobs} processes.",
    )
    say(console, f"settings now: {settings.origin}")
    for one in plans if options.dry_run else ():
        for name, choice in one.space.items():
            say(console, f"{one.method}: {name}: {choice.text()}, now {one.now[name]}")


def next_run(studies: Sequence[MethodStudy]) -> RunSpec | None:
    """Return the next run of the first study that has one."""
    return next((spec for study in studies if (spec := study.next_run()) is not None), None)


class Watcher:
    """Tells each study how its runs ended, and prints a line for each trial."""

    def __init__(self, studies: Sequence[MethodStudy], console: Console) -> None:
        self.studies, self.console = {study.method: study for study in studies}, console

    def started(self, spec: RunSpec) -> None:
        """See `pool.Watcher`."""

    def stepped(self, spec: RunSpec, steps: int) -> None:
        """See `pool.Watcher`."""

    def ended(self, end: Ended) -> None:
        """Pass the end of a run on; print the trial if that was its last run."""
        study = self.studies[end.spec.method]
        trial = study.hear(end)
        if trial is not None:
            say(self.console, line_of(study, trial))


def line_of(study: MethodStudy, trial: Trial) -> str:
    """Return a line about a trial: which, what it brought, and with what; a star marks the best so far."""
    best = study.best()
    values = ", ".join(f"{value:.2f}" for value in trial.values.values())
    result = f"FAILED: {trial.message}" if trial.value is None else f"Total Reward {trial.value:.2f} ({values})"
    mark = " *" if best is not None and best.number == trial.number else ""
    settings = ", ".join(f"{name}={value}" for name, value in trial.settings.items())
    return f"[{study.method} {trial.number + 1}/{study.n_trials}] {result}{mark} {settings} ({trial.seconds:.0f} s)"


def conclude(
    console: Console, study: MethodStudy, task: Task, digest: str, write: Path | None, command: str
) -> int:
    """Say what was chosen, and put it into the settings file; return 0, or 1 if no trial of the method came through."""
    from hsrl_agent.evaluation.settings import TunedSettings, write_tuned

    best, first = study.best(), study.finished()[0]
    if best is None:
        print(f"tune.py: {study.method}: every trial failed; nothing was chosen.", file=sys.stderr)
        return 1
    before = "failed" if first.value is None else f"{first.value:.2f}"
    chosen: Mapping[str, Any] = {**study.specs[0].settings, **best.settings}
    say(console, f"{study.method}: trial {best.number + 1} has {best.value:.2f}, the first {before}: {dict(chosen)}")
    if write is not None:
        head = f"Written by benchmarks/tune.py: chosen on the train users of {task.name}.\nThe last call: {command}"
        write_tuned(write, TunedSettings(write.stem, digest, {study.method: chosen}), head)
        say(console, f"{study.method}: written to {write}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
