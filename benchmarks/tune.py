"""Choose the settings of methods, every method with as many trials of as many steps, on the `train` users alone.

    python benchmarks/tune.py --env HSRL-RL4RS-v0 --methods a2c,hsrl --trials 12 --steps 12800 --jobs 2
    python benchmarks/tune.py --env HSRL-Bundle-v0 --bundle DIR --write mine.yaml

The first trial of a method is what it has now, so that what is chosen was never worse in these trials. Trials stand in
Optuna's journal (--journal); the same command goes on where it stopped. Methods are tried side by side, the trials of
each one after the other. --write puts what was chosen into a file for `compare.py --settings`.
benchmarks/results/tuning.journal holds the trials behind the packaged settings.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsrl_agent.evaluation.terminal import make_console, run_command, say
from hsrl_gym.errors import HsrlError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.console import Console

    from hsrl_agent.evaluation.settings import Settings
    from hsrl_agent.evaluation.spec import RunSpec
    from hsrl_agent.evaluation.tasks import Task
    from hsrl_agent.evaluation.workers import Ended
    from trials import MethodStudy

JOURNAL = Path("results/tune/tuning.journal")


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
    from hsrl_agent.evaluation import backend
    from hsrl_agent.evaluation.options import Parser, names, whole_number, whole_numbers
    from hsrl_gym.envs.rules import REWARDS

    made = Parser(prog="tune.py", description="Choose settings of methods on the train users.")
    add = made.add_argument
    add("--env", required=True, metavar="ID", help="environment")
    add("--bundle", metavar="DIR", help="its users (those of the environment)")
    add("--reward", choices=REWARDS, help="reward rule (that of the environment)")
    add("--methods", type=names, metavar="NAME,..", help="methods to tune (all in configs/search.yaml)")
    add("--search", type=Path, metavar="FILE", help="ranges to choose from (configs/search.yaml)")
    add(
        "--settings",
        metavar="NAME|FILE",
        help="settings of the first trial: a tuned file by name or path, or none for the code's defaults (those tuned "
        "on the bundle, if any)",
    )
    add("--trials", type=whole_number, default=12, metavar="N", help="settings to try for each method (12)")
    add("--steps", type=whole_number, default=12_800, metavar="N", help="user-steps to learn from in each run (12800)")
    add(
        "--seeds",
        type=whole_numbers,
        default=(100, 101),
        metavar="N,..",
        help="seeds that each trial is run with; name none that a table uses (100,101)",
    )
    add("--episodes", type=whole_number, default=500, metavar="N", help="sessions that score a run (500)")
    add("--n-envs", type=whole_number, default=32, metavar="N", help="users at once while learning (32)")
    add("--journal", type=Path, default=JOURNAL, metavar="FILE", help=f"file that keeps the trials ({JOURNAL})")
    add("--write", type=Path, metavar="FILE", help="settings file to put what was chosen into")
    add("--dry-run", action="store_true", help="say what would be tried, and try nothing")
    backend.add_arguments(made, ", at most one a method")
    return made


def tune(options: argparse.Namespace, command: str) -> int:
    """Do the trials that are not done yet, and write what they came to."""
    import optuna

    from hsrl_agent.evaluation.backend import chosen
    from hsrl_agent.evaluation.pool import run_all
    from hsrl_agent.evaluation.settings import choose_settings, read_tuned
    from hsrl_agent.evaluation.tasks import bundle_digest, find_env, make_task

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    console, backend = make_console(), chosen(options)
    task = make_task(options.env, options.bundle, options.reward)
    digest = bundle_digest(task.folder)
    settings = choose_settings(options.settings, digest)
    rule, write = {**find_env(task.env).kwargs, **task.env_kwargs}.get("reward"), options.write
    if write is not None and write.is_file():
        there = read_tuned(write)
        if there.bundle != digest or there.reward not in (None, rule):
            what = "under another reward rule" if there.bundle == digest else "on another bundle"
            raise HsrlError(f"{write}: these settings were tuned {what}; name another file with --write.")
    studies = make_studies(options, task, settings, digest, command)
    jobs = backend.jobs(options.jobs, len(studies))
    announce(console, options, task, studies, settings, backend.place(jobs))
    if options.dry_run:
        return 0

    def next_run() -> RunSpec | None:
        return next((spec for study in studies if (spec := study.next_run()) is not None), None)

    run_all(next_run, jobs, Watcher(studies, console), backend=backend)
    return max(conclude(console, study, digest, rule, write, command) for study in studies)


def make_studies(
    options: argparse.Namespace, task: Task, settings: Settings, digest: str, command: str
) -> list[MethodStudy]:
    """Return a study for each method, in the order of the tables.

    Raises:
        HsrlError: for a method without a space, or an environment with one user, whom tuning would see.
    """
    from optuna.storages import InMemoryStorage

    from hsrl_agent.evaluation.backend import RAY
    from hsrl_agent.evaluation.plugins import resolve, sorted_methods
    from hsrl_agent.evaluation.provenance import code_digest, device_name, git_commit, versions
    from hsrl_agent.evaluation.spec import RunSpec
    from hsrl_agent.evaluation.tasks import find_env
    from search import SEARCH_FILE, read_search, starting_point
    from trials import PROTOCOL, MethodStudy, open_storage

    own = find_env(task.env).kwargs.get("simulator")
    if own is not None:
        raise HsrlError(f"{task.env} is learned from and scored by one user, {own!r}; tune another environment.")
    path = options.search or SEARCH_FILE
    spaces = read_search(path)
    records = {name: resolve(name, settings.of(name)) for name in sorted_methods(options.methods or list(spaces))}
    for name in records:
        if name not in spaces:
            raise HsrlError(f"{path}: no space for {name!r}, expected one of {', '.join(spaces)}.")
    base = RunSpec(
        task.name,
        task.env,
        "",
        options.seeds[0],
        options.steps,
        bundle=task.bundle,
        n_envs=options.n_envs,
        n_eval_episodes=options.episodes,
        n_checkpoints=1,
        device=options.device,
        env_kwargs=task.env_kwargs,
        protocol=PROTOCOL,
        protocol_kwargs={"seeds": list(options.seeds)},
    )
    names = ("env", "steps", "n_envs", "episodes", "seeds")
    about: dict[str, Any] = {
        **{name: getattr(options, name) for name in names},
        "session": base.all_env_kwargs(),
        "simulator": "train",
        "bundle": digest,
        "command": command,
        "commit": git_commit(),
        "code": code_digest(),
        "versions": versions(),
        "machine": "a Ray cluster" if options.backend == RAY else device_name(options.device),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    storage = InMemoryStorage() if options.dry_run else open_storage(options.journal)
    studies = []
    for name, method in records.items():
        spec = replace(base, method=name, settings=settings.of(name))
        now = starting_point(method, spaces[name], spec.settings)
        studies.append(MethodStudy(spec, spaces[name], now, options.trials, storage, {**about, "method": name}))
    return studies


def announce(
    console: Console,
    options: argparse.Namespace,
    task: Task,
    studies: Sequence[MethodStudy],
    settings: Settings,
    place: str,
) -> None:
    """Say what will be tried and where, and with --dry-run in which ranges."""
    say(
        console,
        f"{task.name}: {len(studies)} methods, {options.trials} trials each, {len(options.seeds)} seeds each, "
        f"{options.steps:,} user-steps, {place}.",
    )
    say(console, f"settings now: {settings.origin}.")
    found = sum(len(study.finished()) for study in studies)
    if found:
        say(console, f"{found} of {options.trials * len(studies)} trials are in {options.journal} already.")
    for study in studies if options.dry_run else ():
        for name, choice in study.space.items():
            say(console, f"{study.spec.method}: {name}: {choice.text()}, now {study.now[name]}")


class Watcher:
    """Tells each study how its trials ended, and prints a line for each."""

    def __init__(self, studies: Sequence[MethodStudy], console: Console) -> None:
        self.studies, self.console = {study.spec.method: study for study in studies}, console
        self.since: dict[str, float] = {}

    def started(self, spec: RunSpec) -> None:
        """Start the clock of a trial."""
        self.since[spec.method] = time.monotonic()

    def stepped(self, spec: RunSpec, steps: int) -> None:
        """See `workers.Watcher`."""

    def noted(self, line: str) -> None:
        """Print what people should know of the workers."""
        say(self.console, line)

    def ended(self, end: Ended) -> None:
        """Tell the study, and print the trial."""
        study, method = self.studies[end.spec.method], end.spec.method
        say(self.console, line_of(study, study.record(end, time.monotonic() - self.since[method])))


def line_of(study: MethodStudy, trial: FrozenTrial) -> str:
    """Return a line about a trial: which, what it brought, and with what; a star marks the best so far."""
    said, best = trial.user_attrs, study.best()
    values = ", ".join(f"{value:.2f}" for value in said["values"].values())
    result = f"FAILED: {said['message']}" if trial.value is None else f"Total Reward {trial.value:.2f} ({values})"
    mark = " *" if best is not None and best.number == trial.number else ""
    settings = ", ".join(f"{name}={value}" for name, value in said["settings"].items())
    place = f"{study.spec.method} {len(study.finished())}/{study.n_trials}"
    return f"[{place}] {result}{mark} {settings} ({said['seconds']:.0f} s)"


def conclude(
    console: Console, study: MethodStudy, digest: str, rule: str | None, write: Path | None, command: str
) -> int:
    """Say what was chosen, and put it into the settings file; return 0, or 1 if no trial of the method came through."""
    from hsrl_agent.evaluation.settings import TunedSettings, write_tuned

    best, first, method = study.best(), study.finished()[0], study.spec.method
    if best is None:
        print(f"tune.py: {method}: every trial failed; nothing was chosen.", file=sys.stderr)
        return 1
    before = "failed" if first.value is None else f"{first.value:.2f}"
    chosen = {**study.spec.settings, **best.user_attrs["settings"]}
    say(console, f"{method}: chosen {best.value:.2f}, before {before}: {chosen}")
    if write is not None:
        head = f"Written by benchmarks/tune.py: chosen on the train users of {study.spec.task}.\nLast call: {command}"
        write_tuned(write, TunedSettings(write.stem, digest, {method: chosen}, rule), head)
        say(console, f"{method}: written to {write}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
