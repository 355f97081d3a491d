"""The examples run as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hsrl_agent import make_vec_env
from hsrl_gym.bundle.folder import Bundle

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("command", "expected"),
    [(["quickstart.py"], "patience"), (["train_hsrl.py", "64", "1"], "held-out loss of the log 0.")],
)
def test_scripts_run(command: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script, *arguments = command
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_my_agent_learns_what_is_clicked(toy_world: Bundle) -> None:
    from examples.my_agent import MyAgent

    env = make_vec_env("HSRL-ML1M-v0", 16, seed=0, bundle=toy_world, action_mode="item")
    agent = MyAgent(env)
    agent.learn(16 * 100)
    shown = agent.predict({"profile": np.zeros((2, 2))}) + 1
    assert (np.sort(shown, 1) == (4, 10)).all()
