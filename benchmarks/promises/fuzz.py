"""Readers and bundles bear damaged files: each case loads, or gives one short line that says what is wrong."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis

from promises import bundle_damage, damage
from promises.judgement import Failure, Read, Watchdog, judge
from promises.promise import Finding, Say, small_bundle, work_folder
from promises.samples import SAMPLES, Files

AT_ONCE = 250  # cases that a process is given
SECONDS = 10.0  # that a case may take
MEMORY = 3 * 2**30  # bytes that a process may take above what it has
MOST_KEPT = 5  # cases of one cause whose files are written
SHARES = {"bytes": 0.54, "structure": 0.34, "tampered": 0.08, "manifest": 0.04}


@dataclass(frozen=True)
class Batch:
    """Cases that one process tries.

    Attributes:
        kind: of damage: "bytes" and "structure" of logs, "tampered" and "manifest" of bundles.
        sample: name of a sample of logs, or "bundle".
        seed: of the damage.
        n: number of cases.
        base: folder of the small bundle.
        out: folder of the failures.
    """

    kind: str
    sample: str
    seed: int
    n: int
    base: str
    out: str

    @property
    def name(self) -> str:
        """In names of folders."""
        return f"{self.sample}-{self.kind}-{self.seed}"

    @property
    def mark(self) -> Path:
        """A file that holds the number of the case while the batch is tried."""
        return Path(self.out) / f"{self.name}.now"


@dataclass
class Count:
    """How cases came out."""

    outcomes: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    kept: dict[str, str] = field(default_factory=dict)  # a folder for each cause
    seconds: float = 0.0

    def add(self, other: Count) -> None:
        """Add the cases of another count."""
        self.outcomes += other.outcomes
        self.causes += other.causes
        self.kept = {**other.kept, **self.kept}
        self.seconds += other.seconds


def batches(n_cases: int, seed: int, base: Path, out: Path) -> list[Batch]:
    """Return about `n_cases` cases, at least as many, in batches; every kind and format has its share."""
    made: list[Batch] = []
    for kind, share in SHARES.items():
        samples = [f"bundle:{kind}"] if kind in ("tampered", "manifest") else list(SAMPLES)
        each = -(-round(n_cases * share) // len(samples))
        for sample in samples:
            for start in range(0, each, AT_ONCE):
                number = seed * 1_000_000 + len(made)
                n = min(AT_ONCE, each - start)
                made.append(Batch(kind, sample.partition(":")[0], number, n, str(base), str(out)))
    random.Random(seed).shuffle(made)  # slow ones everywhere, so that the progress tells
    return made


def cases(batch: Batch, files: Files, work: Path, take: Callable[[Files], None]) -> None:
    """Call `take` with each damaged copy of the files; `work` is a folder for what has to be written on the way."""
    if batch.kind == "bytes":
        draw = random.Random(f"{batch.sample} {batch.seed}")
        for _ in range(batch.n):
            take(damage.damaged(files, draw))
        return
    if batch.kind == "tampered":
        for case in bundle_damage.tampered(Path(batch.base), work, batch.seed, batch.n):
            take(case)
        return
    strategy = bundle_damage.remade(files) if batch.kind == "manifest" else damage.rebuilt(files)
    settings = hypothesis.settings(
        max_examples=batch.n,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.generate,),
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    @hypothesis.seed(batch.seed)
    @settings
    @hypothesis.given(strategy)
    def draw_all(case: Files) -> None:
        take(case)

    draw_all()


def read_of(batch: Batch) -> tuple[Files, Read]:
    """Return the undamaged files of a batch, and what reads them."""
    if batch.sample == "bundle":
        return {path.name: path.read_bytes() for path in Path(batch.base).iterdir()}, bundle_damage.play
    from hsrl_gym.data.readers import READERS

    format_name, make = SAMPLES[batch.sample]
    read = READERS[format_name]
    return make(), (lambda folder: read(folder / "log.csv")) if format_name == "csv" else read


def try_batch(batch: Batch, made: tuple[Files, Read] | None = None) -> Count:
    """Return how the cases of a batch come out; those that fail are written to a folder, with how they were made.

    `made` are other files and another reader than the batch's own.
    """
    files, read = made or read_of(batch)
    count, begun = Count(), time.monotonic()
    memory = Path("/dev/shm")  # files that need no disk
    where = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
    with where as work, Watchdog(SECONDS) as watchdog, batch.mark.open("wb", buffering=0) as mark:
        folder = Path(work) / "case"

        def take(case: Files) -> None:
            _write(folder, case)
            os.pwrite(mark.fileno(), f"{count.outcomes.total():9}".encode(), 0)  # read if this process dies
            with watchdog.case():
                outcome = judge(read, folder)
            if isinstance(outcome, Failure):
                cause = f"{batch.sample}: {outcome.cause}"
                count.causes[cause] += 1
                if count.causes[cause] <= MOST_KEPT:
                    kept = _keep(batch, count.outcomes.total(), case, outcome)
                    count.kept.setdefault(cause, kept)
            count.outcomes["failed" if isinstance(outcome, Failure) else outcome] += 1

        _write(folder, files)
        read(folder)  # undamaged; it imports what it needs, which takes longer than a case may
        cases(batch, files, Path(work), take)
    batch.mark.unlink(missing_ok=True)
    count.seconds = time.monotonic() - begun
    return count


def _write(folder: Path, case: Files) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in case.items():
        (folder / name).write_bytes(content)


def _keep(batch: Batch, number: int, case: Files, failure: Failure) -> str:
    folder = Path(batch.out) / f"{batch.name}-case{number}"
    _write(folder, case)
    text = f"{failure.cause}\nseed {batch.seed}, {batch.kind}, case {number}\n\n{failure.details}\n"
    (folder / "FAILURE.txt").write_text(text, encoding="utf-8", errors="backslashreplace")
    return folder.name


def _begin_worker() -> None:
    import logging
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def try_all(todo: Sequence[Batch], jobs: int, say: Say) -> Count:
    """Return how all batches come out; a batch that ends its process counts as a failure, and the others go on."""
    context = multiprocessing.get_context("spawn")
    total, told, left = Count(), time.monotonic(), list(todo)
    n_all = sum(batch.n for batch in todo)
    while left:
        with ProcessPoolExecutor(jobs, context, _begin_worker) as executor:
            running = {executor.submit(try_batch, batch): batch for batch in left}
            try:
                for future in _as_done(running):
                    batch = running[future]
                    total.add(future.result())
                    left.remove(batch)
                    if time.monotonic() - told > 10:
                        told = time.monotonic()
                        say(f"  {total.outcomes.total():,} of {n_all:,} cases, {total.outcomes['failed']:,} failures")
            except BrokenProcessPool:
                for batch in [batch for batch in left if batch.mark.exists()] or left[:1]:  # those that were running
                    total.add(_died(batch))
                    left.remove(batch)
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                for process in list((executor._processes or {}).values()):
                    process.terminate()
                raise
    return total


def _died(batch: Batch) -> Count:
    """Return the count of a batch whose process has died, or was ended together with one that did."""
    number = batch.mark.read_text(encoding="ascii").strip() if batch.mark.exists() else "?"
    batch.mark.unlink(missing_ok=True)
    cause = f"{batch.sample}: the process died or hung ({batch.kind})"
    return Count(Counter(failed=1), Counter({cause: 1}), {cause: f"{batch.name}, case {number} or another process's"})


def _as_done(running: Iterable[Future[Any]]) -> Iterator[Future[Any]]:
    """Yield futures as they are done; unlike `as_completed` it lets Ctrl-C through at once."""
    left = set(running)
    while left:
        done, left = wait(left, timeout=0.5, return_when="FIRST_COMPLETED")
        yield from done


def run(n_cases: int, seed: int, jobs: int, out: Path, say: Say) -> Finding:
    """Return how readers and bundles bear so many cases; failing ones are in OUT/failures."""
    failures = out / "failures"
    shutil.rmtree(failures, ignore_errors=True)
    failures.mkdir(parents=True)
    begun = time.monotonic()
    with work_folder("fuzz") as work:
        todo = batches(n_cases, seed, small_bundle(Path(work) / "small"), failures)
        say(f"fuzz: {sum(batch.n for batch in todo):,} cases")
        total = try_all(todo, jobs, say)
    seconds = time.monotonic() - begun
    n, outcomes = total.outcomes.total(), total.outcomes
    notes = [f"{count:,} x {cause}; {total.kept.get(cause, '')}" for cause, count in total.causes.most_common()]
    return Finding(
        "A damaged log or bundle loads, or gives one line that says what is wrong",
        f"logs of {len(SAMPLES)} formats damaged byte by byte and, with hypothesis, by structure; bundles with damaged "
        "arrays and manifests under right hashes, which are played if they load; at most "
        f"{SECONDS:g} s a case, no control character and at most 200 characters of the file in a message",
        f"{outcomes['failed']:,} failures in {n:,} cases ({outcomes['loaded']:,} loaded, "
        f"{outcomes['refused']:,} refused; {n / seconds:,.0f} cases a second)",
        not outcomes["failed"],
        notes,
    )
