"""Measure how fast environments and agents are on this machine: steps, updates and whole iterations a second.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --device cuda --batches 32,2048,65536
    PYTHONPATH=../other-checkout python benchmarks/throughput.py     # the same measurements of another checkout

Machines are noisy, by a factor of two within a minute. Compare two checkouts only when run in turn, several times.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsrl_agent.evaluation.terminal import make_console, run_command, say
from hsrl_gym.errors import HsrlError, open_device, unknown_name

if TYPE_CHECKING:
    from hsrl_agent.evaluation.report.table import Table

METHODS = ("hsrl-scratch", "a2c", "hsrl-paper")
N_ENVS = 32  # users at once while an agent learns, as in the tables
UPDATED = "hsrl-scratch"  # whose update is timed alone; it has no pretraining to wait for


@dataclass(frozen=True)
class Speed:
    """One measurement.

    Attributes:
        what: is measured.
        size: users, or transitions of an update's batch.
        unit: of work: "user-steps", "updates" or "iterations".
        best, median: units of work a second, in the fastest round and in the median one.
    """

    what: str
    size: int
    unit: str
    best: float
    median: float


def rounds(action: Callable[[], Any], seconds: float, least: int = 5) -> list[float]:
    """Return the sorted seconds of each call of `action`, called for about `seconds` and at least `least` times.

    One call before them does not count.
    """
    action()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < least or time.perf_counter() < end:
        before = time.perf_counter()
        action()
        taken.append(time.perf_counter() - before)
    return sorted(taken)


def measure(
    what: str, size: int, unit: str, action: Callable[[], Any], per_call: int, options: argparse.Namespace
) -> Speed:
    """Return the speed of `action`, a call of which is `per_call` units of work."""
    import torch

    def finished() -> None:
        action()
        if options.device.startswith("cuda"):
            torch.cuda.synchronize(options.device)

    taken = rounds(finished, options.seconds)
    return Speed(what, size, unit, per_call / taken[0], per_call / taken[len(taken) // 2])


def single(options: argparse.Namespace) -> Iterator[Speed]:
    """Yield the speed of one environment under random actions, its resets included."""
    import gymnasium

    env = gymnasium.make(options.env, **_env_kwargs(options))
    env.action_space.seed(0)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(64)]

    def steps() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    yield measure("one environment, random actions", 1, "user-steps", steps, len(actions), options)


def step(options: argparse.Namespace) -> Iterator[Speed]:
    """Yield the speed of the vector environment under random actions, for each batch size."""
    import gymnasium

    for n_envs in options.batches:
        envs = gymnasium.make_vec(options.env, n_envs, vectorization_mode="vector_entry_point", **_env_kwargs(options))
        envs.action_space.seed(0)
        envs.reset(seed=0)
        actions = [envs.action_space.sample() for _ in range(4)]
        for action in actions * 5:  # until sessions of all ages are among them
            envs.step(action)

        def steps(envs: Any = envs, actions: Any = actions) -> None:
            for action in actions:
                envs.step(action)

        what = "vector environment, random actions"
        yield measure(what, n_envs, "user-steps", steps, len(actions) * n_envs, options)


def update(options: argparse.Namespace) -> Iterator[Speed]:
    """Yield the speed of an update of HSRL alone, for each batch size that a replay buffer serves."""
    agent = _learner(UPDATED, options)
    agent.learn(N_ENVS * 40)
    for size in options.updates:
        what = f"update of {UPDATED}"
        yield measure(what, size, "updates", partial(agent.train, 1, size), 1, options)


def iteration(options: argparse.Namespace) -> Iterator[Speed]:
    """Yield the speed of whole iterations, a vector step of 32 users and what is learned from it, for each method."""
    for name in options.methods:
        agent = _learner(name, options)
        agent.learn(N_ENVS * 80)  # past the steps that a method waits before its first update

        def iterations(agent: Any = agent) -> None:
            agent.learn(N_ENVS * 10, reset_num_timesteps=False)

        yield measure(f"iteration of {name}", N_ENVS, "iterations", iterations, 10, options)


MEASUREMENTS = {"single": single, "step": step, "update": update, "iteration": iteration}


def _env_kwargs(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the environment; its own bundle is named too, so that nothing warns."""
    from hsrl_agent.evaluation.tasks import bundle_folder

    return {"device": options.device, "bundle": str(bundle_folder(options.env, options.bundle))}


