"""Table 3 and Figure 5 in numbers: HSRL with something changed, against HSRL as it is, seed by seed."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hsrl_agent.hsrl import HSRL
from report import caption, markdown_table, short
from results import REFERENCE, Row, Summary, label, line_of, summarise, write_text

# Table 3 of the paper: change of Total Reward and of Depth in percent.
PAPER_CHANGES = {
    "w/o entropy": (-20.7, -17.1),
    "w/o hierarchical policy": (-17.3, -14.4),
    "w/o BC": (-8.6, -7.3),
    "w/o multi-level critic": (-12.8, -10.1),
}
TITLES = {"table3": "Table 3", "figure5": "Figure 5"}
_FULL = "HSRL (full)"
_MAX_COLUMNS = 7  # that a terminal of 120 characters shows without breaking numbers


def study_table(what: str, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return heading and lines: each variant's scores, its change to HSRL paired by seed, and the paper's change.

    Where the true user is known, the change by that user stands beside.
    """
    summaries = summarise(rows)
    true_user = any(summary.true_reward for summary in summaries)
    heading = ["Variant", "Total Reward [95%]", "Depth [95%]", "change of reward [95%]", "%", "P(HSRL better)"]
    heading += ["true user [95%]", "change [95%]"] if true_user else []
    heading += ["paper: reward % / depth %"] if what == "table3" else []
    envs = list(dict.fromkeys(summary.env for summary in summaries))
    lines = []
    for summary in [*(s for s in summaries if s.method == REFERENCE), *(s for s in summaries if s.method != REFERENCE)]:
        name = _FULL if summary.method == REFERENCE else label(summary.method)
        line = [name if len(envs) == 1 else f"{short(summary.env)}: {name}", *_scores(summary)]
        line += _change(summary, summaries)
        line += _true_scores(summary) if true_user else []
        line += [_paper(summary.method)] if what == "table3" else []
        lines.append(line)
    return heading, lines


def _scores(summary: Summary) -> list[str]:
    return [summary.total_reward.text(), summary.depth.text()]


def _change(summary: Summary, summaries: Sequence[Summary]) -> list[str]:
    pair, better = summary.reward_to_reference, summary.reference_better
    if pair is None or better is None:
        return ["", "", ""]
    full = next(one for one in summaries if (one.env, one.method) == (summary.env, REFERENCE))
    return [pair.text(signed=True), f"{100 * pair.mean / full.total_reward.mean:+.1f}", f"{better:.2f}"]


def _true_scores(summary: Summary) -> list[str]:
    reward, change = summary.true_reward, summary.true_to_reference
    return [reward.text() if reward else "", change.text(signed=True) if change else ""]


def _paper(variant: str) -> str:
    changes = PAPER_CHANGES.get(variant)
    return f"{changes[0]:+.1f} / {changes[1]:+.1f}" if changes else ""


def write_study_table(what: str, rows: Sequence[Row], out: Path, asked: dict[str, list[int]]) -> Path:
    """Write the table as Markdown and return its file."""
    notes = "\n".join(f"- {line}" for line in caption(rows, summarise(rows), asked))
    text = f"# {TITLES[what]}\n\n{markdown_table(*study_table(what, rows))}\n\n{notes}\n"
    write_text(out / f"{what}.md", text)
    return out / f"{what}.md"


def print_study(what: str, console: Console, rows: Sequence[Row], asked: dict[str, list[int]]) -> None:
    """Print the table, without Depth where the true user stands in it, and what has to be known to read it."""
    heading, lines = study_table(what, rows)
    if len(heading) > _MAX_COLUMNS:  # it is in the file
        depth = heading.index("Depth [95%]")
        heading, *lines = [line[:depth] + line[depth + 1 :] for line in (heading, *lines)]
    envs = ", ".join(dict.fromkeys(row["env"] for row in rows))
    table = Table(title=f"{envs} ({TITLES[what]})", title_justify="left", title_style="bold")
    for column, name in enumerate(heading):
        table.add_column(_broken(name), justify="right" if column else "left")
    for line in lines:
        table.add_row(*map(_broken, line), style="bold" if _FULL in line[0] else None)
    console.print(table)
    for text in caption(rows, summarise(rows), asked):
        console.print(f"- {text.replace('**', '')}", markup=False, highlight=False)


def _broken(cell: str) -> str:
    """Return a cell for rich, an interval on a line of its own."""
    return cell.replace(" [", "\n[").replace("[", r"\[")


def groups_of(rows: Sequence[Row], column: str) -> dict[str, list[tuple[float, list[float]]]]:
    """Return, for each panel of Figure 5, the values that were tried in order, with a column's numbers over seeds.

    Variants are named "panel = value"; HSRL as it is stands in every panel, at its own value.
    """
    full = [row for row in rows if line_of(row) == REFERENCE]
    groups: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        panel, sign, value = line_of(row).partition(" = ")
        if sign:
            groups.setdefault(panel, {}).setdefault(float(value), []).append(row[column])
    for panel, values in groups.items():
        for row in full:
            values.setdefault(_own_value(panel, row), []).append(row[column])
    return {panel: sorted(values.items()) for panel, values in groups.items()}


def _own_value(panel: str, row: Row) -> float:
    """Return what HSRL as it is has of what a panel changes."""
    vocabulary = row["codebook"]["vocabulary"]
    if panel == "vocabulary":
        return float(vocabulary[0])
    if panel == "levels":
        return float(len(vocabulary))
    setting = panel.replace(" ", "_")
    return float(row["settings"].get(setting, inspect.signature(HSRL).parameters[setting].default))
