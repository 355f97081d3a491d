"""Runs on several processes: the longest first, one row on disk as each ends, none lost to the others' failures."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from results import Row, write_row, write_text
from spec import RunSpec

_SECONDS_BETWEEN_REPORTS = 0.25


@dataclass(frozen=True)
class Ended:
    """How a run ended: with a row, or with a line about what went wrong (and where it did)."""

    spec: RunSpec
    row: Row | None = None
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
        """Hear how a run ended."""
        ...


class Slot:
    """One process and what it says of its progress. A run that kills its process takes nobody else with it."""

    def __init__(self, out: Path, threads: int) -> None:
        self.out, self.threads = out, threads
        self._open()

    def _open(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.reports, theirs = context.Pipe(duplex=False)
        arguments = (theirs, self.out, self.threads)
        self.executor = ProcessPoolExecutor(1, context, _start_worker, arguments)

    def submit(self, spec: RunSpec) -> Future[Ended]:
        """Start a run."""
        with _deaf_to_interrupts():  # the process inherits this, so that Ctrl-C is the parent's to handle
            return self.executor.submit(_work, spec)

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

    def close(self) -> None:
        """Let the process go."""
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.reports.close()


def run_all(specs: Sequence[RunSpec], out: Path, jobs: int, threads: int, watcher: Watcher) -> list[Ended]:
    """Run `specs` in their order on `jobs` processes, and return how each ended.

    A finished run's row is on disk when this hears of it. On KeyboardInterrupt the processes are ended.
    """
    waiting = list(reversed(specs))
    free = [Slot(out, threads) for _ in range(min(jobs, len(specs)))]
    slots = list(free)
    running: dict[Future[Ended], tuple[Slot, RunSpec]] = {}
    ends: list[Ended] = []
    try:
        while waiting or running:
            while free and waiting:
                slot, spec = free.pop(), waiting.pop()
                running[slot.submit(spec)] = (slot, spec)
                watcher.started(spec)
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
        _terminate()
        raise
    finally:
        for slot in slots:
            slot.close()
    return ends


def _end_of(future: Future[Ended], slot: Slot, spec: RunSpec) -> Ended:
    try:
        return future.result()
    except BrokenProcessPool:
        slot.reopen()
        return Ended(spec, message="its process died; did the machine run out of memory?")


def _terminate() -> None:
    for process in multiprocessing.active_children():
        process.terminate()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# In the process of a slot.

_reports: Connection | None = None
_out = Path()


def _start_worker(reports: Connection, out: Path, threads: int) -> None:
    """Prepare a process."""
    global _reports, _out
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited, but not on Windows
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    at_most_threads(threads)
    warnings.filterwarnings("ignore", "You are trying to run A2C on the GPU", UserWarning)
    _reports, _out = reports, out


def at_most_threads(threads: int) -> None:
    """Let torch have so many threads in this process, or fewer where OMP_NUM_THREADS asks for that."""
    import torch

    torch.set_num_threads(min(threads, torch.get_num_threads()))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _work(spec: RunSpec) -> Ended:
    """Run, and write the row here, so that it is safe even if the parent is gone."""
    from runner import run

    try:
        row = run(spec, _Reporter())
        write_row(_out, row)
        return Ended(spec, row)
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
    """Return what an error says, on one line; our own need no class name."""
    from hsrl_gym.errors import HsrlError

    text = " ".join(str(error).split())
    return text if isinstance(error, HsrlError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def write_details(out: Path, tried: Iterable[RunSpec], failed: Iterable[Ended]) -> list[Path]:
    """Write the tracebacks of failed runs to files, and return them; those of earlier tries are removed."""

    def place(spec: RunSpec) -> Path:
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", spec.name)
        return out / "failed" / f"{name}.txt"

    for spec in tried:
        place(spec).unlink(missing_ok=True)
    files = []
    for end in failed:
        if end.details:
            files.append(place(end.spec))
            write_text(files[-1], end.details)
    return files


def summary_of(row: dict[str, Any]) -> str:
    """Return the result of a run in a few words."""
    speed = row["steps"] / row["train_seconds"] if row["learns_online"] and row["train_seconds"] > 0 else None
    pace = f", {speed:,.0f} user-steps/s" if speed else ""
    seconds = row["train_seconds"] + row["eval_seconds"]
    return f"Total Reward {row['total_reward']:.2f}, Depth {row['depth']:.2f} ({seconds:.0f} s{pace})"
