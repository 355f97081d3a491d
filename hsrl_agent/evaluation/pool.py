"""Runs on workers: each result is on disk when its run ends, and no failure loses another run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from hsrl_agent.evaluation.backend import ON_THIS_MACHINE, Backend
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.workers import Ended, Watcher
from hsrl_agent.files import write_text

NextSpec = Callable[[], RunSpec | None]


def run_all(
    specs: Iterable[RunSpec] | NextSpec,
    jobs: int,
    watcher: Watcher,
    out: Path | None = None,
    backend: Backend = ON_THIS_MACHINE,
) -> list[Ended]:
    """Run specs in their order, at most `jobs` at once, and return how each ended, the first to end first.

    A result is in OUT/runs when the watcher hears of it. On KeyboardInterrupt what is running is ended.

    Args:
        specs: what to run; or a function that returns the next spec whenever a worker is free, and None where there is
            nothing to do now. It is asked again after each run; None while nothing runs is the end.
        jobs: runs at once, at least 1.
        watcher: is told how the runs go.
        out: folder of the results; None writes none.
        backend: what does the runs: processes of this machine by default.
    """
    if callable(specs):
        ask = specs

        def next_run() -> tuple[RunSpec, str | None] | None:
            spec = ask()
            return None if spec is None else (spec, None)
    else:
        waiting = iter([(spec, spec.key()) for spec in specs])  # the keys before anybody edits a file

        def next_run() -> tuple[RunSpec, str | None] | None:
            return next(waiting, None)

    ends: list[Ended] = []
    n_running = 0
    workers = backend.open(jobs, watcher, out)
    try:
        while True:
            while n_running < workers.room() and (planned := next_run()) is not None:
                workers.submit(*planned)
                n_running += 1
                watcher.started(planned[0])
            if not n_running:
                return ends
            for end in workers.ended():
                n_running -= 1
                ends.append(end)
                watcher.ended(end)
    except BaseException:
        workers.stop()
        raise
    finally:
        workers.close()


def write_details(out: Path, tried: Iterable[RunSpec], failed: Iterable[Ended]) -> list[Path]:
    """Write the tracebacks of failed runs to OUT/failed, and return the files. Those of earlier tries are removed."""

    def place(spec: RunSpec) -> Path:
        return out / "failed" / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', spec.name)}.txt"

    for spec in tried:
        place(spec).unlink(missing_ok=True)
    files = []
    for end in failed:
        if end.details:
            files.append(place(end.spec))
            write_text(files[-1], end.details)
    return files
