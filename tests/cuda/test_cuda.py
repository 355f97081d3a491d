"""The environment and the agents on CUDA. `make gpu` runs these tests; without CUDA they are skipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hsrl_agent.methods import METHODS, find_method
from hsrl_agent.vec_env import make_vec_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.vector_env import SlateVectorEnv

DEVICE = "cuda"
ENV = "HSRL-RL4RS-v0"
N_USERS = 64
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
    pytest.mark.filterwarnings("ignore:You are trying to run"),  # SB3's advice to keep A2C and PPO on the CPU
]


def make(name: str, bundle: Bundle, device: str, n_envs: int = 8, **settings: Any) -> Any:
    """Return an agent that has not learned yet."""
    method = find_method(name)
    envs = make_vec_env(ENV, n_envs, bundle=bundle, action_mode=method.action_mode, device=device)
    envs.seed(0)
    return method.make(envs, 0, device, settings)


def test_a_step_equals_that_on_the_cpu(tiny_bundle: Bundle) -> None:
    """Noise is counted, not drawn, so only a probability within rounding of its noise may turn out otherwise."""
    on_cpu, on_gpu = SlateVectorEnv(N_USERS, tiny_bundle), SlateVectorEnv(N_USERS, tiny_bundle, device=DEVICE)
    first, second = on_cpu.reset(seed=3)[0], on_gpu.reset(seed=3)[0]
    for name in ("profile", "history"):
        np.testing.assert_array_equal(first[name], second[name])
    on_cpu.action_space.seed(0)
    actions = on_cpu.action_space.sample()
    _, reward, _, _, info = on_cpu.step(actions)
    _, reward_gpu, _, _, info_gpu = on_gpu.step(actions)
    np.testing.assert_array_equal(info["slate"], info_gpu["slate"])
    same = (info["clicks"] == info_gpu["clicks"]).all(axis=1)
    assert same.mean() > 0.98
    np.testing.assert_allclose(reward[same], reward_gpu[same], atol=1e-5)


def test_an_update_of_hsrl_moves_its_weights(tiny_bundle: Bundle) -> None:
    agent = make("hsrl", tiny_bundle, DEVICE, pretrain_epochs=1, critic_warmup_steps=1)
    before = [weight.detach().clone() for weight in agent.policy.network.parameters()]
    agent.learn(8 * 8)
    after = list(agent.policy.network.parameters())
    assert all(weight.device.type == DEVICE for weight in after)
    assert all(torch.isfinite(weight).all() for weight in after)
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_a_greedy_policy_is_the_same_as_on_the_cpu(tiny_bundle: Bundle) -> None:
    """With the same weights nearly all slates are equal; scores that tie within rounding may change places."""
    on_cpu, on_gpu = make("hsrl", tiny_bundle, "cpu"), make("hsrl", tiny_bundle, DEVICE)
    on_gpu.policy.load_state_dict(on_cpu.policy.state_dict())
    observation, _ = SlateVectorEnv(N_USERS, tiny_bundle).reset(seed=0)
    first, second = (agent.predict(observation, deterministic=True)[0] for agent in (on_cpu, on_gpu))
    assert (first == second).mean() > 0.95


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_and_acts(name: str, tiny_bundle: Bundle) -> None:
    agent = make(name, tiny_bundle, DEVICE)
    agent.learn(8 * 4)
    envs = SlateVectorEnv(8, tiny_bundle, action_mode=find_method(name).action_mode, device=DEVICE)
    observation, _ = envs.reset(seed=0)
    _, reward, *_ = envs.step(agent.predict(observation, deterministic=True)[0])
    assert np.isfinite(reward).all()
