"""What a large catalog costs before anybody learns: building its bundle, opening it, making the environment, a change.

    python benchmarks/scale_bundles.py --sizes 1000,10000,100000,1000000

The log of each size is synthetic (the ML-1M shape with that many items, 60,000 slates). Each size has a process of its
own, whose peak memory is that of the whole road from log to environment. Seconds are those of the clock, and in
parentheses those of the processor, which other programs do not add to.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hsrl_agent.evaluation.options import Parser, folder, whole_number, whole_numbers
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.terminal import make_console, run_command, say

if TYPE_CHECKING:
    from hsrl_gym.users.fit import FitSettings

SIZES = (1_000, 10_000, 100_000, 1_000_000)
VOCABULARY = 128  # 2 million SIDs
SLATES = 60_000
N_USERS = 32
CHANGED = 1_000  # items that leave and arrive in a change; a tenth of smaller catalogs
REPEATS = 5
STAGES = {
    "log": "Log",
    "build": "Bundle from the log",
    "save": "Save",
    "open": "Open",
    "make": "Make the environment",
    "step": f"Step of {N_USERS} users",
    "change": "Catalog change",
}


@dataclass
class Cost:
    """What a catalog of one size costs.

    Attributes:
        n_items: N.
        clock, processor: seconds by stage.
        peak_gigabytes: of memory, of the whole process.
        bundle_megabytes: on disk.
        held_out: log-loss of the `train` user on the latest 20% of the log.
    """

    n_items: int
    clock: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    peak_gigabytes: float = 0.0
    bundle_megabytes: float = 0.0
    held_out: float = 0.0

    @contextmanager
    def stage(self, name: str, repeats: int = 1) -> Iterator[None]:
        """Time the block."""
        clock, processor = time.perf_counter(), time.process_time()
        yield
        self.clock[name] = (time.perf_counter() - clock) / repeats
        self.processor[name] = (time.process_time() - processor) / repeats
        print(f"  {self.n_items:,} items, {name}: {self.clock[name]:.2f} s", file=sys.stderr, flush=True)


def measure(n_items: int, out: Path, settings: FitSettings | None = None) -> Cost:
    """Build a bundle of `n_items`, open it, and play and change its catalog; the bundle stays in `out`.

    The users are fitted with `settings`, None for the defaults.
    """
    import gymnasium
    import numpy as np

    from hsrl_gym.bundle.build import build_bundle
    from hsrl_gym.bundle.folder import load_bundle, save_bundle
    from hsrl_gym.envs.synthetic_log import write_log
    from hsrl_gym.users.synthetic import SyntheticWorld

    cost, place = Cost(n_items), out / "bundles" / f"ml1m-{n_items}"
    with cost.stage("log"):
        log = write_log(SyntheticWorld(f"ml1m-{n_items}"), SLATES)
    with cost.stage("build"):
        bundle = build_bundle(log, vocabulary=VOCABULARY, settings=settings)
    cost.held_out = float(bundle.fidelity["train"]["log_loss"])
    place.parent.mkdir(parents=True, exist_ok=True)
    with cost.stage("save"):
        save_bundle(bundle, place)
    del log, bundle
    with cost.stage("open"):
        opened = load_bundle(place)
    with cost.stage("make"):
        envs = gymnasium.make_vec(
            "HSRL-Bundle-v0", num_envs=N_USERS, vectorization_mode="vector_entry_point", bundle=opened
        )
        envs.reset(seed=0)
    envs.action_space.seed(0)
    with cost.stage("step", REPEATS):
        for _ in range(REPEATS):
            envs.step(envs.action_space.sample())
    catalog, generator = envs.unwrapped.catalog, np.random.default_rng(0)  # type: ignore[attr-defined]
    n_changed = min(CHANGED, n_items // 10)
    catalog.change(retire=generator.choice(catalog.live_items, n_changed, replace=False))
    with cost.stage("change", REPEATS):
        for _ in range(REPEATS):
            waiting = np.flatnonzero(~catalog.is_live)[1:]
            catalog.change(generator.choice(catalog.live_items, n_changed, replace=False), waiting)
    cost.peak_gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    cost.bundle_megabytes = sum(file.stat().st_size for file in place.iterdir()) / 1e6
    return cost


def measured_elsewhere(n_items: int, out: Path) -> Cost:
    """Return the cost as a process of its own has measured it."""
    command = [sys.executable, __file__, "--one", str(n_items), "--out", str(out)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Cost(**json.loads(answer.splitlines()[-1]))


def table(costs: Sequence[Cost], title: str) -> Table[Cost]:
    """Return the costs as a table."""
    columns: list[Column[Cost]] = [Column("items", "Items", lambda cost: cost.n_items, digits=0)]
    columns += [
        Column(name, f"{label}, s", lambda cost, name=name: f"{cost.clock[name]:.3g} ({cost.processor[name]:.3g})")  # type: ignore[misc]
        for name, label in STAGES.items()
    ]
    columns += [
        Column("peak", "Peak memory, GB", lambda cost: cost.peak_gigabytes, digits=1),
        Column("disk", "Bundle, MB", lambda cost: cost.bundle_megabytes, digits=0),
        Column("held_out", "Held-out log-loss", lambda cost: cost.held_out, digits=3),
    ]
    return Table(title, tuple(columns), costs)


def run(options: argparse.Namespace) -> int:
    """Measure, print the table and write it; return 0."""
    if options.one:
        print(json.dumps(asdict(measure(options.one, options.out))))
        return 0
    from hsrl_agent.evaluation.provenance import device_name, git_commit, versions
    from hsrl_agent.files import write_text

    costs = [measured_elsewhere(n_items, options.out) for n_items in options.sizes]
    commit = (git_commit() or "unknown")[:8]
    title = f"{device_name('cpu')}; {SLATES:,} slates, V = {VOCABULARY}; torch {versions()['torch']}; commit {commit}"
    made = table(costs, title)
    write_text(options.out / "scale_bundles.md", f"# Cost of a bundle\n\n{title}\n\n{made.markdown()}\n")
    write_text(options.out / "scale_bundles.csv", made.frame().to_csv(index=False))
    console = make_console()
    console.print(made.rich(console.width))
    say(console, f"written: {options.out / 'scale_bundles.md'}, scale_bundles.csv")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = Parser(prog="scale_bundles.py", description="Measure what a bundle costs, against its number of items.")
    add = made.add_argument
    add("--sizes", type=whole_numbers, default=SIZES, metavar="N,..", help="items (1000,10000,100000,1000000)")
    add("--one", type=whole_number, metavar="N", help="measure one size in this process, and print JSON")
    add("--out", type=folder, default=Path("results/scale"), metavar="DIR", help="folder (results/scale)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    return run_command("scale_bundles.py", lambda: run(parser().parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
