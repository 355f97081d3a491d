"""What the tests of runs share: a small run, and a working directory with agents of one's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsrl_agent.evaluation.spec import RunSpec

ENV = "HSRL-RL4RS-v0"
PLUGINS = """
class Base:
    def __init__(self, env, seed=0, **settings): self.env, self.settings = env, settings
    def learn(self, total_timesteps): self.learnt = total_timesteps
    def predict(self, observation, deterministic=True): return self.env.action_space.sample()[None]

class Sids(Base): ...
class Items(Base): action_mode = "item"
class BadMode(Base): action_mode = "pixels"
class NoPredict:
    def learn(self, total_timesteps): ...
class NeedsMore(Base):
    def __init__(self, env, seed, width): ...
class OnDevice(Base):
    def __init__(self, env, seed, device): ...
def protocol(spec, progress): ...
nothing = 3
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with agents in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "plugins_for_tests.py").write_text(PLUGINS)
    (tmp_path / "broken_plugin.py").write_text("import not_there_at_all\n")
    (tmp_path / "raising_plugin.py").write_text("1 / 0\n")
    yield tmp_path / "plugins_for_tests.py"
    sys.modules.pop("plugins_for_tests", None)


@pytest.fixture
def spec(tiny_bundle_folder: Path) -> RunSpec:
    return RunSpec("tiny", ENV, "hsrl", 0, 128, str(tiny_bundle_folder), n_envs=8, n_eval_episodes=20, n_checkpoints=2)