def _learner(name: str, options: argparse.Namespace) -> Any:
    from hsrl_agent.methods import find_method
    from hsrl_agent.vec_env import make_vec_env

    method = find_method(name)
    envs = make_vec_env(options.env, N_ENVS, action_mode=method.action_mode, **_env_kwargs(options))
    envs.seed(0)
    return method.make(envs, 0, options.device)


def table(speeds: Sequence[Speed], title: str) -> Table[Speed]:
    """Return the measurements as a table."""
    from hsrl_agent.evaluation.report.table import Column, Table

    columns: tuple[Column[Speed], ...] = (
        Column("what", "Measured", lambda speed: speed.what),
        Column("size", "Users or batch", lambda speed: speed.size, digits=0),
        Column("unit", "Unit", lambda speed: speed.unit),
        Column("best", "A second, best round", lambda speed: speed.best, digits=1),
        Column("median", "A second, median round", lambda speed: speed.median, digits=1),
    )
    return Table(title, columns, speeds)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from hsrl_agent.evaluation.options import Parser, device, folder, names, whole_number, whole_numbers

    made = Parser(prog="throughput.py", description="Measure how fast environments and agents are on this machine.")
    add = made.add_argument
    add("--parts", type=names, default=tuple(MEASUREMENTS), metavar="NAME,..", help=f"of {', '.join(MEASUREMENTS)}")
    add("--env", default="HSRL-RL4RS-v0", metavar="ID", help="environment (HSRL-RL4RS-v0)")
    add("--bundle", metavar="DIR", help="its users (those of the environment)")
    add("--device", type=device, default="cpu", help="cpu, cuda or cuda:N (cpu)")
    add("--batches", type=whole_numbers, metavar="N,..", help="users of the vector steps (32,256,2048; cuda: to 65536)")
    add("--updates", type=whole_numbers, metavar="N,..", help="batches of the updates (64,256,1024; cuda: to 4096)")
    add(
        "--methods",
        type=names,
        default=METHODS,
        metavar="NAME,..",
        help=f"methods whose iterations are timed ({','.join(METHODS)})",
    )
    add("--seconds", type=float, default=2.0, metavar="S", help="of each measurement (2)")
    add("--threads", type=whole_number, default=1, metavar="N", help="torch threads; runs of the tables have one (1)")
    add("--out", type=folder, default=Path("results/throughput"), metavar="DIR", help="folder (results/throughput)")
    return made


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and write it; return 0.

    Raises:
        HsrlError: for a part, a method, a device or a bundle that is not there.
    """
    import torch

    import hsrl_gym  # noqa: F401  (registers the environments)
    from hsrl_agent.evaluation.provenance import device_name, git_commit, versions
    from hsrl_agent.files import write_text

    for part in options.parts:
        if part not in MEASUREMENTS:
            raise unknown_name("part", part, MEASUREMENTS)
    if not min((1, *(options.batches or ()), *(options.updates or ()))):
        raise HsrlError("got a size of 0 in --batches or --updates, expected 1 at least.")
    open_device(options.device)
    torch.set_num_threads(options.threads)
    on_gpu = options.device.startswith("cuda")
    options.batches = options.batches or ((32, 2_048, 16_384, 65_536) if on_gpu else (32, 256, 2_048))
    options.updates = options.updates or ((64, 256, 1_024, 4_096) if on_gpu else (64, 256, 1_024))
    speeds: list[Speed] = []
    for part in options.parts:
        for speed in MEASUREMENTS[part](options):
            print(f"{speed.what}, {speed.size:,}: {speed.median:,.1f} {speed.unit}/s", file=sys.stderr, flush=True)
            speeds.append(speed)
    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    commit = (git_commit() or "unknown")[:8]
    title = f"{device_name(options.device)}, {threads}; torch {versions()['torch']}; commit {commit}"
    made = table(speeds, title)
    write_text(options.out / "throughput.md", f"# Throughput\n\n{title}\n\n{made.markdown()}\n")
    write_text(options.out / "throughput.csv", made.frame().to_csv(index=False))
    console = make_console()
    console.print(made.rich(console.width))
    say(console, f"written: {options.out / 'throughput.md'}, {options.out / 'throughput.csv'}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    return run_command("throughput.py", lambda: run(parser().parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
