"""Total Reward against the size of the catalog, the log being as long as ever.

    python benchmarks/catalog_size.py --items 300,1000,3000,10000 --methods sl,a2c-pretrained,hac,hsrl

Each catalog is a `SyntheticWorld` of the ML-1M shape with a population of its own, whose users are learned from a log
of the same length: the more items, the less often each is seen. All sizes have the settings that were tuned on ml1m.
Bundles and finished runs are kept in OUT; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hsrl_agent.evaluation import backend
from hsrl_agent.evaluation.compare import compare
from hsrl_agent.evaluation.options import Parser, folder, names, whole_number, whole_numbers
from hsrl_agent.evaluation.plan import Plan
from hsrl_agent.evaluation.plugins import resolve, sorted_methods
from hsrl_agent.evaluation.settings import choose_settings
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.tasks import short
from hsrl_agent.evaluation.terminal import run_command
from hsrl_gym.bundle.build import build_bundle
from hsrl_gym.bundle.folder import save_bundle
from hsrl_gym.envs.synthetic_log import write_log
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld

ENV, SHAPE = "HSRL-ML1M-v0", "ml1m"
METHODS = ("oracle", "sl", "a2c", "a2c-pretrained", "hac", "hac-pretrained", "hsrl-items", "hsrl")
SIZES = (300, 1_000, 3_000, 10_000)
WHAT = "catalog_size"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 1 if a run failed; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    return run_command("catalog_size.py", lambda: compare(make_plan(parser().parse_args(arguments)), "catalog_size.py"))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = Parser(prog="catalog_size.py", description="Learn and score in catalogs of several sizes.")
    add = made.add_argument
    add(
        "--items",
        type=whole_numbers,
        default=SIZES,
        metavar="N,..",
        help=f"sizes of the catalog ({','.join(map(str, SIZES))})",
    )
    add("--methods", type=names, default=METHODS, metavar="NAME,..", help=f"methods ({','.join(METHODS)})")
    add("--seeds", type=whole_numbers, default=(0, 1), metavar="N,..", help="each one a run (0,1)")
    add("--steps", type=whole_number, default=9_600, metavar="N", help="user-steps to learn from (9600)")
    add("--episodes", type=whole_number, default=500, metavar="N", help="sessions that score a run (500)")
    add("--slates", type=whole_number, default=60_000, metavar="N", help="logged slates of each population (60000)")
    add(
        "--settings",
        default=SHAPE,
        metavar="NAME|FILE",
        help=f"settings of the methods: a tuned file by name or path, or none for the code's defaults ({SHAPE})",
    )
    add("--out", type=folder, default=Path("results") / WHAT, help=f"folder (results/{WHAT})")
    backend.add_arguments(made)
    return made


def make_plan(options: argparse.Namespace) -> Plan:
    """Return the runs that were asked for, their bundles made.

    Raises:
        HsrlError: for an unknown method, or a catalog too small for its slates.
    """
    chosen = backend.chosen(options)
    slate_size = WORLDS[SHAPE].slate_size
    if min(options.items) < 4 * slate_size:
        raise HsrlError(
            f"got --items {min(options.items)}, expected at least {4 * slate_size}: slates hold {slate_size}."
        )
    settings = choose_settings(options.settings, "")
    for method in options.methods:
        resolve(method, settings.of(method))
    folders: dict[int, Path] = {size: options.out / "bundles" / f"{size}x{options.slates}" for size in options.items}
    specs = tuple(
        RunSpec(
            f"{short(ENV)}, {size:,} items",
            ENV,
            method,
            seed,
            options.steps,
            bundle=str(where),
            n_eval_episodes=options.episodes,
            n_checkpoints=1,
            device=options.device,
            settings=settings.of(method),
            protocol_kwargs={"n_items": size},
            settings_name=settings.name,
        )
        for size, where in folders.items()
        for method in sorted_methods(options.methods)
        for seed in options.seeds
    )
    for size, where in folders.items():
        if not (where / "bundle.yaml").is_file():
            save_bundle(build_bundle(write_log(SyntheticWorld(f"{SHAPE}-{size}"), options.slates)), where)
    jobs = chosen.jobs(options.jobs, len(specs))
    return Plan(specs, WHAT, options.out, jobs, (f"settings: {settings.origin}.",), chosen)


if __name__ == "__main__":
    sys.exit(main())
