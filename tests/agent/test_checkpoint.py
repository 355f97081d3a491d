"""Training that stops at a checkpoint and goes on equals training that never stopped, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from agents import SMALL
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from hsrl_agent import HSRL, Checkpoint, make_vec_env
from hsrl_agent.baselines import PretrainedA2C
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import Bundle

ENV, USERS, STEPS = "HSRL-Bundle-v0", 4, 8
TOTAL = USERS * STEPS
CHURN = {"every": 2, "held_back": 0.3, "arrive": 0.1}
ONBOARDING = {"explore": 0.2, "move_every": 3}
START = {"pretrain_epochs": 1, "critic_warmup_steps": 5}  # the warm-up ends between the stop and the end
# Online methods with the settings that make them learn in so few steps.
LEARNERS: dict[str, dict[str, Any]] = {
    "a2c": {},
    "a2c-pretrained": START,
    "ddpg": {"learning_starts": 8, "buffer_size": 20},
    "td3": {"learning_starts": 8},
    "pgra": {},
    "hac": {"learning_starts": 8},
    "hac-pretrained": START,
    "ppo": {"n_steps": 2},
    "hsrl-items": {"pretrain_epochs": 0},
    "hsrl-two-tower": {"pretrain_epochs": 0},
    "hsrl": START,
}


class StopAt(BaseCallback):
    """Stops in the middle of a rollout, as a crash does."""

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.timesteps = timesteps

    def _on_step(self) -> bool:
        return self.num_timesteps < self.timesteps


def whole_state(agent: Any) -> dict[str, Any]:
    """Return weights, optimizers and counters."""
    modules, _ = agent._get_torch_save_params()
    states = {name: recursive_getattr(agent, name).state_dict() for name in modules}
    counters = {name: getattr(agent, name) for name in ("num_timesteps", "_n_updates", "_episode_num")}
    sessions = [(one["r"], one["l"]) for one in agent.ep_info_buffer]
    return {**states, **counters, "sessions": sessions}


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_equal(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    else:
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


def make_agent(name: str, bundle: Bundle, **env_settings: Any) -> Any:
    method = METHODS[name]
    env = make_vec_env(ENV, USERS, seed=0, bundle=bundle, action_mode=method.action_mode, **env_settings)
    return method.make(env, 0, "cpu", {"policy_kwargs": dict(SMALL), **LEARNERS[name]})


def learn_rest(agent: Any) -> None:
    """Learn up to the end; SB3's own algorithms have to be told that they go on."""
    agent.learn(TOTAL - agent.num_timesteps, **({} if hasattr(agent, "resume") else {"reset_num_timesteps": False}))


