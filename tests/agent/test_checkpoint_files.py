"""Checkpoint files: whole or not there, also when the process is killed; what does not fit is refused in one line."""

from __future__ import annotations

import inspect
import io
import json
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from agents import SMALL
from gymnasium.wrappers import TimeLimit
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize

from hsrl_agent import HSRL, Checkpoint, PaperHSRL, make_vec_env
from hsrl_agent.baselines import HyperDDPG, HyperPolicy
from hsrl_agent.checkpoint import digest
from hsrl_agent.environment_state import check_environment
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.errors import HsrlError

ENV, USERS = "HSRL-Bundle-v0", 4
PLAIN = {"seed": 0, "device": "cpu", "pretrain_epochs": 0, "policy_kwargs": SMALL}


def vec_env(bundle: Bundle | Path, n: int = USERS, **settings: Any) -> Any:
    return make_vec_env(ENV, n, seed=0, bundle=bundle, **settings)


@pytest.fixture(scope="module")
def folder(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of HSRL after 3 vector steps; not to be written to."""
    at = tmp_path_factory.mktemp("run")
    HSRL("HSRLPolicy", vec_env(tiny_bundle), 1e-4, **PLAIN).learn(USERS * 3, callback=Checkpoint(at))
    return at


def test_arguments_come_back(tiny_bundle: Bundle, folder: Path) -> None:
    agent = HSRL.resume(folder, vec_env(tiny_bundle))
    assert (agent.learning_rate, agent.seed, agent.pretrain_epochs) == (1e-4, 0, 0)
    assert agent.policy.width == SMALL["width"]
    assert agent.num_timesteps == USERS * 3
    changed = HSRL.resume(folder, vec_env(tiny_bundle), learning_rate=1e-5, train_freq=(2, "step"))
    assert changed.lr_schedule(1.0) == 1e-5
    # The counters of an agent that was resumed start anew once it has gone on.
    agent.learn(USERS)
    assert agent.num_timesteps == USERS * 4
    assert agent.learn(USERS).num_timesteps == USERS


def test_the_arguments_are_still_to_be_seen() -> None:
    assert list(inspect.signature(HSRL).parameters) == list(inspect.signature(HSRL.__init__).parameters)[1:]
    assert inspect.signature(HyperDDPG).parameters.keys() == {"policy", "env", "settings"}


def test_a_loaded_agent_has_checkpoints_too(tiny_bundle: Bundle, tmp_path: Path) -> None:
    HSRL("HSRLPolicy", vec_env(tiny_bundle), train_freq=(2, "step"), **PLAIN).learn(USERS).save(tmp_path / "agent")
    loaded = HSRL.load(tmp_path / "agent", vec_env(tiny_bundle), learning_rate=1e-6)
    loaded.learn(USERS * 2, callback=Checkpoint(tmp_path / "deep" / "run"))
    again = HSRL.resume(tmp_path / "deep" / "run", vec_env(tiny_bundle))
    assert (again.learning_rate, again.train_freq.frequency) == (1e-6, 2)


def test_nothing_is_pickled_or_unpickled(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("pickle was used")

    env, other = vec_env(tiny_bundle), vec_env(tiny_bundle)
    agent = HSRL("HSRLPolicy", env, **PLAIN)
    for module, names in ((pickle, ("load", "loads", "dump", "dumps", "Unpickler")), (torch, ("load", "save"))):
        for name in names:
            monkeypatch.setattr(module, name, forbidden)
    agent.learn(USERS * 2, callback=Checkpoint(tmp_path))
    HSRL.resume(tmp_path, other)


# --- whole or not there


@pytest.mark.parametrize("name", ["agent", "agent.zip"])
def test_save_replaces_at_once_or_not_at_all(
    name: str, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = HSRL("HSRLPolicy", vec_env(tiny_bundle), **PLAIN)
    agent.save(tmp_path / name)
    before = (tmp_path / "agent.zip").read_bytes()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    for place in ("zipfile.ZipFile.writestr", "hsrl_agent.files.os.replace"):
        with monkeypatch.context() as patched:
            patched.setattr(place, fail)
            with pytest.raises(OSError, match="disk full"):
                agent.save(tmp_path / name)
        assert (tmp_path / "agent.zip").read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["agent.zip"]
    agent.save(content := io.BytesIO())  # and into a file that is open
    content.seek(0)
    assert type(HSRL.load(content, device="cpu")) is HSRL


KILLED = """
    import os, sys, threading, time
    from pathlib import Path
    from stable_baselines3.common.callbacks import ConvertCallback
    from hsrl_agent import HSRL, Checkpoint, make_vec_env

    bundle, folder = Path(sys.argv[1]), Path(sys.argv[2])
    env = make_vec_env("HSRL-Bundle-v0", 4, seed=0, bundle=bundle, churn={"every": 2}, onboarding={"explore": 0.2})
    small = {"width": 16, "n_layers": 1, "n_heads": 2, "critic_hidden": (16,)}
    agent = HSRL("HSRLPolicy", env, seed=0, device="cpu", policy_kwargs=small, pretrain_epochs=1, critic_warmup_steps=3)
    agent.save(folder / "agent")
    hanging = threading.Event()

    def hang(source, target):  # the new file is written aside, and the old one stands
        print(Path(target).name, flush=True)
        hanging.set()
        time.sleep(600)

    def save(*_):
        if agent.num_timesteps == 28:
            os.replace = hang
            threading.Thread(target=agent.save, args=[folder / "agent"]).start()
            hanging.wait()
        return True

    agent.learn(40, callback=[ConvertCallback(save), Checkpoint(folder, every=16)])
"""
RESUMED = """
    import sys
    from pathlib import Path
    from safetensors.torch import save_file
    from hsrl_agent import HSRL, Checkpoint, make_vec_env

    bundle, folder = Path(sys.argv[1]), Path(sys.argv[2])
    env = make_vec_env("HSRL-Bundle-v0", 4, seed=0, bundle=bundle, churn={"every": 2}, onboarding={"explore": 0.2})
    agent = HSRL.resume(folder, env)
    assert agent.num_timesteps == 16, agent.num_timesteps
    agent.learn(40 - agent.num_timesteps, callback=Checkpoint(folder))
    save_file({name: weight.clone() for name, weight in agent.policy.state_dict().items()}, folder / "weights")
"""


def run(code: str, *arguments: Path) -> list[str]:
    return [
        sys.executable,
        "-c",
        "import torch; torch.set_num_threads(1)\n" + textwrap.dedent(code),
        *map(str, arguments),
    ]


def test_a_killed_run_goes_on_in_a_new_process(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """SIGKILL while both files are being replaced: the last ones stand, and the run goes on as if nothing had been."""
    with subprocess.Popen(run(KILLED, tiny_bundle_folder, tmp_path), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert [child.stdout.readline() for _ in range(2)] == ["agent.zip\n", "checkpoint.safetensors\n"]
        child.kill()
    assert child.returncode == -9
    assert HSRL.load(tmp_path / "agent", device="cpu").num_timesteps == 0
    assert len(list(tmp_path.glob(".checkpoint.safetensors-*.tmp"))) == 1
    subprocess.run(run(RESUMED, tiny_bundle_folder, tmp_path), check=True)
    assert not list(tmp_path.glob(".checkpoint*"))  # the next checkpoint removes what the killed one left
    env = vec_env(tiny_bundle_folder, churn={"every": 2}, onboarding={"explore": 0.2})
    whole = HSRL("HSRLPolicy", env, **{**PLAIN, "pretrain_epochs": 1, "critic_warmup_steps": 3}).learn(40)
    resumed = load_file(tmp_path / "weights")
    for name, weight in whole.policy.state_dict().items():
        np.testing.assert_array_equal(weight.numpy(), resumed[name])


# --- refusals


def test_what_is_not_the_same_is_refused(tiny_bundle: Bundle, folder: Path) -> None:
    with pytest.raises(HsrlError, match=r"holds a HSRL, expected a PaperHSRL; take that class"):
        PaperHSRL.resume(folder, vec_env(tiny_bundle))
    with pytest.raises(HsrlError, match="got an agent with 5 environments, expected 4 as when it was saved"):
        HSRL.resume(folder, vec_env(tiny_bundle, 5))
    with pytest.raises(HsrlError, match="got a snapshot of an environment with rules"):
        HSRL.resume(folder, vec_env(tiny_bundle, max_steps=7))
    with pytest.raises(HsrlError, match=r"does not fit this agent \(.*\); make it with the arguments that it had"):
        HSRL.resume(folder, vec_env(tiny_bundle), policy_kwargs={**SMALL, "width": 8})


def test_a_damaged_or_missing_file(tiny_bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        HsrlError, match=r"checkpoint\.safetensors cannot be read .*expected a file that Checkpoint wrote"
    ):
        HSRL.resume(tmp_path, vec_env(tiny_bundle))
    file = tmp_path / "checkpoint.safetensors"
    whole = (folder / "checkpoint.safetensors").read_bytes()
    for content in (b"", whole[:2000], b"x" * 100):
        file.write_bytes(content)
        with pytest.raises(HsrlError, match="cannot be read"):
            HSRL.resume(tmp_path, vec_env(tiny_bundle))
    file.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    with pytest.raises(HsrlError, match="content is not what was written"):
        HSRL.resume(tmp_path, vec_env(tiny_bundle))


def without(name: str) -> Callable[[Any], Any]:
    return lambda part: part.pop(name)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("agent", without("class"), "cannot be read"),
        ("agent", without("arguments"), "cannot be read"),
        ("agent", without("missing"), "cannot be read"),
        ("agent", lambda agent: agent.update(arguments=[]), "cannot be read .no arguments of the agent"),
        ("agent", lambda agent: agent["arguments"].update(no_such=1), "does not fit this agent"),
        ("agent", lambda agent: agent["arguments"].update(learning_rate="x"), "does not fit this agent"),
        ("progress", without("num_timesteps"), "got a checkpoint without num_timesteps, expected every counter"),
    ],
)
def test_a_changed_file(
    part: str, change: Callable[[Any], Any], message: str, tiny_bundle: Bundle, folder: Path, tmp_path: Path
) -> None:
    """Somebody wrote other values, with the digest of these."""
    with safe_open(folder / "checkpoint.safetensors", "np") as content:
        values = json.loads(content.metadata()["values"])
    change(values[part])
    arrays, text = load_file(folder / "checkpoint.safetensors"), json.dumps(values)
    save_file(arrays, tmp_path / "checkpoint.safetensors", {"values": text, "sha256": digest(arrays, text)})
    with pytest.raises(HsrlError, match=message):
        HSRL.resume(tmp_path, vec_env(tiny_bundle))


def test_an_argument_without_a_form_in_json_is_asked_for(tiny_bundle: Bundle, tmp_path: Path) -> None:
    agent = HSRL("HSRLPolicy", vec_env(tiny_bundle), lambda _: 1e-4, **PLAIN)
    agent.learn(USERS, callback=Checkpoint(tmp_path))
    with pytest.raises(
        HsrlError, match=r"cannot hold the argument learning_rate of the agent; give it again: HSRL\.resume"
    ):
        HSRL.resume(tmp_path, vec_env(tiny_bundle))


def test_states_that_a_checkpoint_does_not_hold(tiny_bundle: Bundle, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    normalized = VecNormalize(vec_env(tiny_bundle), norm_obs=False)
    with pytest.raises(HsrlError, match="got an environment in a VecNormalize, whose state a checkpoint does not hold"):
        HSRL("HSRLPolicy", normalized, **PLAIN).learn(USERS, callback=checkpoint)
    limited = TimeLimit(gymnasium.make(ENV, bundle=tiny_bundle), 5)
    with pytest.raises(HsrlError, match="got an environment in a TimeLimit"):
        HSRL("HSRLPolicy", limited, **PLAIN).learn(USERS, callback=checkpoint)
    env = vec_env(tiny_bundle, action_mode="hyper")
    width = env.action_space.shape[0]
    noise = OrnsteinUhlenbeckActionNoise(np.zeros(width), np.ones(width))
    with pytest.raises(HsrlError, match="got OrnsteinUhlenbeckActionNoise, expected NormalActionNoise or none"):
        HyperDDPG(HyperPolicy, env, action_noise=noise, buffer_size=64).learn(USERS, callback=checkpoint)
    with pytest.raises(HsrlError, match="checkpoint every"):
        Checkpoint(tmp_path, every=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("named", [True, False])
def test_wrappers_in_other_processes(named: bool, tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """Those without a state may be there; also around an environment that has no id."""

    def make(limit: int | None) -> Any:
        env = gymnasium.make(ENV, bundle=tiny_bundle_folder) if named else SlateEnv(tiny_bundle_folder)
        return Monitor(env if limit is None else TimeLimit(env, limit))

    for limit in (None, 5):
        envs = SubprocVecEnv([partial(make, limit)], start_method="fork")
        try:
            if limit is None:
                check_environment(envs)
            else:
                with pytest.raises(HsrlError, match="got an environment in a TimeLimit, whose state a checkpoint does"):
                    check_environment(envs)
        finally:
            envs.close()


def test_a_folder_that_cannot_be_written(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HsrlError, match=r"checkpoint\.safetensors cannot be written .*give another folder"):
        HSRL("HSRLPolicy", vec_env(tiny_bundle), **PLAIN).learn(USERS, callback=Checkpoint(tmp_path / "file"))
