"""A table whose columns are declared once, and its forms: Markdown, CSV, terminal, HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hsrl_agent.evaluation.statistics import Interval

if TYPE_CHECKING:
    import pandas
    from rich.table import Table as RichTable

Line = TypeVar("Line")
Cell = Interval | float | str | None


@dataclass(frozen=True)
class Column(Generic[Line]):
    """One column.

    Attributes:
        name: in CSV; an interval becomes NAME_mean, NAME_low, NAME_high.
        heading: for people.
        value: from a line to its cell; None for an empty one.
        digits: after the point.
        signed: whether positive numbers have a plus.
        always: whether the column is shown even where all of its cells are empty.
        only_csv: whether people are not shown it.
    """

    name: str
    heading: str
    value: Callable[[Line], Cell]
    digits: int = 2
    signed: bool = False
    always: bool = False
    only_csv: bool = False

    def text(self, line: Line) -> str:
        """Return the cell of a line for people."""
        cell = self.value(line)
        if isinstance(cell, Interval):
            return cell.text(self.digits, self.signed)
        if isinstance(cell, str) or cell is None:
            return cell or ""
        return f"{cell:{'+' if self.signed else ''}.{self.digits}f}"

    def data(self, line: Line) -> dict[str, Any]:
        """Return the cell of a line as plain columns, all digits."""
        cell = self.value(line)
        if isinstance(cell, Interval):
            return {f"{self.name}_{end}": getattr(cell, end) for end in ("mean", "low", "high")}
        return {self.name: cell}


@dataclass(frozen=True)
class Table(Generic[Line]):
    """Lines under declared columns; the first column holds names, the others numbers.

    Attributes:
        title: above the table.
        columns: in their order.
        lines: what each column takes its cell from.
        leading: which lines stand out, for instance HSRL's.
    """

    title: str
    columns: Sequence[Column[Line]]
    lines: Sequence[Line]
    leading: Callable[[Line], bool] = lambda line: False

    def shown(self) -> list[Column[Line]]:
        """Return the columns that people are shown: those with anything in them."""
        return [
            column
            for column in self.columns
            if not column.only_csv and (column.always or any(column.text(line) for line in self.lines))
        ]

    def markdown(self) -> str:
        """Return it as Markdown, without the title."""
        columns = self.shown()
        rows = [[column.heading for column in columns], ["---", *["---:"] * (len(columns) - 1)]]
        rows += [[column.text(line) for column in columns] for line in self.lines]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def frame(self) -> pandas.DataFrame:
        """Return all columns with all digits as a pandas DataFrame, a row a line."""
        import pandas

        return pandas.DataFrame(
            [{k: v for column in self.columns for k, v in column.data(line).items()} for line in self.lines]
        )

    def rich(self, width: int) -> RichTable:
        """Return it for a terminal of `width` columns; where it is too narrow an interval takes a line of its own."""
        from rich.table import Table as RichTable
        from rich.text import Text

        columns = self.shown()
        texts = [[column.text(line) for column in columns] for line in self.lines]
        longest = [
            max([len(column.heading), *(len(row[place]) for row in texts)]) for place, column in enumerate(columns)
        ]
        narrow = sum(longest) + 3 * len(columns) + 1 > width
        table = RichTable(title=self.title, title_justify="left", title_style="bold")
        for place, column in enumerate(columns):
            heading = column.heading.replace(" [", "\n[") if narrow else column.heading
            table.add_column(Text(heading), justify="left" if place == 0 else "right")
        for line, row in zip(self.lines, texts, strict=True):
            cells = [text.replace(" [", "\n[") if narrow else text for text in row]
            table.add_row(*map(Text, cells), style="bold" if self.leading(line) else None)
        return table

    def html(self) -> str:
        """Return it as an HTML table, without the title."""
        columns = self.shown()
        head = "".join(f"<th>{html.escape(column.heading)}</th>" for column in columns)
        body = "\n".join(
            f"<tr{' class=leading' if self.leading(line) else ''}>"
            + "".join(f"<td>{_html_cell(column, line)}</td>" for column in columns)
            + "</tr>"
            for line in self.lines
        )
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _html_cell(column: Column[Line], line: Line) -> str:
    text = html.escape(column.text(line))
    if isinstance(column.value(line), Interval):
        mean, _, ends = text.partition(" ")
        return f"<span class=mean>{mean}</span> <small>{ends}</small>"
    return text
