"""What the tests of workers share: a watcher that notes what it is told, the rows written, a place for agents."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.workers import Ended


@contextmanager
def standing_in(path: Path, module: str, agents: str) -> Iterator[Path]:
    """Make `path` the working directory, with a module of agents in it that can be imported."""
    (path / f"{module}.py").write_text(agents)
    before, paths = Path.cwd(), list(sys.path)
    os.chdir(path)
    yield path
    os.chdir(before)
    sys.path[:] = paths


class Listener:
    """Notes what a watcher is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def started(self, spec: RunSpec) -> None:
        self.told.append(("started", spec.name))

    def stepped(self, spec: RunSpec, steps: int) -> None: ...

    def ended(self, end: Ended) -> None:
        self.told.append(("ended", end.spec.name))

    def noted(self, line: str) -> None:
        self.told.append(("noted", line))


def rows(out: Path) -> Iterator[dict[str, Any]]:
    """Return the rows in a folder, in the order of their names, without times."""
    for path in sorted((out / "runs").iterdir()):
        row = json.loads(path.read_text())
        row["curve"] = [[point[0], *point[2:]] for point in row["curve"]]
        row["provenance"].pop("started_at")
        yield {"file": path.name, **{name: value for name, value in row.items() if "seconds" not in name}}