def test_all_online_methods_are_checked() -> None:
    """But those that are others with other settings."""
    online = {name for name, method in METHODS.items() if method.learns_online}
    assert set(LEARNERS) == online - {"hsrl-scratch", "hsrl-paper"}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_stop_changes_nothing(name: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """In a catalog that changes: its state and what the policy knows of it come along."""
    settings: dict[str, Any] = {"churn": CHURN, **({"onboarding": ONBOARDING} if name == "hsrl" else {})}
    whole = make_agent(name, tiny_bundle, **settings)
    env = whole.env  # for another agent later: a checkpoint needs no environment of its own
    whole.learn(TOTAL)
    stopped = make_agent(name, tiny_bundle, **settings)
    stopped.learn(TOTAL, callback=[Checkpoint(tmp_path, every=USERS * 4), StopAt(USERS * 6)])
    assert stopped.num_timesteps == USERS * 6
    np.random.seed(99)  # noqa: NPY002  (whatever has happened since)
    if hasattr(stopped, "resume"):
        agent = type(stopped).resume(tmp_path, env)
    else:
        agent = stopped  # one that has learned will do as well
        agent.set_env(env)
        Checkpoint.restore(tmp_path, agent)
    assert agent.num_timesteps == USERS * 4
    learn_rest(agent)
    assert agent.num_timesteps == TOTAL
    assert_equal(whole_state(agent), whole_state(whole))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_checkpoints_change_nothing(tiny_bundle: Bundle, tmp_path: Path) -> None:
    without = make_agent("hsrl", tiny_bundle, churn=CHURN).learn(TOTAL)
    checked = make_agent("hsrl", tiny_bundle, churn=CHURN).learn(TOTAL, callback=Checkpoint(tmp_path, every=USERS))
    assert_equal(whole_state(checked), whole_state(without))
    again = HSRL.resume(tmp_path, make_agent("hsrl", tiny_bundle, churn=CHURN).env)
    assert_equal(whole_state(again), whole_state(without))  # there is one at the end


def single(bundle: Bundle) -> Any:
    return gymnasium.make(ENV, bundle=bundle, churn=CHURN)


@pytest.mark.parametrize("n_envs", [1, 2])
def test_single_environments(n_envs: int, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Each has a catalog of its own; the policy follows the first one's."""

    def make() -> Any:
        return single(tiny_bundle) if n_envs == 1 else DummyVecEnv([lambda: single(tiny_bundle)] * n_envs)

    def agent() -> Any:
        return HSRL("HSRLPolicy", make(), seed=0, device="cpu", pretrain_epochs=0, policy_kwargs=dict(SMALL))

    whole = agent().learn(n_envs * 20)
    agent().learn(n_envs * 20, callback=[Checkpoint(tmp_path, every=n_envs * 7), StopAt(n_envs * 12)])
    again = HSRL.resume(tmp_path, make())
    again.learn(n_envs * 20 - again.num_timesteps)
    assert_equal(whole_state(again), whole_state(whole))


def test_a_schedule_goes_on(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """JSON holds no function, so it is given again; what remains is counted from the whole."""

    def falling(remaining: float) -> float:
        return 1e-3 * remaining

    def make() -> Any:
        env = make_vec_env(ENV, USERS, seed=0, bundle=tiny_bundle)
        return HSRL("HSRLPolicy", env, falling, seed=0, device="cpu", pretrain_epochs=0, policy_kwargs=dict(SMALL))

    whole = make().learn(TOTAL)
    make().learn(TOTAL, callback=[Checkpoint(tmp_path, every=USERS * 4), StopAt(USERS * 6)])
    again = HSRL.resume(tmp_path, make().env, learning_rate=falling)
    again.learn(TOTAL - again.num_timesteps)
    assert_equal(whole_state(again), whole_state(whole))


@pytest.mark.filterwarnings("ignore:the ids of `history`")
def test_sb3s_own_algorithm_and_policy(tiny_bundle: Bundle, tmp_path: Path) -> None:
    def make() -> PPO:
        env = make_vec_env(ENV, USERS, seed=0, bundle=tiny_bundle, action_mode="item", churn=CHURN)
        return PPO("MultiInputPolicy", env, seed=0, device="cpu", n_steps=2, batch_size=8, n_epochs=2)

    whole = make().learn(TOTAL)
    make().learn(TOTAL, callback=[Checkpoint(tmp_path, every=USERS * 4), StopAt(USERS * 6)])
    again = make()
    Checkpoint.restore(tmp_path, again)
    learn_rest(again)
    assert_equal(whole_state(again), whole_state(whole))


def test_an_optimizer_that_counts_without_tensors(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """SB3's own RMSprop of A2C, which SB3 writes into `policy_kwargs`."""

    def env() -> Any:
        return make_vec_env(ENV, USERS, seed=0, bundle=tiny_bundle, action_mode="item")

    def make() -> Any:
        return PretrainedA2C("ItemPolicy", env(), seed=0, pretrain_epochs=0, n_steps=2, policy_kwargs=dict(SMALL))

    whole = make().learn(TOTAL)
    make().learn(TOTAL, callback=[Checkpoint(tmp_path, every=USERS * 4), StopAt(USERS * 6)])
    again = PretrainedA2C.resume(tmp_path, env())
    again.learn(TOTAL - again.num_timesteps)
    assert_equal(whole_state(again), whole_state(whole))


def test_the_market_goes_on(tmp_path: Path) -> None:
    market = {"n_ads": 600, "n_campaigns": 80, "n_candidates": 32, "n_users": 100, "n_segments": 4, "n_days": 7}

    def env() -> Any:
        return make_vec_env("HSRL-Ads-v0", USERS, seed=0, market=market, steps_per_day=4)

    def make() -> Any:
        return HSRL("HSRLPolicy", env(), seed=0, device="cpu", pretrain_epochs=0, policy_kwargs=dict(SMALL))

    whole = make().learn(TOTAL)
    make().learn(TOTAL, callback=[Checkpoint(tmp_path, every=USERS * 4), StopAt(USERS * 6)])
    again = HSRL.resume(tmp_path, env())
    again.learn(TOTAL - again.num_timesteps)
    assert_equal(whole_state(again), whole_state(whole))
