"""Print the paper's Table 2: learn with every method in every environment, score on held-out users, compare.

    python benchmarks/compare.py --preset quick
    python benchmarks/compare.py --table 3
    python benchmarks/compare.py --figure 5
    python benchmarks/compare.py --envs HSRL-ML100K-v0 --methods sl,a2c,hsrl --seeds 0,1,2 --steps 64000
    python benchmarks/compare.py --agent examples.my_agent:MyAgent

Finished runs are kept in OUT/runs; the same command goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from terminal import INTERRUPTED, make_console, run_command, say

if TYPE_CHECKING:
    from rich.console import Console

    from plan import Plan
    from results import Row


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 1 if a run failed; 2, after one line, for a call that cannot be run; 130 if interrupted."""

    def work() -> int:
        from plan import make_plan

        return compare(make_plan(arguments))

    return run_command("compare.py", work)


def compare(plan: Plan) -> int:
    """Run what is not finished yet, then write and print the table."""
    from display import make_display
    from plan import cost
    from reports import print_report, write_report
    from results import read_rows
    from workers import run_all, write_details

    console = make_console()
    keys = {spec.name: spec.key() for spec in plan.specs}
    found, complaints = read_rows(plan.out)
    for line in (*plan.notes, *complaints):
        say(console, line)
    todo = [spec for spec in plan.specs if keys[spec.name] not in found]
    announce(console, plan, [found[key] for key in keys.values() if key in found], len(todo))
    costs = {spec.name: cost(spec) for spec in todo}
    todo.sort(key=lambda spec: -costs[spec.name])
    failed = []
    if todo:
        plan.out.mkdir(parents=True, exist_ok=True)
        try:
            with make_display(console, costs) as display:
                ends = run_all(todo, plan.out, plan.jobs, plan.threads, display)
        except KeyboardInterrupt:
            return interrupted(plan, list(keys.values()))
        failed = [end for end in ends if end.row is None]
        found, _ = read_rows(plan.out)
    rows = [found[key] for key in keys.values() if key in found]
    files = write_details(plan.out, todo, failed)
    if rows:
        files = [*write_report(plan.what, rows, plan.out, plan.seeds()), *files]
        print_report(plan.what, console, rows, plan.seeds())
    for path in files:
        say(console, f"written: {path}")
    if failed:
        without = "" if rows else ", so there is no table"
        print(
            f"compare.py: {len(failed)} of {len(keys)} runs failed{without}; the same command tries them again.",
            file=sys.stderr,
        )
    return 1 if failed else 0


def announce(console: Console, plan: Plan, finished: Sequence[Row], n_todo: int) -> None:
    """Say how many runs there are, how many were found finished, and what is odd about those."""
    from provenance import code_digest

    n_runs = len(plan.specs)
    found = f"{len(finished)} found finished in {plan.out / 'runs'}, " if finished else ""
    where = f" on {min(plan.jobs, n_todo)} process{'es' * (min(plan.jobs, n_todo) > 1)}" if n_todo else ""
    say(console, f"{n_runs} runs: {found}{n_todo} to do{where}.")
    stale = [row for row in finished if row.get("code") != code_digest()]
    if stale:
        say(
            console,
            f"{len(stale)} of the finished runs come from another state of hsrl_gym or hsrl_agent; delete "
            f"{plan.out / 'runs'} to do them again.",
        )


def interrupted(plan: Plan, keys: Sequence[str]) -> int:
    """Say what is kept, and return the exit status."""
    from results import read_rows

    found, _ = read_rows(plan.out)
    n_kept = sum(key in found for key in keys)
    print(
        f"compare.py: interrupted; {n_kept} of {len(keys)} runs are finished and kept in {plan.out / 'runs'}, the same "
        "command goes on from here.",
        file=sys.stderr,
    )
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
