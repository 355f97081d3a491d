"""Total Reward against the size of the catalog, the log being as long as ever.

    python benchmarks/catalog_size.py --items 300,1000,3000,10000 --methods sl,a2c-log,hac,hsrl

Each catalog is a `SyntheticWorld` of the ML-1M shape with a population of its own, whose users are learned from a log
of the same length, so that an item is seen the less often the more of them there are. All sizes have the settings of
HSRL-ML1M-v0. Bundles and finished runs are kept in OUT; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from catalog_report import WHAT
from compare import compare
from configuration import read_settings, settings_for
from hsrl_gym.bundle.build import build_bundle
from hsrl_gym.bundle.folder import save_bundle
from hsrl_gym.envs.synthetic_log import write_log
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld
from plan import Parser, Plan, checked_methods, listed, n_cores, whole, whole_number
from spec import RunSpec
from terminal import run_command

ENV, SHAPE = "HSRL-ML1M-v0", "ml1m"
METHODS = ("oracle", "sl", "a2c", "a2c-log", "hac", "hac-log", "hsrl-items", "hsrl")
SIZES = (300, 1_000, 3_000, 10_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 1 if a run failed; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    return run_command("catalog_size.py", lambda: compare(make_plan(parser().parse_args(arguments))))


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
    add("--out", type=Path, default=Path("results") / WHAT, help=f"folder (results/{WHAT})")
    return made


def make_plan(options: argparse.Namespace) -> Plan:
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
    jobs = whole_number("--jobs", options.jobs, n_cores())
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
            str(options.out / "bundles" / f"{size}x{slates}"),
            n_eval_episodes=episodes,
            n_checkpoints=1,
            settings=settings_for(settings, method, ENV),
            variant=f"{method} among {size:,} items",
        )
        for size in sizes
        for method in methods
        for seed in seeds
    )
    for size in sizes:
        _make_bundle(size, slates, options.out / "bundles" / f"{size}x{slates}")
    jobs = min(jobs, len(specs))
    return Plan(specs, WHAT, options.out, jobs, max(1, n_cores() // jobs), ())


def _make_bundle(n_items: int, slates: int, folder: Path) -> None:
    """Make the bundle of a catalog, if it is not there."""
    if not (folder / "bundle.yaml").is_file():
        save_bundle(build_bundle(write_log(SyntheticWorld(f"{SHAPE}-{n_items}"), slates)), folder)


if __name__ == "__main__":
    sys.exit(main())
