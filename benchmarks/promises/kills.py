"""A killed command leaves no half-written output, and the same command then ends as if nothing had happened.

SIGKILL comes at random moments, and in every second case as soon as some file has changed: files are written quickly,
so random moments alone would miss that. It hits the command, one of its processes, or all of them.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from promises.commands import Command, building, comparison
from promises.promise import Finding, Say, small_bundle, work_folder

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 10.0  # seconds within which the processes of a killed command must be gone
STUCK = 300.0  # seconds after which a command that was to end by itself is stuck


@dataclass
class Tally:
    """What has happened: kills that hit, completed commands, and complaints."""

    n_kills: int
    n_completed: int
    complaints: list[str]


def torture(command: Command, folder: Path, n_kills: int, seed: int, say: Say = lambda text: None) -> Tally:
    """Kill a command `n_kills` times, starting it again each time, and let it end whenever it is not hit in time."""
    draw = random.Random(f"{command.name} {seed}")
    begun = time.monotonic()
    with started(command, folder / "undisturbed") as process:
        if process.wait(STUCK) != 0:
            raise RuntimeError(f"{command.name} fails undisturbed: {(folder / 'undisturbed.log').read_text()[-2000:]}")
    usual = time.monotonic() - begun
    wanted = dict(command.result(folder / "undisturbed"))
    tally, told, place = Tally(0, 0, []), time.monotonic(), 0
    n_missed = 0
    while tally.n_kills < n_kills and n_missed < n_kills + 10:
        out = folder / f"{place}"
        if not out.exists() and command.old is not None and place % 2:
            command.old(out)
        with started(command, out) as process:
            hit = _strike(process, out, draw, usual)
        tally.n_kills += hit
        n_missed += not hit
        left = _left_over(process)
        where = f"{command.name}, kill {tally.n_kills}, seed {seed}"
        tally.complaints += [f"{where}: {line}" for line in (*left, *command.complaints(out))]
        if process.returncode == 0:
            tally.complaints += [f"{where}: {line}" for line in _compare(wanted, command.result(out))]
            tally.n_completed += 1
            shutil.rmtree(out)
            place += 1
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"  {command.name}: {tally.n_kills} of {n_kills} kills, {len(tally.complaints)} complaints")
    with started(command, folder / f"{place}") as process:
        process.wait(STUCK)
    if process.returncode != 0:
        tally.complaints.append(f"{command.name}: status {process.returncode} of the last, undisturbed run")
    else:
        found = command.result(folder / f"{place}")
        tally.complaints += [f"{command.name}, at the end: {line}" for line in _compare(wanted, found)]
        tally.n_completed += 1
    return tally


@contextmanager
def started(command: Command, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in a process group of its own, with its output in OUT.log; kill it if the block fails."""
    paths = [str(ROOT), str(ROOT / "benchmarks")]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    with Path(f"{out}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command.arguments(out)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=variables,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:  # Ctrl-C does not reach another session
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise


def _strike(process: subprocess.Popen[bytes], out: Path, draw: random.Random, usual: float) -> bool:
    """Kill the process, a child of it or its group at a drawn moment; return whether it was still there."""
    victim, by_change = draw.choice(["main", "child", "group"]), draw.random() < 0.5
    moment, n_changes, delay = draw.uniform(0.0, usual), draw.randint(1, 12), draw.uniform(0.0, 0.003)
    end = time.monotonic() + (STUCK if by_change else moment)
    before = _listing(out)
    while time.monotonic() < end and process.poll() is None and n_changes:
        time.sleep(0.0005 if by_change else 0.005)
        if by_change and (now := _listing(out)) != before:
            before, n_changes = now, n_changes - 1
    if by_change:
        time.sleep(delay)
    if process.poll() is not None:
        return False
    children = _children(process.pid)
    if victim == "child" and children:
        _kill(draw.choice(children))
        process.wait(STUCK)  # the others go on without it
    elif victim == "main":
        process.kill()
        process.wait()
    else:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return True


def _listing(out: Path) -> list[tuple[str, int]]:
    """Return names and sizes of what lies in a folder and hidden beside it."""
    found = []
    for top in (out, *out.parent.glob(f".{out.name}*")):
        for folder, _, names in os.walk(top):
            for name in names:
                with suppress(OSError):
                    found.append((f"{folder}/{name}", os.stat(f"{folder}/{name}").st_size))
    return sorted(found)


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _left_over(process: subprocess.Popen[bytes]) -> list[str]:
    """Wait for the group of a process to be gone; return a complaint, and kill it, if it is not."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return []
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return [f"a process was still there {PATIENCE:g} s after the kill"]


def _compare(wanted: Mapping[str, bytes], found: Mapping[str, bytes]) -> list[str]:
    if wanted.keys() != found.keys():
        return [f"got {', '.join(sorted(found)) or 'nothing'}, expected {', '.join(sorted(wanted))}"]
    return [f"{name} is another one than undisturbed" for name in wanted if wanted[name] != found[name]]


def run(n_kills: int, seed: int, say: Say) -> Finding:
    """Return how the commands bear so many kills, half of them each."""
    with work_folder("kills") as work:
        folder = Path(work)
        bundle = small_bundle(folder / "small")
        tallies = {}
        for command, n in ((comparison(bundle), (n_kills + 1) // 2), (building(bundle), n_kills // 2)):
            say(f"kills: {n} of {command.name}")
            (folder / command.name).mkdir()
            tallies[command.name] = torture(command, folder / command.name, n, seed, say) if n else Tally(0, 0, [])
    complaints = [line for tally in tallies.values() for line in tally.complaints]
    figure = "; ".join(
        f"{name}: {tally.n_kills} kills, {tally.n_completed} completed, {len(tally.complaints)} complaints"
        for name, tally in tallies.items()
    )
    return Finding(
        "A killed command leaves nothing half-written, and the same command then makes the same tables and bundles",
        "SIGKILL of `hsrl-agent compare` and `hsrl-gym build`, of a child or of all their processes, at random moments "
        "and when a file has just changed; then the same command again, and a comparison with an undisturbed run",
        figure,
        not complaints and sum(tally.n_kills for tally in tallies.values()) >= n_kills,
        complaints,
    )
