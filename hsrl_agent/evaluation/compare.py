"""Learn with every method on every task, score on held-out users, and compare: the paper's Table 2 and its studies.

Finished runs are kept in OUT/runs; the same command goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hsrl_agent.evaluation.terminal import INTERRUPTED, make_console, run_command, say

if TYPE_CHECKING:
    from rich.console import Console

    from hsrl_agent.evaluation.options import Parser
    from hsrl_agent.evaluation.plan import Plan
    from hsrl_agent.evaluation.result import RunResult


def main(arguments: Sequence[str] | None = None, name: str = "hsrl-agent compare") -> int:
    """Return 0; 1 if a run failed; 2, after one line, for a call that cannot be run; 130 if interrupted."""

    def work() -> int:
        from hsrl_agent.evaluation.plan import make_plan

        return compare(make_plan(parser(name).parse_args(arguments)), name)

    return run_command(name, work)


def parser(name: str = "hsrl-agent compare") -> Parser:
    """Return the parser of the command line; `name` is that of the command."""
    from hsrl_agent.evaluation.options import Parser
    from hsrl_agent.evaluation.plan import add_arguments

    made = Parser(prog=name, description=__doc__)
    add_arguments(made)
    return made


def compare(plan: Plan, name: str) -> int:
    """Run what is not finished yet, then write and print the tables.

    Args:
        plan: what to run.
        name: of the command, for its complaints.
    """
    from hsrl_agent.evaluation.plan import cost
    from hsrl_agent.evaluation.pool import run_all, write_details
    from hsrl_agent.evaluation.progress import make_display
    from hsrl_agent.evaluation.report.write import print_report, write_report
    from hsrl_agent.evaluation.store import RUNS, read_runs, write_results

    console = make_console()
    keys = [spec.key() for spec in plan.specs]
    found, complaints = read_runs(plan.out)
    for line in (*plan.notes, *complaints):
        say(console, line)
    todo = [spec for spec, key in zip(plan.specs, keys, strict=True) if key not in found]
    announce(console, plan, list(found.values()), len(todo))
    costs = {spec.name: cost(spec) for spec in todo}
    todo.sort(key=lambda spec: -costs[spec.name])
    failed = []
    if todo:
        (plan.out / RUNS).mkdir(parents=True, exist_ok=True)
        try:
            with make_display(console, costs) as display:
                ends = run_all(todo, plan.jobs, display, plan.out, plan.backend)
        except KeyboardInterrupt:
            return interrupted(plan, keys, name)
        failed = [end for end in ends if end.result is None]
        found, later = read_runs(plan.out)
        for line in later:
            if line not in complaints:
                say(console, line)
    n_failed = sum(key not in found for key in keys)
    planned = zip(plan.specs, keys, strict=True)
    results = [replace(found[key], spec=spec, kind=plan.what) for spec, key in planned if key in found]
    files = write_details(plan.out, todo, failed)
    if results:
        report = write_report(results, plan.out, plan.what, plan.seeds())
        files = [write_results(results, plan.out), *report, *files]
        print_report(console, results, plan.what, plan.seeds())
    for path in files:
        say(console, f"written: {path}")
    if n_failed:
        without = "" if results else ", so there is no table"
        print(
            f"{name}: {n_failed} of {len(keys)} runs failed{without}; the same command tries them again.",
            file=sys.stderr,
        )
    return 1 if n_failed else 0


def announce(console: Console, plan: Plan, found: Sequence[RunResult], n_todo: int) -> None:
    """Say how many runs there are, how many were found finished, and how many of those cannot be used."""
    n_runs = len(plan.specs)
    n_finished = n_runs - n_todo
    finished = f"{n_finished} found finished in {plan.out / 'runs'}, " if n_finished else ""
    where = f" on {plan.backend.place(min(plan.jobs, n_todo))}" if n_todo else ""
    say(console, f"{n_runs} run{'s' * (n_runs != 1)}: {finished}{n_todo} to do{where}.")
    keys = {spec.key() for spec in plan.specs}
    stale = sum(result.spec in plan.specs and result.key not in keys for result in found)
    if stale:
        say(
            console,
            f"{stale} of the finished runs in {plan.out / 'runs'} come from another state of the code or the data and "
            "are not used.",
        )


def interrupted(plan: Plan, keys: Sequence[str], name: str) -> int:
    """Say what is kept, and return the exit status."""
    from hsrl_agent.evaluation.store import read_runs

    found, _ = read_runs(plan.out)
    n_kept = sum(key in found for key in keys)
    print(
        f"{name}: interrupted; {n_kept} of {len(keys)} runs are finished and kept in {plan.out / 'runs'}, the same "
        "command goes on from here.",
        file=sys.stderr,
    )
    return INTERRUPTED
