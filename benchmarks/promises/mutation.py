"""Run the tests on mutants: does at least one test fail for each?

A worker process imports the libraries once. For each mutant it forks, lets the import of one module return the mutated
one, and runs pytest in the fork. So a mutant costs the time of its tests and not that of importing torch.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from promises.mutants import ROOT, TARGETS, Mutant, Target, mutants_of, sample, without_equivalent
from promises.promise import Finding, Say

LIBRARIES = (
    *("numpy", "torch", "pandas", "gymnasium", "stable_baselines3", "scipy.stats", "safetensors.torch", "yaml"),
    *("sklearn.cluster", "sklearn.linear_model", "rich.console", "hypothesis", "pytest"),
)
_PASSED, _FAILED, _NOT_IMPORTED = 0, 1, 2  # exit statuses of pytest
SURVIVED, KILLED, TIMEOUT = "survived", "killed", "timeout"
LEAST_KILLED = 0.9


class BrokenTests(Exception):
    """The tests cannot be run, or fail without a mutant; then they say nothing of mutants."""


@dataclass(frozen=True)
class Verdict:
    """What the tests said of a mutant: "killed", "survived" or "timeout", which counts as killed."""

    mutant: Mutant
    what: str
    seconds: float


def judge(
    mutants: Sequence[Mutant],
    jobs: int,
    heard: Callable[[Verdict], None] = lambda verdict: None,
    root: Path = ROOT,
    libraries: Sequence[str] = LIBRARIES,
) -> list[Verdict]:
    """Return the verdict on each mutant, in their order.

    Args:
        mutants: of one target or several.
        jobs: processes.
        heard: is called with each verdict as it comes.
        root: of the repository.
        libraries: that the modules and tests import.

    Raises:
        BrokenTests: if the tests of a target do not pass without a mutant.
    """
    context = multiprocessing.get_context("spawn")
    verdicts: dict[Mutant, Verdict] = {}
    with ProcessPoolExecutor(jobs, context, _import_libraries, (str(root), libraries)) as executor:
        try:
            targets = list(dict.fromkeys(mutant.target for mutant in mutants))
            seconds = dict(zip(targets, executor.map(_seconds_without, targets), strict=True))
            futures = [executor.submit(_try, mutant, seconds[mutant.target]) for mutant in mutants]
            for future in as_completed(futures):
                verdict = future.result()
                verdicts[verdict.mutant] = verdict
                heard(verdict)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in list((executor._processes or {}).values()):
                process.terminate()
            raise
    return [verdicts[mutant] for mutant in mutants]


def run(n_mutants: int, seed: int, jobs: int, say: Say) -> Finding:
    """Return how many mutants the tests notice, of a seeded sample of all modules."""
    every = [mutant for target in TARGETS for mutant in mutants_of(target)]
    chosen = sample(without_equivalent(every), n_mutants, seed)
    say(f"mutants: {len(chosen)} of {len(every)}")
    heard: list[Verdict] = []
    told = time.monotonic()

    def hear(verdict: Verdict) -> None:
        nonlocal told
        heard.append(verdict)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            n_left = sum(one.what == SURVIVED for one in heard)
            say(f"  {len(heard)} of {len(chosen)} mutants, {n_left} survived")

    verdicts = judge(chosen, jobs, hear)
    alive = [verdict.mutant for verdict in verdicts if verdict.what == SURVIVED]
    killed = 1.0 - len(alive) / len(verdicts)
    return Finding(
        "The tests notice a mistake in the core",
        f"{len(verdicts)} of {len(every)} mutants of {', '.join(target.name for target in TARGETS)}: a comparison, an "
        "operation, a constant, a truth value or a returned value is another one; the module's tests run on each; for "
        f"at least {LEAST_KILLED:.0%} of them they must fail",
        f"{killed:.1%} noticed, {len(alive)} of {len(verdicts)} survived",
        killed >= LEAST_KILLED,
        [f"survived: {mutant.name}" for mutant in alive],
    )


# In the worker.


def _import_libraries(root: str, libraries: Sequence[str]) -> None:
    sys.path[:0] = [root]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, _leave)
    os.chdir(root)
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in libraries:
        importlib.import_module(name)


_fork = 0  # process id of the fork that runs, 0 for none


def _leave(*_: object) -> None:
    if _fork:
        with suppress(ProcessLookupError):
            os.killpg(_fork, signal.SIGKILL)
    os._exit(1)


def _seconds_without(target: Target) -> float:
    """Return how many seconds of processor time the tests of a target take without a mutant."""
    status, seconds, output = _in_a_fork(target, None, 600.0)
    if status != _PASSED:
        raise BrokenTests(f"the tests of {target.path} do not pass as it is (status {status}): {output[-2000:]}")
    return seconds


def _try(mutant: Mutant, seconds: float) -> Verdict:
    status, taken, output = _in_a_fork(mutant.target, mutant, 10.0 + 3.0 * seconds)
    if status in (_PASSED, _FAILED, _NOT_IMPORTED):
        return Verdict(mutant, SURVIVED if status == _PASSED else KILLED, taken)
    if status < 0:
        return Verdict(mutant, TIMEOUT if -status in (signal.SIGXCPU, signal.SIGKILL) else KILLED, taken)
    raise BrokenTests(f"pytest ended with status {status} at {mutant.name}: {output[-2000:]}")


def _in_a_fork(target: Target, mutant: Mutant | None, limit: float) -> tuple[int, float, str]:
    """Return status, processor seconds and output of the tests; a status below 0 is that of a signal.

    `limit` is in seconds of processor time, which other work on the machine does not change; ten times as much time on
    the clock ends a fork that waits for ever.
    """
    global _fork
    with tempfile.TemporaryFile() as output:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _fork = os.fork()
        if _fork == 0:
            _become(output.fileno(), limit)
            os._exit(_run_tests(target, mutant))
        status = _wait(_fork, time.monotonic() + 10.0 * limit)
        _fork = 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        output.seek(0)
        said = output.read().decode(errors="replace")
    return status, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def _wait(child: int, end: float) -> int:
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what the tests have left running
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        time.sleep(0.01)


def _become(output: int, limit: float) -> None:
    """Turn the fork into a process of its own: group, output, limits."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run_tests(target: Target, mutant: Mutant | None) -> int:
    try:
        import hypothesis
        import pytest

        # Always the same examples. A failing one need not be made smaller.
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutants", derandomize=True, database=None, phases=phases, deadline=None)
        hypothesis.settings.load_profile("mutants")
        if target.module in sys.modules:
            raise BrokenTests(f"{target.module} was imported before its mutants")
        if mutant is not None:
            sys.meta_path.insert(0, _Finder(mutant))
        without = ["-k", f"not ({target.without})"] if target.without else []
        imported = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is there before its plugin
        return int(pytest.main([*target.tests, "-x", "-q", "-p", "no:cacheprovider", *imported, *without]))
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return 99


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the mutated module in place of the real one."""

    def __init__(self, mutant: Mutant) -> None:
        self.name = mutant.target.module
        self.path = str(Path.cwd() / mutant.target.path)
        self.code = compile(mutant.tree(Path.cwd()), self.path, "exec")

    def find_spec(
        self, name: str, path: Iterable[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where a module comes from; None if it is not the mutated one."""
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=_Loader(name, self.path, self.code))


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, code: types.CodeType) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> types.CodeType:
        """Return the code of the mutant."""
        return self.code
