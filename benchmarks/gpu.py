"""What to run on a machine with CUDA: its tests, the throughput table and a short Table 2, and one report of them.

    make gpu

Each step has a time limit and runs in a process of its own; one that fails does not stop the others. The report names
the device. Without CUDA there is nothing to do: the command says so in one line and returns 0.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
N_LINES = 60  # of each step's output that the report keeps, the last ones


@dataclass(frozen=True)
class Step:
    """One thing to run.

    Attributes:
        title: in the report.
        command: arguments of the Python interpreter, from the root of the repository.
        minutes: that it may take.
    """

    title: str
    command: tuple[str, ...]
    minutes: float


@dataclass(frozen=True)
class Done:
    """How a step ended: "passed", or what went wrong; how long it took, and what it printed."""

    step: Step
    ended: str
    seconds: float
    output: str


def steps(out: Path, device: str) -> tuple[Step, ...]:
    """Return what is run on a device; tables and figures go into folders of `out`."""
    short = ["--steps=3200", "--seeds=0", "--checkpoints=2", "--jobs=2"]
    return (
        Step("Tests on CUDA", ("-m", "pytest", "-m", "cuda", "tests"), 10),
        Step("Throughput", ("benchmarks/throughput.py", f"--device={device}", f"--out={out / 'throughput'}"), 10),
        Step(
            "Table 2, `--preset full` with one seed and 3,200 user-steps",
            ("benchmarks/compare.py", "--preset=full", *short, f"--device={device}", f"--out={out / 'table2'}"),
            40,
        ),
    )


def run_step(step: Step) -> Done:
    """Run a step to its end or to its limit, at which all processes that it started are killed.

    A file takes the output: a pipe would be kept open by a process that outlives the step.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *step.command],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, so that its children can be killed with it
        )
        try:
            status = process.wait(timeout=60 * step.minutes)
            ended = "passed" if status == 0 else f"FAILED with status {status}"
        except subprocess.TimeoutExpired:
            ended = f"STOPPED at the limit of {step.minutes:g} minutes"
        finally:  # also after Ctrl-C, which a session of its own does not receive
            _kill(process)
        seconds = time.perf_counter() - started
        output.seek(0)
        return Done(step, ended, seconds, output.read().decode(errors="replace"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process group of a step."""
    with contextlib.suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def report(machine: str, done: Sequence[Done]) -> str:
    """Return the report as Markdown: the machine, how each step ended, and the end of what it printed."""
    lines = ["# Report of a GPU", "", machine, "", "| Step | Result | Seconds |", "| --- | --- | ---: |"]
    lines += [f"| {one.step.title} | {one.ended} | {one.seconds:.0f} |" for one in done]
    for one in done:
        lines += ["", f"## {one.step.title}", "", f"`python {shlex.join(one.step.command)}`", "", "```text"]
        lines += [*one.output.strip().splitlines()[-N_LINES:], "```"]
    return "\n".join(lines) + "\n"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="gpu.py", description=__doc__.splitlines()[0])
    made.add_argument("--device", default="cuda", help="cuda or cuda:N (cuda)")
    made.add_argument("--out", type=Path, default=Path("results/gpu"), help="folder (results/gpu)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every step passed or there is no CUDA, 1 otherwise."""
    options = parser().parse_args(arguments)
    import torch

    from hsrl_agent.evaluation.provenance import device_name, git_commit

    if not torch.cuda.is_available():
        print("gpu.py: torch sees no CUDA device on this machine; nothing was run.")
        return 0
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    commit = (git_commit() or "unknown")[:8]
    machine = f"{device_name(options.device)}; torch {torch.__version__}, CUDA {torch.version.cuda}; commit {commit}"
    done: list[Done] = []
    for step in steps(out, options.device):
        print(f"{step.title} (at most {step.minutes:g} minutes) ..", flush=True)
        done.append(run_step(step))
        print(f"  {done[-1].ended}, {done[-1].seconds:.0f} s", flush=True)
        (out / "REPORT.md").write_text(report(machine, done), encoding="utf-8")  # after each, in case of a crash
    print(f"written: {out / 'REPORT.md'}")
    return int(any(one.ended != "passed" for one in done))


if __name__ == "__main__":
    sys.exit(main())
