"""The churn table or figure as one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hsrl_agent.evaluation.report.churn import churn_lines
from hsrl_agent.evaluation.report.headline import Finding
from hsrl_agent.evaluation.report.page import Part, Section, facts, render, shown, svg
from hsrl_agent.evaluation.report.sheet import Sheet
from hsrl_agent.evaluation.report.text import listed, to_plain
from hsrl_agent.evaluation.result import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def churn_page(results: Sequence[RunResult], sheet: Sheet, pictures: Mapping[str, Figure]) -> str:
    """Return the page: what was found, the pictures by their titles, the tables, how to read them."""
    tasks = churn_lines(results)
    findings = [Finding(to_plain(table.title), "", tuple(table.notes[:1])) for table in sheet.tables if table.notes]
    drawn = [("", svg(figure, f"churn-{place}", title)) for place, (title, figure) in enumerate(pictures.items())]
    sections = [
        Section("figure", "Over the days", [Part("wide", drawn)] if drawn else []),
        Section("table", "Table", [Part("tables", shown(sheet.tables))]),
        Section("new", "New items", [Part("tables", shown(sheet.more))] if sheet.more else []),
        Section("how", "How to read it", [Part("notes", list(sheet.notes))]),
    ]
    return render(
        sheet.title,
        f"Slate recommendation on {listed(list(tasks))}",
        sheet.code,
        findings,
        facts(results, tasks),
        sections,
    )
