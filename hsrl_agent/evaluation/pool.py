"""Runs on several processes: each result is on disk when its run ends, and no failure loses another run."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.store import write_result
from hsrl_agent.files import write_text
from hsrl_gym.errors import HsrlError

_SECONDS_BETWEEN_REPORTS = 0.25

NextSpec = Callable[[], RunSpec | None]


@dataclass(frozen=True)
class Ended:
    """How a run ended: with a result, or with a line about what went wrong and the traceback."""

    spec: RunSpec
    result: RunResult | None = None
    message: str = ""
    details: str = ""


class Watcher(Protocol):
    """What is told how the runs go."""

    def started(self, spec: RunSpec) -> None:
        """Hear that a run was given to a process."""
        ...

    def stepped(self, spec: RunSpec, steps: int) -> None:
        """Hear how many user-steps a run has learned from."""
        ...

    def ended(self, end: Ended) -> None:
        """Hear how a run ended; the next spec is asked for after this."""
        ...


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(specs: Iterable[RunSpec] | NextSpec, jobs: int, watcher: Watcher, out: Path | None = None) -> list[Ended]:
    """Run specs in their order on `jobs` processes, and return how each ended, the first to end first.

    A result is in OUT/runs when the watcher hears of it. On KeyboardInterrupt the processes are ended.

    Args:
        specs: what to run; or a function that returns the next spec whenever a process is free, and None where there
            is nothing to do now. It is asked again after each run; None while nothing runs is the end.
        jobs: processes, at least 1.
        watcher: is told how the runs go.
        out: folder of the results; None writes none.
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

    free: list[Slot] = []
    slots: list[Slot] = []
    running: dict[Future[Ended], tuple[Slot, RunSpec]] = {}
    ends: list[Ended] = []
    try:
        while True:
            while len(running) < jobs and (planned := next_run()) is not None:
                spec, key = planned
                if not free:
                    free.append(Slot(out))
                    slots.append(free[-1])
                slot = free.pop()
                running[slot.submit(spec, key)] = (slot, spec)
                watcher.started(spec)
            if not running:
                return ends
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for slot, spec in running.values():
                for steps in slot.steps():
                    watcher.stepped(spec, steps)
            for future in done:
                slot, spec = running.pop(future)
                ends.append(_end_of(future, slot, spec))
                free.append(slot)
                watcher.ended(ends[-1])
    except BaseException:
        for slot in slots:
            slot.terminate()
        raise
    finally:
        for slot in slots:
            slot.close()


class Slot:
    """One process and its reports of progress. A run that kills its process takes no other run with it."""

    def __init__(self, out: Path | None) -> None:
        self.out = out
        self._open()

    def _open(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.reports, theirs = context.Pipe(duplex=False)
        self.executor = ProcessPoolExecutor(1, context, _start_worker, (theirs, self.out))

    def submit(self, spec: RunSpec, key: str | None) -> Future[Ended]:
        """Start a run; for `key` see `run.run`."""
        with _interrupts_ignored():  # the process inherits this, so that Ctrl-C is the parent's to handle
            return self.executor.submit(_work, spec, key)

    def steps(self) -> Iterator[int]:
        """Return the user-steps reported since the last call."""
        try:
            while self.reports.poll():
                yield self.reports.recv()
        except (EOFError, OSError):  # the process has died; the future says so
            return

    def reopen(self) -> None:
        """Replace a process that has died."""
        self.close()
        self._open()

    def terminate(self) -> None:
        """End the process at once."""
        for process in list((self.executor._processes or {}).values()):
            process.terminate()

    def close(self) -> None:
        """Let the process go."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.reports.close()


def _end_of(future: Future[Ended], slot: Slot, spec: RunSpec) -> Ended:
    try:
        return future.result()
    except BrokenProcessPool:
        slot.reopen()
        return Ended(spec, message="its process died; did the machine run out of memory?")


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# In the process of a slot.

_reports: Connection | None = None
_out: Path | None = None


def _start_worker(reports: Connection, out: Path | None) -> None:
    """Prepare a process."""
    global _reports, _out
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited, but not on Windows
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    warnings.filterwarnings("ignore", "You are trying to run A2C on the GPU", UserWarning)
    _reports, _out = reports, out


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _work(spec: RunSpec, key: str | None) -> Ended:
    """Run, and write the result here, so that it is safe even if the parent is gone."""
    from hsrl_agent.evaluation.run import run

    try:
        result = run(spec, _Reporter(), key)
        if _out is not None:
            write_result(_out, result)
        return Ended(spec, result)
    except Exception as error:
        return Ended(spec, message=one_line(error), details=traceback.format_exc())


class _Reporter:
    """Pass progress on, a few times a second."""

    def __init__(self) -> None:
        self.last = -1.0

    def __call__(self, steps: int) -> None:
        now = time.monotonic()
        if _reports is not None and now - self.last >= _SECONDS_BETWEEN_REPORTS:
            self.last = now
            _reports.send(steps)


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line; an HsrlError without its class name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, HsrlError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


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
