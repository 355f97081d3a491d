"""What each table and figure of compare.py writes and prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from catalog_report import WHAT, catalog_text, write_catalog_report
from html_report import write_html
from paper_figures import WEIGHTS, draw_mlc_weights, draw_sensitivity, level_panels
from report import print_tables, write_rows, write_table2
from results import Row
from study_report import groups_of, print_study, write_study_table

Asked = dict[str, list[int]]


def write_report(what: str, rows: Sequence[Row], out: Path, asked: Asked) -> list[Path]:
    """Write the tables and pictures of `what` was asked for, with the rows as JSON lines; return the files.

    Args:
        what: "table2", "table3", "figure5", "figure6" or "catalog_size".
        rows: of the finished runs.
        out: folder.
        asked: the seeds that were asked for in each environment, so that missing runs are told.
    """
    files = [write_rows(rows, out)]
    if what == WHAT:
        files += write_catalog_report(rows, out)
    if what == "table2":
        files += [*write_table2(rows, out, asked), write_html(rows, out, asked)]
    if what in ("table3", "figure5"):
        files.append(write_study_table(what, rows, out, asked))
    if what == "figure5":
        rewards, depths = groups_of(rows, "total_reward"), groups_of(rows, "depth")
        draw_sensitivity(rewards, depths, out / "figure5.png")
        files.append(out / "figure5.png")
    if what in ("table2", "figure6") and level_panels(rows, WEIGHTS):
        draw_mlc_weights(rows, out / "figure6.png")
        files.append(out / "figure6.png")
    return files


def print_report(what: str, console: Console, rows: Sequence[Row], asked: Asked) -> None:
    """Print the tables of `what` was asked for."""
    if what in ("table3", "figure5"):
        print_study(what, console, rows, asked)
    elif what == WHAT:
        console.print(catalog_text(rows), markup=False, soft_wrap=True)
    else:
        print_tables(console, rows, asked)
