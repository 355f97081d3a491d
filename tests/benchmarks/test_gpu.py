"""The report of a GPU: what it runs, how it tells of failures, and what it does without CUDA."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pytest
import torch

import gpu
import throughput
from gpu import Step, run_step
from hsrl_agent.evaluation.options import Parser
from hsrl_agent.evaluation.plan import add_arguments

WITH_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
"""
PASSES = Step("Passes", ("-c", "print('fine')"), 1)
FAILS = Step("Fails", ("-c", "raise SystemExit('no such thing')"), 1)
HANGS = Step("Hangs", ("-c", "import time; print('here', flush=True); time.sleep(60)"), 0.02)


def test_without_cuda_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([f"--out={tmp_path / 'gpu'}"]) == 0
    assert capsys.readouterr().out == "gpu.py: torch sees no CUDA device on this machine; nothing was run.\n"
    assert not (tmp_path / "gpu").exists()


def test_a_step_that_fails_or_hangs_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("hsrl_agent.evaluation.provenance.device_name", lambda device: f"the {device} of a test")
    monkeypatch.setattr(gpu, "steps", lambda out, device: (HANGS, FAILS, PASSES))
    assert gpu.main([f"--out={tmp_path}"]) == 1
    text = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "the cuda of a test; torch" in text
    assert "| Hangs | STOPPED at the limit of 0.02 minutes |" in text
    assert "| Fails | FAILED with status 1 |" in text
    assert "| Passes | passed |" in text
    assert "no such thing" in text
    assert "fine" in text


def test_the_output_of_a_step_is_kept() -> None:
    done = run_step(PASSES)
    assert (done.ended, done.output) == ("passed", "fine\n")


@pytest.mark.parametrize(("rest", "minutes", "ended"), [("time.sleep(60)", 0.05, "STOPPED"), ("", 1, "passed")])
def test_children_of_a_step_end_with_it(rest: str, minutes: float, ended: str) -> None:
    """They would keep a pipe open, and the step would take the minute that they do."""
    done = run_step(Step("With a child", ("-c", WITH_A_CHILD + rest), minutes))
    assert done.ended.startswith(ended)
    assert done.seconds < 55
    assert is_gone(int(done.output))


def is_gone(pid: int) -> bool:
    """Return whether a process has ended within some seconds; one that waits for its parent's notice has ended."""
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_commands_are_known_to_their_parsers(tmp_path: Path) -> None:
    """With the CPU in place of CUDA, which this machine need not have."""
    tests, speed, table2 = gpu.steps(tmp_path, "cpu")
    assert tests.command[:2] == ("-m", "pytest")
    assert (Path(gpu.ROOT) / tests.command[-1] / "cuda").is_dir()
    assert throughput.parser().parse_args(speed.command[1:]).out == tmp_path / "throughput"
    parser: argparse.ArgumentParser = Parser()
    add_arguments(parser)
    given = parser.parse_args(table2.command[1:])
    assert (given.preset, given.seeds, given.steps) == ("full", (0,), 3_200)
