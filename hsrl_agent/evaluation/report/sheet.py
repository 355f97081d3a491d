"""A sheet: tables with what a reader has to know, as a file, in a terminal and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hsrl_agent.evaluation.report.table import Table
from hsrl_agent.evaluation.report.text import to_plain

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Sheet:
    """Tables of one kind of comparison.

    Attributes:
        title: of all.
        code: the state of the code that the runs come from, in one line.
        tables: for instance one a task.
        more: further tables, for the files; a terminal shows their notes.
        notes: below all tables, one idea each.
    """

    title: str
    code: str
    tables: Sequence[Table[Any]]
    more: Sequence[Table[Any]] = ()
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Return it as a Markdown file; the state of the code is its first line."""
        parts = [self.code, f"# {self.title}"]
        for table in (*self.tables, *self.more):
            parts += [f"## {table.title}", table.markdown(), _bullets(table.notes)]
        if self.notes:
            parts += ["## How to read it", _bullets(self.notes)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def csv(self) -> str:
        """Return the lines of its tables, which share their columns, as CSV with all digits."""
        lines = [line for table in self.tables for line in table.lines]
        return str(replace(self.tables[0], lines=lines).frame().to_csv(index=False))

    def print(self, console: Console) -> None:
        """Print it."""
        _say(console, self.code)
        for table in self.tables:
            console.print(table.rich(console.width))
            for note in table.notes:
                _say(console, f"- {note}")
        for note in (*(note for table in self.more for note in table.notes), *self.notes):
            _say(console, f"- {note}")


def _bullets(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)


def _say(console: Console, text: str) -> None:
    console.print(to_plain(text), markup=False, highlight=False)
