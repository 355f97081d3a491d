"""What was found of one promise, and the report on all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = ("Promise", "How it was tested", "Figure", "Kept")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Finding:
    """A promise and how it came out.

    Attributes:
        promise: in words.
        how: it was tested.
        figure: what was measured.
        kept: whether the promise holds.
        notes: of the report, a line each: failures, survivors.
    """

    promise: str
    how: str
    figure: str
    kept: bool
    notes: Sequence[str] = field(default=())

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The row of a table."""
        return self.promise, self.how, self.figure, "yes" if self.kept else "NO"


def table(tested: Sequence[Finding]) -> Table:
    """Return the promises as a table for the terminal."""
    from rich.table import Table

    made = Table(*HEADINGS, show_lines=True)
    for one in tested:
        made.add_row(*one.cells)
    return made


def report(state: str, command: str, tested: Sequence[Finding]) -> str:
    """Return the report as Markdown; a page of the site takes what stands between the marks.

    Args:
        state: of code and machine, in words.
        command: that wrote it.
        tested: the promises.
    """
    lines = ["# What the package promises, tested", "", f"{state}; written by `{command}`.", ""]
    lines += ["<!-- --8<-- [start:table] -->", _row(HEADINGS), _row(["---"] * len(HEADINGS))]
    lines += [_row(one.cells) for one in tested]
    lines += ["<!-- --8<-- [end:table] -->"]
    for one in tested:
        if one.notes:
            lines += ["", f"## {one.promise}", "", *(f"- {note}" for note in one.notes)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def small_bundle(folder: Path) -> Path:
    """Write a bundle of 60 items and users that are hardly trained, and return its folder; it takes a second."""
    from hsrl_gym.bundle.build import build_bundle
    from hsrl_gym.bundle.folder import save_bundle
    from hsrl_gym.envs.synthetic_log import write_log
    from hsrl_gym.users.fit import FitSettings
    from hsrl_gym.users.synthetic import SyntheticWorld

    log = write_log(SyntheticWorld("ml1m-60"), 400)
    settings = FitSettings(batch_size=128, max_epochs=1, min_steps=1)
    bundle = build_bundle(log, 2, 8, width=8, settings=settings, pool_rows=60, progress=False)
    return save_bundle(bundle, folder)


def work_folder(name: str) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder; it is removed when its `with` block ends."""
    return tempfile.TemporaryDirectory(prefix=f"hsrl-{name}-")
