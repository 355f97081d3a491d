"""Choose the settings of methods, every method with as many trials of as many steps, on the `train` users alone.

    python benchmarks/tune.py --env HSRL-RL4RS-v0 --methods a2c,hsrl --trials 12 --steps 12800 --jobs 2

The first trial of a method is what it has now, so that what is chosen was never worse there. What is chosen is written
to configs/methods.yaml (under ENV; with --bundle, --reward under ENV/NAME/REWARD, NAME being that of the folder), how
it was found to configs/tuned/ENV-METHOD.yaml (ENV-NAME-REWARD-METHOD.yaml). The same command goes on where it stopped.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

from terminal import make_console, run_command, say

if TYPE_CHECKING:
    from rich.console import Console

    from spec import RunSpec
    from tune_plan import TunePlan
    from tune_study import MethodStudy, Trial
    from tune_trial import Outcome, TrialSlot

    Running = dict[Future[Outcome], tuple[TrialSlot, MethodStudy, RunSpec]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 1 if no trial of a method came through; 2, after one line, for a wrong call; 130 if interrupted."""

    def work() -> int:
        from tune_plan import make_tune_plan
        from tune_record import command_line

        return tune(make_tune_plan(arguments), command_line(arguments))

    return run_command("tune.py", work)


def tune(plan: TunePlan, arguments: Sequence[str]) -> int:
    """Do the trials that are not done yet, and write what they came to."""
    from tune_study import MethodStudy, open_storage

    console = make_console()
    for line in plan.notes:
        say(console, line)
    if plan.dry_run:
        announce(console, plan)
        return 0
    storage = open_storage(plan.out)
    studies = [MethodStudy(one.specs, one.space, one.now, plan.n_trials, storage) for one in plan.methods]
    n_found = [len(study.finished()) for study in studies]
    if any(n_found):
        say(console, f"{sum(n_found)} of {plan.n_trials * len(studies)} trials found finished in {plan.out}.")
    for study in studies:
        if study.is_of_other_code:
            say(console, f"{study.method}: its trials began with another state of the code; delete {plan.out} to redo.")
    run_all(studies, plan, console)
    return max(conclude(console, study, plan.configs, arguments) for study in studies)


def announce(console: Console, plan: TunePlan) -> None:
    """Say what would be tried."""
    spec = plan.methods[0].specs[0]
    n_seeds = len(plan.methods[0].specs)
    say(
        console,
        f"{plan.env}: {len(plan.methods)} methods, {plan.n_trials} trials each, {n_seeds} seeds each, {spec.steps:,} "
        f"user-steps: {len(plan.methods) * plan.n_trials * n_seeds} runs on {plan.jobs} processes.",
    )
    for one in plan.methods:
        for name, choice in one.space.items():
            say(console, f"{one.method}: {name}: {choice.text()}, now {one.now[name]}")


def run_all(studies: Sequence[MethodStudy], plan: TunePlan, console: Console) -> None:
    """Run all trials on the processes, those of the first method first; say how each ended."""
    from tune_trial import TrialSlot

    n_slots = 0 if all(study.is_done for study in studies) else plan.jobs
    slots = [TrialSlot(plan.out, plan.threads) for _ in range(n_slots)]
    free = list(slots)
    running: Running = {}
    try:
        while True:
            while free and (found := next_run(studies)):
                slot = free.pop()
                running[slot.submit_trial(found[1])] = (slot, *found)
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                slot, study, spec = running.pop(future)
                free.append(slot)
                trial = study.hear(outcome_of(future, slot, spec))
                if trial is not None:
                    say_trial(console, study, trial)
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        for slot in slots:
            slot.close()


def next_run(studies: Sequence[MethodStudy]) -> tuple[MethodStudy, RunSpec] | None:
    """Return the next run of the first study that has one."""
    for study in studies:
        spec = study.next_run()
        if spec is not None:
            return study, spec
    return None


def outcome_of(future: Future[Outcome], slot: TrialSlot, spec: RunSpec) -> Outcome:
    """Return how a run ended, and a new process for one that has died."""
    from tune_trial import Outcome

    try:
        return future.result()
    except BrokenProcessPool:
        slot.reopen()
        return Outcome(spec, None, 0.0, "its process died; did the machine run out of memory?")


def say_trial(console: Console, study: MethodStudy, trial: Trial) -> None:
    """Print a line about a trial: which, what it brought, with what."""
    best = study.best()
    values = ", ".join(f"{value:.2f}" for value in trial.values.values())
    result = f"FAILED: {trial.message}" if trial.value is None else f"Total Reward {trial.value:.2f} ({values})"
    settings = ", ".join(f"{name}={value}" for name, value in trial.settings.items())
    mark = " *" if best is not None and best.number == trial.number else ""
    line = f"[{study.method} {trial.number + 1}/{study.n_trials}] {result}{mark} {settings} ({trial.seconds:.0f} s)"
    say(console, line)


def conclude(console: Console, study: MethodStudy, configs: Path, arguments: Sequence[str]) -> int:
    """Write and say what a study came to; return 0, or 1 if none of its trials came through."""
    from configuration import METHODS_FILE
    from tune_record import write_choice, write_record

    path = write_record(study, configs / "tuned", arguments)
    best, first = study.best(), study.finished()[0]
    if best is None:
        print(f"tune.py: {study.method}: every trial failed; nothing was chosen, see {path}.", file=sys.stderr)
        return 1
    before = "failed" if first.value is None else f"{first.value:.2f}"
    say(console, f"{study.method}: trial {best.number + 1} has {best.value:.2f}, as it was {before}; written: {path}")
    methods = configs / METHODS_FILE.name
    if write_choice(methods, study.method, study.section, best.settings):
        say(console, f"{study.method}: written to {methods}, {study.section}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
