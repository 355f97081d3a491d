"""Policies read from saved agents act as the agents do, and files that are none are refused in one line."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.torch_layers import CombinedExtractor
from torch import nn

from hsrl_agent import HSRL, make_vec_env
from hsrl_agent.baselines.simple import Popularity
from hsrl_agent.saved import read_policy
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError

pytestmark = pytest.mark.filterwarnings("ignore:the ids of")  # to a plain network, which suffices here
ENV = "HSRL-RL4RS-v0"


def agent_of(kind: str, bundle: Bundle) -> Any:
    mode = {"hsrl": "sid", "mlp": "sid", "relu": "sid", "item": "item", "sac": "hyper", "popularity": "item"}[kind]
    envs = make_vec_env(ENV, 2, seed=0, bundle=bundle, action_mode=mode)
    if kind == "hsrl":
        return HSRL("HSRLPolicy", envs, seed=0, policy_kwargs={"width": 16}), mode
    if kind == "sac":
        return SAC("MultiInputPolicy", envs, seed=0, policy_kwargs={"net_arch": [8]}), mode
    if kind == "popularity":
        return Popularity(envs).learn(0), mode
    if kind == "relu":  # classes among the settings
        kwargs = {"activation_fn": nn.ReLU, "features_extractor_class": CombinedExtractor}
        return PPO("MultiInputPolicy", envs, seed=0, policy_kwargs=kwargs), mode
    return PPO("ItemPolicy" if kind == "item" else "MultiInputPolicy", envs, seed=0), mode


@pytest.fixture(scope="module")
def saved(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An HSRL agent."""
    path = tmp_path_factory.mktemp("agents") / "hsrl.zip"
    agent_of("hsrl", tiny_bundle)[0].save(path)
    return path


@pytest.mark.parametrize("kind", ["hsrl", "mlp", "relu", "item", "sac", "popularity"])
def test_a_saved_policy_acts_as_its_agent(tiny_bundle: Bundle, tmp_path: Path, kind: str) -> None:
    agent, mode = agent_of(kind, tiny_bundle)
    agent.save(tmp_path / "agent")
    (file,) = tmp_path.iterdir()
    policy = read_policy(file)
    assert policy.action_mode in (mode, None)
    assert (policy.action_mode is None) == (kind in ("mlp", "relu", "sac"))
    env = gymnasium.make(ENV, bundle=tiny_bundle, action_mode=mode)
    act = policy.actor(env)
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        batch = {name: values[None] for name, values in observation.items()}
        np.testing.assert_array_equal(act(observation, True), agent.predict(batch, deterministic=True)[0][0])


def test_the_ending_may_be_left_out(saved: Path) -> None:
    assert read_policy(saved.with_suffix("")).action_mode == "sid"


def rewritten(path: Path, out: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Return a copy of a zip whose files were changed."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out


def with_data(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        files["data"] = json.dumps({**json.loads(files["data"]), **changes}).encode()

    return change


def with_weights(make: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        buffer = io.BytesIO()
        torch.save(make(torch.load(io.BytesIO(files["policy.pth"]), weights_only=True)), buffer)
        files["policy.pth"] = buffer.getvalue()

    return change


class Evil:
    def __reduce__(self) -> Any:
        return (Path("pwned").touch, ())


def pickled(what: Any) -> dict[str, str]:
    return {":type:": "x", ":serialized:": base64.b64encode(pickle.dumps(what)).decode()}


def nan(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: one * float("nan") if one.is_floating_point() else one for name, one in weights.items()}


def far(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: one if one.is_floating_point() else one + 10**6 for name, one in weights.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_data(policy_class=pickled(Evil())), "expected a policy of hsrl_agent"),
        (with_data(policy_class=pickled(zipfile.ZipFile)), "its policy is zipfile:ZipFile, expected a policy of"),
        (with_data(policy_class=pickled(HSRL)), "its policy is hsrl_agent.hsrl:HSRL, expected a policy of"),
        (with_data(policy_class=3), "cannot be read"),
        (with_data(policy_kwargs=pickled(Evil())), "its weights have other names or sizes"),
        (with_data(policy_kwargs={"activation_fn": "<class 'zipfile.ZipFile'>"}), "does not fit the environment"),
        (with_data(policy_kwargs=[1]), "holds no settings and weights of a policy"),
        (with_data(policy_kwargs={"width": "wide"}), "does not fit the environment"),
        (with_data(policy_kwargs={"no_such": 1}), "does not fit the environment"),
        (with_data(policy_kwargs={"width": 32}), "its weights have other names or sizes"),
        (lambda files: files.update(data=b"\x00\xff"), "cannot be read"),
        (lambda files: files.pop("data"), "cannot be read"),
        (lambda files: files.pop("policy.pth"), "cannot be read"),
        (lambda files: files.update({"policy.pth": pickle.dumps(Evil())}), "cannot be read"),
        (lambda files: files.update({"policy.pth": files["policy.pth"][:5000]}), "cannot be read"),
        (with_weights(nan), "weights that are not finite"),
        (with_weights(lambda weights: {}), "its weights have other names or sizes"),
        (with_weights(lambda weights: [1]), "holds no settings and weights of a policy"),
        (with_weights(lambda weights: dict.fromkeys(weights, 1)), "its weights have other names or sizes"),
        (with_weights(far), "its policy finds no action"),
    ],
)
def test_a_changed_file_is_refused_in_one_line(
    saved: Path, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, message: str
) -> None:
    """Nothing of it is run."""
    monkeypatch.chdir(tmp_path)
    file = rewritten(saved, tmp_path / "changed.zip", change)
    env = gymnasium.make(ENV, bundle=tiny_bundle)
    with pytest.raises(HsrlError, match=message) as error:
        read_policy(file).actor(env)(env.reset(seed=0)[0], True)
    assert "\n" not in str(error.value)
    assert not Path("pwned").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no agent", b"\x80\x05."])
def test_a_file_that_is_no_agent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent.zip").write_bytes(content)
    with pytest.raises(HsrlError, match=r"agent\.zip is no saved agent, expected a file written by save\(\)"):
        read_policy(tmp_path / "agent.zip")


@pytest.mark.parametrize("name", ["HSRL", "A2C", "PGRA", "Popularity2", "x" * 300])
def test_a_file_of_tensors_that_holds_no_item_agent(tmp_path: Path, name: str) -> None:
    """The agents of SB3 are no such files, although they are methods, too."""
    save_file({}, tmp_path / "agent.safetensors", {"class": name})
    with pytest.raises(
        HsrlError, match=r"agent\.safetensors holds '.*', expected an agent of such files: .*Popularity"
    ):
        read_policy(tmp_path / "agent.safetensors")


def test_a_policy_of_another_action_mode(saved: Path, tiny_bundle: Bundle) -> None:
    with pytest.raises(HsrlError, match="HSRLPolicy got the action space"):
        read_policy(saved).actor(gymnasium.make(ENV, bundle=tiny_bundle, action_mode="item"))
