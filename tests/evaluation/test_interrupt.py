"""Ctrl-C on a real comparison: its processes end, and what is finished is kept."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENV = "HSRL-RL4RS-v0"
ROOT = Path(__file__).parents[2]
ENDLESS = """
class Endless:
    action_mode = "item"
    def __init__(self, env, seed=0): ...
    def learn(self, total_timesteps):
        open("endless_began", "w").close()
        while True: ...
    def predict(self, observation, deterministic=True): ...
"""


def is_alive(group: int) -> bool:
    """Return whether a process of the group is still there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """The run that never ends is stopped with its process; the one before it is kept."""
    (tmp_path / "agents_of_mine.py").write_text(ENDLESS)
    options = {
        "envs": ENV,
        "bundle": f"{ENV}={tiny_bundle_folder}",
        "methods": "random",
        "agent": "agents_of_mine:Endless",
        "seeds": "0",
        "steps": "32",
        "n-envs": "8",
        "episodes": "20",
        "jobs": "1",
        "out": "out",
    }
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "compare.py"),
            *(f"--{key}={value}" for key, value in options.items()),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 90
        while not (tmp_path / "endless_began").exists() and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        output, errors = process.communicate(timeout=30)
        end = time.monotonic() + 10
        while time.monotonic() < end and is_alive(process.pid):
            time.sleep(0.05)
        assert not is_alive(process.pid), "a worker has outlived the comparison"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, errors
    assert "[1/2] RL4RS tiny random seed 0: Total Reward" in output
    assert errors == (
        f"compare.py: interrupted; 1 of 2 runs are finished and kept in {Path('out/runs')}, the same command goes on "
        "from here.\n"
    )
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1
