"""The tables of `throughput.py` for people, and its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from results import write_text
from throughput import FULL_ENVS, FULL_ITERATIONS, FULL_SEEDS

Result = dict[str, Any]


def print_measurements(console: Console, found: Result) -> None:
    """Print start, steps and training, the roofline of the steps, and what a full table costs."""
    machine, measurements = found["machine"], found["measurements"]
    if not measurements:
        return
    against = any("there" in one for one in measurements.values())
    table = Table(title=f"{machine['device']}, {machine['cores']} cores; torch {machine['versions']['torch']}")
    for name in ("", "threads", "here: best (median round)", *(("there", "ratio") if against else ())):
        table.add_column(name, justify="left" if not name else "right")
    for name, one in measurements.items():
        cells = [name, str(one["threads"]), _speed_text(one["here"])]
        if against:
            cells += [_speed_text(one["there"]), f"{one['ratio']:.2f} x"]
        table.add_row(*cells)
    console.print(table)
    for name, one in measurements.items():
        if "roofline" in one["here"]:
            step, roof = one["here"]["steps"]["median"], one["here"]["roofline"]["median"]
            console.print(
                f"{name}: the user model alone answers {roof:,.0f} user-steps/s on the same tensors; the step reaches "
                f"{step / roof:.0%} of it. The environment's own share of a step: {one['here']['own_share']:.0%}.",
                soft_wrap=True,
            )
    _print_cost(console, measurements, against)


def _speed_text(result: Result) -> str:
    if "make" in result:
        names = {"import_torch": "torch", "import_hsrl_gym": "+ hsrl_gym", "make": "+ make"}
        return ", ".join(f"{label} {result[name]:.2f} s" for name, label in names.items())
    unit = "steps" if "steps" in result else "iterations"
    return f"{result[unit]['best']:,.0f} ({result[unit]['median']:,.0f}) {unit}/s"


def _print_cost(console: Console, measurements: Result, against: bool) -> None:
    """Print what the learning of one table costs, for the methods that were timed."""
    methods = [name.removeprefix("train ") for name in measurements if name.startswith("train ")]
    if not methods:
        return
    for side in ("here", "there")[: 1 + against]:
        rates = [measurements[f"train {method}"][side]["iterations"]["median"] for method in methods]
        hours = sum(FULL_ENVS * FULL_SEEDS * FULL_ITERATIONS / rate / 3600 for rate in rates)
        console.print(
            f"{side}: the learning of a full table ({', '.join(methods)}; {FULL_ENVS} environments, {FULL_SEEDS} "
            f"seeds, {FULL_ITERATIONS:,} iterations) costs {hours:.1f} core-hours.",
            soft_wrap=True,
        )


def print_profiles(console: Console, profiles: Result) -> None:
    """Print the operations that take most of the time."""
    for name, profile in profiles.items():
        table = Table(
            title=f"{name}: {profile['calls']:,.0f} torch operations, outside of them {profile['outside_torch']:.0%}"
        )
        for title in ("operation", "calls", "share of the time"):
            table.add_column(title, justify="left" if title == "operation" else "right")
        for one in profile["operations"]:
            table.add_row(one["name"], f"{one['calls']:,.0f}", f"{one['share']:.1%}")
        console.print(table)


def print_growth(console: Console, growth: Result) -> None:
    """Print a table for each sweep, and which term bounds it."""
    from growth import AXES

    for axis in (axis for axis in AXES if axis.name in growth):
        rows = growth[axis.name]
        table = Table(title=axis.label, caption=axis.bound)
        has_update = "update_seconds" in rows[0]
        titles = (axis.name, "step, ms", "step, MB", *(("update, ms", "update, MB") if has_update else ()))
        for title in titles:
            table.add_column(title, justify="right")
        for row in rows:
            cells = [f"{row[axis.name]:,}", *_cost_cells(row, "")]
            table.add_row(*cells, *(_cost_cells(row, "update_") if has_update else ()))
        console.print(table)


def _cost_cells(row: Result, prefix: str) -> list[str]:
    mb = row[f"{prefix}mb"]
    return [f"{1e3 * row[f'{prefix}seconds']:.1f}", "?" if mb is None else f"{mb:.1f}"]


def write(found: Result, out: Path) -> list[Path]:
    """Write JSON and, with growth, a picture; return the files."""
    files = [out / "throughput.json"]
    write_text(files[0], json.dumps(found, indent=1) + "\n")
    if found["growth"]:
        from growth import draw_growth

        files.append(out / "growth.png")
        draw_growth(found["growth"], files[1], f"{found['machine']['device']}, {found['machine']['cores']} cores")
    return files
