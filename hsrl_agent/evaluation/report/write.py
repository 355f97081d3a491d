"""What each kind of comparison writes into its folder, and prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hsrl_agent.evaluation import churn_days, churn_table
from hsrl_agent.evaluation.report.catalog import SIZE, catalog_figure, catalog_sheet
from hsrl_agent.evaluation.report.churn import churn_sheet
from hsrl_agent.evaluation.report.churn_days import days_figure, days_sheet
from hsrl_agent.evaluation.report.churn_page import churn_page
from hsrl_agent.evaluation.report.curves import SECONDS, STEPS, curve_figure
from hsrl_agent.evaluation.report.figures import write_png
from hsrl_agent.evaluation.report.grouping import group
from hsrl_agent.evaluation.report.levels import WEIGHTS, levels_figure, with_levels
from hsrl_agent.evaluation.report.page import page
from hsrl_agent.evaluation.report.sensitivity import sensitivity_figure
from hsrl_agent.evaluation.report.sheet import Sheet
from hsrl_agent.evaluation.report.study import groups_of, study_sheet
from hsrl_agent.evaluation.report.table2 import table2_sheet
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.files import write_text
from hsrl_gym.errors import HsrlError, unknown_name

if TYPE_CHECKING:
    from rich.console import Console

KINDS = ("table2", "table3", "figure5", "figure6", "catalog_size", "churn", "churn_days")
PROTOCOLS = {churn_table.PROTOCOL: "churn", churn_days.PROTOCOL: "churn_days"}
CURVES = {"learning_curves.png": STEPS, "learning_curves_seconds.png": SECONDS}  # picture: its horizontal axis
PAGE, LEVELS_PICTURE = "report.html", "figure6.png"
Asked = Mapping[str, Sequence[int]]


def kind_of(results: Sequence[RunResult]) -> str:
    """Return which of `KINDS` finished runs are, so that they can be drawn again without being told.

    It is what their comparison has noted. Runs of several kinds, or without a note, are known by what sets them apart.
    """
    noted = {result.kind for result in results}
    if len(noted) == 1 and noted <= set(KINDS):
        return noted.pop()
    specs = [result.spec for result in results]
    if any(SIZE in spec.protocol_kwargs for spec in specs):
        return "catalog_size"
    for protocol, kind in PROTOCOLS.items():
        if any(spec.protocol == protocol for spec in specs):
            return kind
    if any("panel" in spec.protocol_kwargs for spec in specs):
        return "figure5"
    return "table3" if any(spec.variant for spec in specs) else "table2"


def write_report(results: Sequence[RunResult], out: Path, what: str, asked_seeds: Asked | None = None) -> list[Path]:
    """Write tables, pictures and, for Table 2 and churn, the page; return the files.

    Args:
        results: the finished runs.
        out: folder.
        what: one of `KINDS`.
        asked_seeds: the seeds that were asked for in each task, so that missing runs are told.

    Raises:
        HsrlError: for another kind, or without results.
    """
    sheet = sheet_of(results, what, asked_seeds)
    files = []
    if what != "figure6":
        for ending, text in (("md", sheet.markdown()), ("csv", sheet.csv())):
            write_text(out / f"{what}.{ending}", text)
            files.append(out / f"{what}.{ending}")
    files += _pictures(results, out, what)
    if what == "table2":
        write_text(out / PAGE, page(results, asked_seeds))
        files.append(out / PAGE)
    if what in PROTOCOLS.values():
        pictures = {"Total Reward over the days": days_figure(results)} if what == "churn_days" else {}
        write_text(out / PAGE, churn_page(results, sheet, pictures))
        files.append(out / PAGE)
    return files


def _pictures(results: Sequence[RunResult], out: Path, what: str) -> list[Path]:
    """Write the pictures of a kind and return their files."""
    tasks = group(results)
    lines = [line for own in tasks.values() for line in own]
    files = []
    if what == "table2":
        files += [write_png(curve_figure(tasks, against), out / name) for name, against in CURVES.items()]
    if what in ("table2", "figure6") and (what == "figure6" or with_levels(lines, WEIGHTS)):
        files.append(write_png(levels_figure(lines, WEIGHTS), out / LEVELS_PICTURE))
    if what == "figure5":
        rewards, depths = (
            groups_of(results, number) for number in (lambda run: run.score.total_reward, lambda run: run.score.depth)
        )
        files.append(write_png(sensitivity_figure(rewards, depths), out / "figure5.png"))
    if what == "catalog_size":
        files.append(write_png(catalog_figure(results), out / "catalog_size.png"))
    if what == "churn_days":
        files.append(write_png(days_figure(results), out / "churn_days.png"))
    return files


def sheet_of(results: Sequence[RunResult], what: str, asked_seeds: Asked | None = None) -> Sheet:
    """Return the tables of a kind with their notes.

    Raises:
        HsrlError: for another kind, or without results.
    """
    if what not in KINDS:
        raise unknown_name("kind of report", what, KINDS)
    if not results:
        raise HsrlError("got no finished run, expected at least one; run the comparison first.")
    if what in ("table3", "figure5"):
        return study_sheet(what, results, asked_seeds)
    if what == "catalog_size":
        return catalog_sheet(results)
    if what in PROTOCOLS.values():
        return churn_sheet(results, asked_seeds) if what == "churn" else days_sheet(results, asked_seeds)
    return table2_sheet(results, asked_seeds)


def print_report(console: Console, results: Sequence[RunResult], what: str, asked_seeds: Asked | None = None) -> None:
    """Print the tables of a kind with their notes; arguments and errors as those of `write_report`."""
    sheet_of(results, what, asked_seeds).print(console)
