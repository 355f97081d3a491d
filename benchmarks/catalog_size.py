"""Total Reward against the size of the catalog: the same population, the same log, more and more items.

    python benchmarks/catalog_size.py --items 300,1000,3000,10000 --methods sl,a2c-log,hac,hsrl

Each catalog is a `SyntheticWorld` of the ML-1M shape, whose users are learned from a log of the same length, so that an
item is seen the less often the more of them there are. Bundles and finished runs are kept in OUT; the same command goes
on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compare import make_console, say
from configuration import read_settings, settings_for
from display import make_display
from figures import draw_legend, looks_of, new_figure, spread, thousands, tidy, write_png
from hsrl_gym.build import build_bundle
from hsrl_gym.bundle import save_bundle
from hsrl_gym.data.synthetic import WORLDS, SyntheticWorld
from hsrl_gym.errors import HsrlError
from plan import Parser, checked_methods, cost, listed, n_cores, whole, whole_number
from report import markdown_table, write_rows
from results import Row, interval, label, read_rows, sort_methods, write_text
from spec import RunSpec
from workers import run_all, write_details

ENV, SHAPE = "HSRL-ML1M-v0", "ml1m"
METHODS = ("oracle", "sl", "a2c", "a2c-log", "hac", "hsrl")
SIZES = (300, 1_000, 3_000, 10_000)


@dataclass(frozen=True)
class Sizes:
    """What is to be run: `specs` of all sizes, on `jobs` processes, into `out`."""

    specs: tuple[RunSpec, ...]
    out: Path
    jobs: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 1 if a run failed; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    console = make_console()
    try:
        plan = make_sizes(parser().parse_args(arguments))
        keys = {spec.key(): spec for spec in plan.specs}
        found, complaints = read_rows(plan.out)
        for line in complaints:
            say(console, line)
        todo = [spec for key, spec in keys.items() if key not in found]
        costs = {spec.name: cost(spec) for spec in todo}
        with make_display(console, costs) as display:
            ends = run_all(sorted(todo, key=cost, reverse=True), plan.out, plan.jobs, n_cores() // plan.jobs, display)
        failed = [end for end in ends if end.row is None]
        rows = [row for key, row in read_rows(plan.out)[0].items() if key in keys]
        for path in (*write_all(rows, plan.out), *write_details(plan.out, todo, failed)):
            say(console, f"written: {path}")
        say(console, (plan.out / "catalog_size.md").read_text(encoding="utf-8"))
        return 1 if failed else 0
    except (HsrlError, OSError) as error:
        print(f"catalog_size.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("catalog_size.py: interrupted; what is finished is kept, the same command goes on.", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = Parser(prog="catalog_size.py", description="Learn and score in catalogs of several sizes.")
    add = made.add_argument
    add("--items", metavar="N,..", help=f"sizes of the catalog ({','.join(map(str, SIZES))})")
    add("--methods", metavar="NAME,..", help=f"({','.join(METHODS)})")
    add("--seeds", metavar="N,..", help="(0,1)")
    add("--steps", metavar="N", help="user-steps to learn from (9600)")
    add("--episodes", metavar="N", help="sessions that score a run (500)")
    add("--slates", metavar="N", help="logged slates of each population (60000)")
    add("--jobs", metavar="N", help="processes (as many as there are cores)")
    add("--out", type=Path, default=Path("results/catalog_size"), help="folder (results/catalog_size)")
    return made


def make_sizes(options: argparse.Namespace) -> Sizes:
    """Return the runs that were asked for, their bundles made.

    Raises:
        HsrlError: for anything that cannot be run as it stands.
    """
    sizes = listed("--items", options.items, SIZES, whole)
    methods = checked_methods(listed("--methods", options.methods, METHODS, str))
    seeds = listed("--seeds", options.seeds, (0, 1), whole)
    steps = whole_number("--steps", options.steps, 9_600)
    episodes = whole_number("--episodes", options.episodes, 500)
    slates = whole_number("--slates", options.slates, 60_000)
    settings = read_settings()
    least = 4 * WORLDS[SHAPE].slate_size
    if min(sizes) < least:
        raise HsrlError(f"got --items {min(sizes)}, expected at least {least}: slates hold {WORLDS[SHAPE].slate_size}.")
    specs = tuple(
        RunSpec(
            ENV,
            method,
            seed,
            steps,
            str(folder),
            n_eval_episodes=episodes,
            n_checkpoints=1,
            settings=settings_for(settings, method, ENV),
            variant=f"{method} among {size:,} items",
        )
        for size in sizes
        for folder in [_bundle(size, slates, options.out)]
        for method in methods
        for seed in seeds
    )
    return Sizes(specs, options.out, min(whole_number("--jobs", options.jobs, n_cores()), len(specs)))


def _bundle(n_items: int, slates: int, out: Path) -> Path:
    """Return the folder of the bundle of a catalog, made if it is not there."""
    folder = out / "bundles" / f"{n_items}x{slates}"
    if not (folder / "bundle.yaml").is_file():
        world = SyntheticWorld(replace(WORLDS[SHAPE], name=f"{SHAPE}-{n_items}", n_items=n_items))
        save_bundle(build_bundle(world.write_log(slates)), folder)
    return folder


def write_all(rows: Sequence[Row], out: Path) -> list[Path]:
    """Write rows, table and picture; return their files."""
    cells = cells_of(rows)
    sizes = sorted({size for sizes in cells.values() for size in sizes})
    lines = [[label(method), *(_interval(found.get(size)) for size in sizes)] for method, found in cells.items()]
    table = markdown_table(["Total Reward [95%]", *(f"{size:,} items" for size in sizes)], lines)
    seeds = sorted({row["seed"] for row in rows})
    note = f"{rows[0]['steps']:,} user-steps for the methods that learn online, seeds {', '.join(map(str, seeds))}, "
    note += f"{rows[0]['n_episodes']} sessions a seed; synthetic data, one population a catalog."
    write_text(out / "catalog_size.md", f"# Total Reward against the size of the catalog\n\n{table}\n\n- {note}\n")
    draw(cells, out / "catalog_size.png")
    return [write_rows(rows, out), out / "catalog_size.md", out / "catalog_size.png"]


def cells_of(rows: Sequence[Row]) -> dict[str, dict[int, list[float]]]:
    """Return the Total Rewards over seeds, by method and size of the catalog."""
    cells: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        cells.setdefault(row["method"], {}).setdefault(size_of(row), []).append(row["total_reward"])
    return {method: cells[method] for method in sort_methods(cells)}


def size_of(row: Row) -> int:
    """Return the number of items of the world that a row's bundle is named after."""
    return int(row["bundle"]["name"].rpartition("-")[2])


def _interval(values: list[float] | None) -> str:
    return interval(values).text() if values else ""


def draw(cells: dict[str, dict[int, list[float]]], path: Path) -> None:
    """Draw a line a method, over sizes on a logarithmic axis."""
    figure = new_figure(7.0, 4.6)
    axes = figure.subplots()
    looks, handles = looks_of(list(cells)), {}
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
    axes.set_xlabel("items in the catalog")
    axes.set_ylabel("Total Reward, held-out user")
    tidy(axes)
    draw_legend(figure, handles)
    write_png(figure, path)


if __name__ == "__main__":
    sys.exit(main())
