"""The command `hsrl-gym play`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from PIL import Image

from hsrl_agent import HSRL, make_vec_env
from hsrl_gym.cli import main

ENV = "HSRL-ML1M-v0"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def play(folder: Path, *options: Any) -> int:
    return main(["play", ENV, "--bundle", str(folder), *map(str, options)])


def test_random_actions(tiny_bundle_folder: Path, capsys: Any) -> None:
    """The session is that of the environment with the same seed."""
    assert play(tiny_bundle_folder, "--seed", 3) == 0
    first, start, *steps, last = capsys.readouterr().out.splitlines()
    assert first == f"{ENV}, random actions, seed 3"
    env = gymnasium.make(ENV, bundle=tiny_bundle_folder)
    observation, _ = env.reset(seed=3)
    assert start == f"session 1: a user with {(observation['history'] > 0).sum()} known clicks, patience 20.0"
    env.action_space.seed(3)
    total = 0.0
    for number, line in enumerate(steps, start=1):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += float(reward)
        assert line.startswith(f"{number:>4}  reward {reward:6.3f}  total {total:7.3f}  patience ")
        assert f"  {info['clicks'].sum()} of 4 clicked" in line
        assert len(line) <= 100
    assert terminated or truncated
    assert last == f"session 1: total reward {total:.3f} in {len(steps)} steps; the user leaves"


def test_whole_slates(tiny_bundle_folder: Path, capsys: Any) -> None:
    assert play(tiny_bundle_folder, "--slates", "--sessions", 2) == 0
    out = capsys.readouterr().out
    assert "step 1 of at most 20\n   1  item " in out
    assert "session 2: total reward " in out


def test_a_gif(tiny_bundle_folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert play(tiny_bundle_folder, "--gif", tmp_path / "play.gif", "--sessions", 2) == 0
    n_steps = sum(line.startswith("   ") for line in capsys.readouterr().out.splitlines())
    with Image.open(tmp_path / "play.gif") as image:
        assert image.size == (960, 540)
        assert image.n_frames == n_steps + 2  # type: ignore[attr-defined]  # each session starts with its user
        assert image.info["loop"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["play.gif"]


def test_a_saved_policy(tiny_bundle_folder: Path, tmp_path: Path, capsys: Any) -> None:
    """In the action mode of the policy, with the actions of the agent."""
    envs = make_vec_env(ENV, 1, bundle=str(tiny_bundle_folder))
    agent = HSRL("HSRLPolicy", envs, seed=0)
    agent.save(tmp_path / "agent")
    assert play(tiny_bundle_folder, "--policy", tmp_path / "agent.zip") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{ENV}, policy agent.zip, seed 0"
    env = gymnasium.make(ENV, bundle=tiny_bundle_folder)
    observation, total, over = env.reset(seed=0)[0], 0.0, False
    while not over:
        action = agent.predict(observation, deterministic=True)[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(reward), terminated or truncated
    assert f"total reward {total:.3f} " in lines[-1]
    assert play(tiny_bundle_folder, "--policy", tmp_path / "agent.zip", "--action-mode", "item") == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["HSRL-ML1M"], "unknown environment 'HSRL-ML1M'; did you mean HSRL-ML1M-v0"),
        (["CartPole-v1"], "unknown environment 'CartPole-v1'"),
        (["HSRL-Bundle-v0"], "HSRL-Bundle-v0 needs a bundle; give --bundle DIR"),
        ([ENV, "--sessions", "0"], "got --sessions 0, expected at least 1"),
        ([ENV, "--seed", "-1"], "got --seed -1, expected 0 to"),
        ([ENV, "--gif", "play.png"], "expected a file name that ends in .gif"),
        ([ENV, "--gif", "no/folder/play.gif"], "in a folder that exists"),
        ([ENV, "--policy", "missing.zip"], "missing.zip: No such file or directory"),
        ([ENV, "--policy", __file__], "is no saved agent, expected a file written by save()"),
        ([ENV, "--action-mode", "sids"], "unknown action_mode 'sids'; did you mean sid"),
    ],
)
@pytest.mark.filterwarnings("ignore:no bundle was named")
def test_wrong_calls_get_one_line(options: list[str], message: str, capsys: Any) -> None:
    assert main(["play", *options]) == 2
    out, error = capsys.readouterr()
    assert message in error
    assert error.count("\n") == 1
    assert out == ""


def test_a_note_is_one_line(tiny_bundle_folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the place in the sources, which Python prints with a warning."""
    make = gymnasium.make

    def careful(*arguments: Any, **settings: Any) -> Any:
        warnings.warn("be careful", UserWarning, stacklevel=2)
        return make(*arguments, **settings)

    monkeypatch.setattr(gymnasium, "make", careful)
    assert play(tiny_bundle_folder) == 0
    assert capsys.readouterr().err == "hsrl-gym: be careful\n"
