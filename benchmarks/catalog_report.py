"""What `catalog_size.py` writes: Total Reward by the learned and by the true user, against the size of the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import draw_legend, looks_of, new_figure, spread, thousands, tidy, write_png
from report import markdown_table
from results import Row, interval, label, sort_methods, write_text

WHAT = "catalog_size"
Cells = dict[str, dict[int, list[float]]]  # values over seeds, by method and size


def write_catalog_report(rows: Sequence[Row], out: Path) -> list[Path]:
    """Write table and picture; return their files."""
    write_text(out / f"{WHAT}.md", catalog_text(rows))
    _draw(by_size(rows, learned), by_size(rows, true), out / f"{WHAT}.png")
    return [out / f"{WHAT}.md", out / f"{WHAT}.png"]


def learned(row: Row) -> float:
    """Return the Total Reward by the learned user."""
    return float(row["total_reward"])


def true(row: Row) -> float:
    """Return the Total Reward by the true user."""
    return float(row["true_user"]["total_reward"])


def by_size(rows: Sequence[Row], value: Any = learned) -> Cells:
    """Return a value of the rows, by method and by the size of the world that a row's bundle is named after."""
    cells: Cells = {}
    for row in rows:
        size = int(row["bundle"]["name"].rpartition("-")[2])
        cells.setdefault(row["method"], {}).setdefault(size, []).append(value(row))
    return {method: cells[method] for method in sort_methods(cells)}


def catalog_text(rows: Sequence[Row]) -> str:
    """Return both tables as Markdown, with what a reader has to know."""
    seeds = sorted({row["seed"] for row in rows})
    note = (
        f"{rows[0]['steps']:,} user-steps for the methods that learn online, seeds {', '.join(map(str, seeds))}, "
        f"{rows[0]['n_episodes']} sessions a seed. Synthetic data: one population a size, so that sizes differ by more "
        "than size; compare methods within a column."
    )
    parts = [
        "# Total Reward against the size of the catalog",
        _table("by the learned user [95%]", by_size(rows, learned)),
        _table("by the true user [95%]", by_size(rows, true)),
        f"- {note}",
    ]
    return "\n\n".join(parts) + "\n"


def _table(heading: str, cells: Cells) -> str:
    sizes = sorted({size for found in cells.values() for size in found})
    lines = [
        [label(method), *(interval(found[size]).text() if size in found else "" for size in sizes)]
        for method, found in cells.items()
    ]
    return markdown_table([heading, *(f"{size:,} items" for size in sizes)], lines)


def _draw(learned_cells: Cells, true_cells: Cells, path: Path) -> None:
    """Draw a line a method, over sizes on a logarithmic axis, one panel for each user."""
    figure = new_figure(10.0, 4.8)
    looks, handles = looks_of(list(learned_cells)), {}
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, cells in zip(panels, ("learned user", "true user"), (learned_cells, true_cells), strict=True):
        for method, found in cells.items():
            sizes = sorted(found)
            mean, low, high = spread(found[size] for size in sizes)
            colour, marker = looks[method]
            (handles[label(method)],) = axes.plot(sizes, mean, color=colour, marker=marker, linewidth=1.6)
            axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_xscale("log")
        ticks = sorted({size for found in cells.values() for size in found})
        axes.set_xticks(ticks, [thousands(size) for size in ticks])
        axes.minorticks_off()
        axes.set_title(title)
        axes.set_xlabel("items in the catalog")
        tidy(axes)
    panels[0].set_ylabel("Total Reward")
    draw_legend(figure, handles)
    write_png(figure, path)
