"""A table whose columns are declared once, and its forms: Markdown, CSV, terminal, HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hsrl_agent.evaluation.report.text import to_html, to_plain
from hsrl_agent.evaluation.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table as RichTable

Line = TypeVar("Line")
Cell = Interval | float | str | None


@dataclass(frozen=True)
class Column(Generic[Line]):
    """One column.

    Attributes:
        name: in CSV; an interval becomes NAME_mean, NAME_low, NAME_high.
        heading: for people, with the unit.
        value: from a line to its cell; None for an empty one. A text may hold `code` and **strong**.
        digits: after the point.
        signed: whether positive numbers have a plus.
        always: whether the column is shown even where all of its cells are empty.
        only_csv: whether people are not shown it.
        optional: whether a terminal that is too narrow leaves it out.
        words: whether its cells are texts that may be broken into lines.
    """

    name: str
    heading: str
    value: Callable[[Line], Cell]
    digits: int = 2
    signed: bool = False
    always: bool = False
    only_csv: bool = False
    optional: bool = False
    words: bool = False

    def text(self, line: Line) -> str:
        """Return the cell of a line for people."""
        cell = self.value(line)
        if isinstance(cell, Interval):
            return cell.text(self.digits, self.signed)
        if isinstance(cell, str) or cell is None:
            return cell or ""
        return f"{cell:{'+' if self.signed else ','}.{self.digits}f}"

    def data(self, line: Line) -> dict[str, Any]:
        """Return the cell of a line as plain columns, all digits."""
        cell = self.value(line)
        return {self.name: cell} if not isinstance(cell, Interval) else _ends(self.name, cell)


@dataclass(frozen=True)
class Table(Generic[Line]):
    """Lines under declared columns; the first column that is shown holds names.

    Attributes:
        title: above the table.
        columns: in their order.
        lines: what each column takes its cell from.
        leading: which lines stand out, for instance HSRL's.
        notes: below the table, a sentence or two each.
    """

    title: str
    columns: Sequence[Column[Line]]
    lines: Sequence[Line]
    leading: Callable[[Line], bool] = lambda line: False
    notes: Sequence[str] = ()

    def shown(self) -> list[Column[Line]]:
        """Return the columns that people are shown: those with anything in them."""
        return [
            column
            for column in self.columns
            if not column.only_csv and (column.always or any(map(column.text, self.lines)))
        ]

    def markdown(self) -> str:
        """Return it as Markdown, without title and notes."""
        columns = self.shown()
        rows = [[column.heading for column in columns]]
        rows += [[column.text(line) for column in columns] for line in self.lines]
        head, *body = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
        rule = ["---" if column.words or place == 0 else "---:" for place, column in enumerate(columns)]
        return "\n".join([head, f"| {' | '.join(rule)} |", *body])

    def frame(self) -> pd.DataFrame:
        """Return all columns with all digits as a pandas DataFrame, a row a line.

        A column that holds an interval in any line has its three ends in all of them.
        """
        import pandas as pd  # takes half a second, which those who only read a table need not wait for

        rows: list[dict[str, Any]] = [{} for _ in self.lines]
        for column in self.columns:
            cells = [column.value(line) for line in self.lines]
            spread = any(isinstance(cell, Interval) for cell in cells)
            for row, line, cell in zip(rows, self.lines, cells, strict=True):
                row |= _ends(column.name, None) if spread and cell is None else column.data(line)
        return pd.DataFrame(rows)

    def rich(self, width: int) -> RichTable:
        """Return it for a terminal of `width` columns.

        Where it is too wide, headings are broken, then intervals take a line of their own, then optional columns are
        left out.
        """
        from rich.table import Table as RichTable
        from rich.text import Text

        columns, form, widths = self._fitted(width)
        table = RichTable(title=Text(self.title, style="bold"), title_justify="left")
        for place, (column, room) in enumerate(zip(columns, widths, strict=True)):
            justify: Any = "left" if column.words or place == 0 else "right"
            table.add_column(Text(textwrap.fill(column.heading, room)), justify=justify)
        for line in self.lines:
            cells = (Text(form(to_plain(column.text(line)))) for column in columns)
            table.add_row(*cells, style="bold" if self.leading(line) else None)
        return table

    def _fitted(self, width: int) -> tuple[list[Column[Line]], Callable[[str], str], list[int]]:
        """Return the columns that fit, the form of their cells, and the widths of the columns."""
        columns = self.shown()
        for form, headings in ((str, _whole), (str, str.split), (_folded, str.split)):
            widths = [self._width(column, form, headings) for column in columns]
            if sum(widths) + 3 * len(widths) + 1 <= width:
                return columns, form, widths
        columns = [column for column in columns if not column.optional]
        return columns, _folded, [self._width(column, _folded, str.split) for column in columns]

    def _width(self, column: Column[Line], form: Callable[[str], str], parts: Callable[[str], list[str]]) -> int:
        """Return how wide a column is: its longest cell, or part of its heading that is not broken."""
        cells = (form(to_plain(column.text(line))) for line in self.lines)
        return max(map(len, [*parts(column.heading), *(part for cell in cells for part in cell.split("\n"))]))

    def html(self) -> str:
        """Return it as an HTML table, without title and notes."""
        columns = self.shown()
        head = "".join(f"<th{_kind(column)}>{to_html(column.heading)}</th>" for column in columns)
        body = "\n".join(
            f"<tr{' class=leading' if self.leading(line) else ''}>"
            + "".join(f"<td{_kind(column)}>{_html_cell(column, line)}</td>" for column in columns)
            + "</tr>"
            for line in self.lines
        )
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _ends(name: str, cell: Interval | None) -> dict[str, Any]:
    return {f"{name}_{end}": getattr(cell, end, None) for end in ("mean", "low", "high")}


def _folded(text: str) -> str:
    """Return a mean above its interval."""
    return text.replace(" [", "\n[")


def _whole(heading: str) -> list[str]:
    return [heading]


def _kind(column: Column[Line]) -> str:
    return " class=words" if column.words else ""


def _html_cell(column: Column[Line], line: Line) -> str:
    text = to_html(column.text(line))
    if isinstance(column.value(line), Interval):
        mean, _, ends = text.partition(" ")
        return f"<span class=mean>{mean}</span> <small>{ends}</small>"
    return text
