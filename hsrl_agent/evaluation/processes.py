"""Runs on processes of this machine, each of which writes its results itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.store import write_result
from hsrl_agent.evaluation.workers import SECONDS_TO_WAIT, Ended, Reporter, Watcher, one_line


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes:
    """`Workers` on this machine. A process that waits for a run does the next one.

    Args:
        jobs: processes, at least 1.
        watcher: is told how the runs go.
        out: folder of the results; None writes none.
    """

    def __init__(self, jobs: int, watcher: Watcher, out: Path | None) -> None:
        self.jobs, self.watcher, self.out = jobs, watcher, out
        self.slots: list[Slot] = []
        self.free: list[Slot] = []
        self.running: dict[Future[Ended], tuple[Slot, RunSpec]] = {}

    def room(self) -> int:
        """See `Workers.room`."""
        return self.jobs

    def submit(self, spec: RunSpec, key: str | None) -> None:
        """See `Workers.submit`."""
        if not self.free:
            self.free.append(Slot(self.out))
            self.slots.append(self.free[-1])
        slot = self.free.pop()
        self.running[slot.submit(spec, key)] = (slot, spec)

    def ended(self) -> list[Ended]:
        """See `Workers.ended`."""
        done, _ = wait(self.running, timeout=SECONDS_TO_WAIT, return_when=FIRST_COMPLETED)
        for slot, spec in self.running.values():
            for steps in slot.steps():
                self.watcher.stepped(spec, steps)
        ends = []
        for future in done:
            slot, spec = self.running.pop(future)
            ends.append(_end_of(future, slot, spec))
            self.free.append(slot)
        return ends

    def stop(self) -> None:
        """See `Workers.stop`."""
        for slot in self.slots:
            slot.terminate()

    def close(self) -> None:
        """See `Workers.close`."""
        for slot in self.slots:
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
        result = run(spec, Reporter(_send), key)
        if _out is not None:
            write_result(_out, result)
        return Ended(spec, result)
    except Exception as error:
        return Ended(spec, message=one_line(error), details=traceback.format_exc())


def _send(steps: int) -> None:
    if _reports is not None:
        _reports.send(steps)
