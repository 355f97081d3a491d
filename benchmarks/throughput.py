"""Print how fast the environments and the agents are on this machine, what bounds them, and how they grow.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --parts step,train --against ../other-checkout

Each measurement but those of growth runs in a process of its own. Machines are noisy: with --against, the same lines
time another checkout in turn with this one, and the ratio is the figure to believe.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from terminal import INTERRUPTED, make_console

if TYPE_CHECKING:
    from rich.console import Console

PARTS = ("start", "single", "step", "train", "profile", "growth")
METHODS = ("hsrl", "a2c", "hsrl-paper")
PACKAGES = ("hsrl_gym", "hsrl_agent")
N_ROUNDS = 3  # of a measurement, in turn with the other checkout's
# What --preset full runs: the paper's 50,000 iterations.
FULL_ITERATIONS, FULL_ENVS, FULL_SEEDS = 50_000, 2, 5
_HERE = Path(__file__).resolve().parent

Result = dict[str, Any]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the call; wrong ones end with a line and status 2."""
    parser = argparse.ArgumentParser(prog="throughput.py", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--env", default="HSRL-RL4RS-v0", help="environment id")
    parser.add_argument("--bundle", type=Path, help="bundle folder; the environment's own by default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, help="users of the large vector step; 2,048, on a GPU 65,536")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--against", type=Path, help="another checkout to time in turn with this one")
    parser.add_argument("--out", type=Path, default=Path("results/throughput"), help="folder for JSON and pictures")
    call = parser.parse_args(arguments)
    call.parts = call.parts.split(",")
    unknown = [part for part in call.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}")
    for name in ("bundle", "against"):
        folder = getattr(call, name)
        if folder is not None and not folder.is_dir():
            parser.error(f"--{name}: got {folder}, which is no folder")
    if call.seconds <= 0 or (call.batch is not None and call.batch < 1):
        parser.error("--seconds and --batch take positive numbers")
    if call.against is not None and not all((call.against / name / "__init__.py").is_file() for name in PACKAGES):
        parser.error(f"--against: got {call.against}, expected a checkout with {' and '.join(PACKAGES)}")
    call.batch = call.batch or (2_048 if call.device == "cpu" else 65_536)
    return call


def requests(call: argparse.Namespace) -> Iterator[tuple[str, int, Result]]:
    """Yield name, threads and request of each measurement that the call asks for."""
    common = {**common_request(call), "seconds": call.seconds}
    cores = os.cpu_count() or 1
    if "start" in call.parts:
        yield "start", cores, {"part": "start", **common}
    if "single" in call.parts:
        yield "one environment", 1, {"part": "single", **common}
    if "step" in call.parts:
        yield "step of 32 users", 1, {"part": "step", "n_envs": 32, **common}
        yield f"step of {call.batch:,} users", cores, {"part": "step", "n_envs": call.batch, **common}
    if "train" in call.parts:
        for method in METHODS:
            yield f"train {method}", 1, {"part": "train", "method": method, "n_envs": 32, **common}


def common_request(call: argparse.Namespace) -> Result:
    """Return what every measurement is told."""
    arguments = {} if call.bundle is None else {"bundle": str(call.bundle.resolve())}
    return {"env": call.env, "device": call.device, "arguments": arguments}


def measure(request: Result, threads: int, checkout: Path | None = None) -> Result:
    """Return what `stopwatch.py` says in a process of its own, for the packages of `checkout`."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    environment["PYTHONPATH"] = str((checkout or _HERE.parent).resolve())
    command = [sys.executable, str(_HERE / "stopwatch.py"), json.dumps(request)]
    done = subprocess.run(command, env=environment, cwd=_HERE.parent, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode}"]
        raise RuntimeError(reason[-1])
    result: Result = json.loads(done.stdout.strip().splitlines()[-1])
    where = Path(result.pop("package")).resolve()
    if not where.is_relative_to((checkout or _HERE.parent).resolve()):
        raise RuntimeError(f"the process timed {where}, not the packages of {checkout}")
    return result


def in_turn(request: Result, threads: int, against: Path | None) -> Result:
    """Return the best of some rounds here, and with another checkout the best there and the median ratio."""
    here, there = [], []
    for round_ in range(N_ROUNDS):
        if against is not None and round_ % 2:  # neither always goes first
            there.append(measure(request, threads, against))
        here.append(measure(request, threads))
        if against is not None and not round_ % 2:
            there.append(measure(request, threads, against))
    result: Result = {"threads": threads, "request": request, "here": _best(here)}
    if there:
        result["there"] = _best(there)
        result["ratio"] = median(_speed(mine) / _speed(other) for mine, other in zip(here, there, strict=True))
    return result


def _speed(result: Result) -> float:
    """Return what is the larger the faster: the median of a measurement's rounds, or 1 / s of a start."""
    if "make" in result:
        return 1.0 / (result["import_hsrl_gym"] + result["make"])
    return float(result["steps" if "steps" in result else "iterations"]["median"])


def _best(results: Sequence[Result]) -> Result:
    return max(results, key=_speed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 1 after a measurement that failed; 130 if interrupted."""
    call = parse(arguments)
    from throughput_report import print_growth, print_measurements, print_profiles, write

    console = make_console()
    found: Result = {"machine": machine(call), "measurements": {}, "profiles": {}, "growth": {}}
    try:
        for name, threads, request in requests(call):
            with console.status(f"{name} .."):
                found["measurements"][name] = in_turn(request, threads, call.against)
            write(found, call.out)
        print_measurements(console, found)
        if "profile" in call.parts:
            found["profiles"] = profiles(call)
            write(found, call.out)
            print_profiles(console, found["profiles"])
        if "growth" in call.parts:
            for axis, rows in growth(call, console):
                found["growth"][axis] = rows
                write(found, call.out)
            print_growth(console, found["growth"])
    except KeyboardInterrupt:
        print(f"throughput.py: interrupted; what was measured is in {call.out}.", file=sys.stderr)
        return INTERRUPTED
    except (RuntimeError, OSError) as error:
        print(f"throughput.py: a measurement failed: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    for path in write(found, call.out):
        console.print(f"written: {path}", soft_wrap=True)
    return 0


def machine(call: argparse.Namespace) -> Result:
    """Return the name of the processor, its cores, and the versions and code that were timed."""
    from provenance import code_digest, device_name, git_commit, versions

    return {
        "device": device_name(call.device),
        "cores": os.cpu_count(),
        "versions": versions(),
        "git_commit": git_commit(),
        "against": None if call.against is None else git_commit(call.against),
        "code": code_digest(),
    }


def profiles(call: argparse.Namespace) -> Result:
    """Return where the time of the large step and of an iteration of HSRL goes."""
    common = {"part": "profile", **common_request(call)}
    large = measure({**common, "n_envs": call.batch}, os.cpu_count() or 1)
    iteration = measure({**common, "n_envs": 32, "method": "hsrl"}, 1)
    return {f"step of {call.batch:,} users": large, "iteration of hsrl, 32 users": iteration}


def growth(call: argparse.Namespace, console: Console) -> Iterator[tuple[str, list[Result]]]:
    """Yield the rows of each sweep, which is done in this process, on all cores."""
    from growth import AXES, sweep

    for axis in AXES:
        with console.status(f"growth with {axis.name} .."):
            rows = list(sweep(axis, call.device, min(call.seconds, 1.0)))
        yield axis.name, rows


if __name__ == "__main__":
    sys.exit(main())
