"""Who plays the users: by name, by object, by a factory of one's own; and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.bundle.simulators import open_world, pool_of
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError


class Likes(nn.Module):
    """Clicks items up to a number, and nothing else."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = nn.Parameter(torch.tensor(float(last)))

    def forward(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        assert not self.training
        return torch.where(slate <= self.last, 50.0, -50.0)


def likes_half(profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
    return torch.where(slate <= 30, 50.0, -50.0)


MODULE = """
import torch
NUMBER = 3
def factory(bundle):
    half = bundle.n_items // 2
    return lambda profile, history, slate: torch.where(slate <= half, 50.0, -50.0)
def wrong(bundle):
    return 3
def wide(bundle):
    return lambda profile, history, slate: slate.float()[:, :1]
def nan(bundle):
    return lambda profile, history, slate: slate * torch.nan
def no_bundle():
    return 3
def breaks(bundle):
    raise ValueError("no such file\\nin this folder")
def one_argument(bundle):
    return lambda profile: profile
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_users_for_tests.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_users_for_tests"


@pytest.mark.parametrize("kind", ["module", "function", "factory"])
def test_a_user_of_your_own(tiny_bundle: Bundle, own_module: str, kind: str) -> None:
    simulator: Any = {"module": Likes(30).train(), "function": likes_half, "factory": f"{own_module}:factory"}[kind]
    envs = SlateVectorEnv(64, tiny_bundle, action_mode="item", simulator=simulator)
    observation, _ = envs.reset(seed=0)
    there, _ = SlateVectorEnv(64, tiny_bundle, action_mode="item", simulator="eval").reset(seed=0)
    np.testing.assert_array_equal(observation["profile"], there["profile"])  # the users of the eval pool
    envs.action_space.seed(0)
    info = envs.step(envs.action_space.sample())[-1]
    np.testing.assert_array_equal(info["clicks"], info["slate"] <= 30)
    if kind == "module":
        assert simulator.training  # the caller's own is left as it was


def test_an_id_takes_it_too(tiny_bundle_folder: Path, own_module: str) -> None:
    env = gymnasium.make("HSRL-Bundle-v0", bundle=str(tiny_bundle_folder), simulator=f"{own_module}:factory")
    assert env.spec is not None
    assert json.loads(env.spec.to_json())["kwargs"]["simulator"] == f"{own_module}:factory"
    gymnasium.make("HSRL-Bundle-v0", bundle=str(tiny_bundle_folder), simulator=likes_half).reset(seed=0)


def test_pools(tiny_bundle: Bundle) -> None:
    assert pool_of(tiny_bundle, "train") is tiny_bundle.users["train"]
    for other in ("eval", "true", "package.module:factory", likes_half):
        assert pool_of(tiny_bundle, other) is tiny_bundle.users["eval"]


def test_a_world_of_another_size_is_not_even_made(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr("hsrl_gym.bundle.simulators.SyntheticWorld", lambda *named: made.append(named))
    stranger = replace(tiny_bundle, provenance={"world": {"shape": "rl4rs-1999999", "seed": 0}})
    with pytest.raises(HsrlError, match=r"has 60 items, expected the 1,999,999 of its world 'rl4rs-1999999'"):
        open_world(stranger)
    assert made == []


@pytest.mark.parametrize(
    ("simulator", "message"),
    [
        ("tru", "unknown simulator 'tru'; did you mean true"),
        (3, "got simulator 3, expected 'train', 'eval', 'true', 'package.module:factory' or a ClickModel"),
        ("no_such_module:factory", "cannot be imported .*No module named 'no_such_module'"),
        ("own_users_for_tests:missing", "cannot be imported .*missing"),
        (":factory", "cannot be imported"),
        ("own_users_for_tests:NUMBER", "a int, expected a function of the bundle"),
        ("own_users_for_tests:wrong", "returned a int, expected a ClickModel"),
        ("own_users_for_tests:wide", r"returned \(2, 1\), expected a float tensor of logits \(B, K\) = \(2, 4\)"),
        ("own_users_for_tests:nan", "returned a logit of nan, expected finite numbers"),
        ("own_users_for_tests:no_bundle", r"the factory own_users_for_tests:no_bundle failed \(TypeError: no_bundle"),
        ("own_users_for_tests:breaks", r"breaks failed \(ValueError: no such file in this folder\); expected factory"),
        ("own_users_for_tests:one_argument", r"the click model of simulator= failed \(TypeError: "),
        (lambda *arguments: None, "returned NoneType, expected a float tensor"),
    ],
)
def test_what_is_no_user_is_refused(tiny_bundle: Bundle, own_module: str, simulator: Any, message: str) -> None:
    with pytest.raises(HsrlError, match=message) as caught:
        SlateEnv(tiny_bundle, simulator=simulator)
    assert "\n" not in str(caught.value)
