"""What does runs, and who is told how they go."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_gym.errors import HsrlError

_SECONDS_BETWEEN_REPORTS = 0.25
SECONDS_TO_WAIT = 0.2  # for news of the runs


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
        """Hear that a run was given to a worker."""
        ...

    def stepped(self, spec: RunSpec, steps: int) -> None:
        """Hear how many user-steps a run has learned from; fewer than before if it was lost and begins again."""
        ...

    def ended(self, end: Ended) -> None:
        """Hear how a run ended; the next spec is asked for after this."""
        ...

    def noted(self, line: str) -> None:
        """Hear what people should know of the workers."""
        ...


class Workers(Protocol):
    """What does several runs at once: processes of this machine, or the nodes of a cluster."""

    def room(self) -> int:
        """Return how many runs can go on at once now, at least 1."""
        ...

    def submit(self, spec: RunSpec, key: str | None) -> None:
        """Start a run; for `key` see `run.run`."""
        ...

    def ended(self) -> list[Ended]:
        """Wait a moment, tell the watcher of user-steps, and return the ends of runs, whose results are written."""
        ...

    def stop(self) -> None:
        """End all runs at once."""
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


class Reporter:
    """Progress of a run that is passed on a few times a second."""

    def __init__(self, send: Callable[[int], object]) -> None:
        self.send, self.last = send, -1.0

    def __call__(self, steps: int) -> None:
        now = time.monotonic()
        if now - self.last >= _SECONDS_BETWEEN_REPORTS:
            self.last = now
            self.send(steps)


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line; an HsrlError without its class name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, HsrlError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
