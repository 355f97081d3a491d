"""Helpers of the tests of agents: small agents on the toy world, and measurements of them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import toy
from torch import Tensor, nn

from hsrl_agent import HSRL, make_vec_env
from hsrl_agent.buffers import SlateSamples
from hsrl_agent.hsrl_network import Plan
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import Bundle

ENV = "HSRL-ML1M-v0"  # reward mean_with_cost
SMALL: dict[str, Any] = {"width": 16, "n_layers": 1, "n_heads": 2, "critic_hidden": (16,)}
WITH_TARGET = (
    "ddpg",
    "td3",
    "pgra",
    "hac",
    "hac-pretrained",
    "hsrl-items",
    "hsrl-two-tower",
    "hsrl",
)  # methods with replay


def make_hsrl(
    bundle: Bundle,
    num_envs: int = 8,
    seed: int = 0,
    agent_class: Any = HSRL,
    network: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """Return a small agent that is not pretrained unless `settings` say so; `network` are more of `policy_kwargs`."""
    env = make_vec_env(ENV, num_envs, seed=seed, bundle=bundle)
    if agent_class is HSRL:
        settings = {"pretrain_epochs": 0, **settings}
    policy_kwargs = {**SMALL, **(network or {})}
    return agent_class("HSRLPolicy", env, seed=seed, device="cpu", policy_kwargs=policy_kwargs, **settings)


def mean_reward(model: Any, bundle: Bundle, action_mode: str = "sid", n_users: int = 200) -> float:
    """Return the mean reward a step of greedy sessions, over their first steps."""
    envs = gymnasium.make_vec(ENV, num_envs=n_users, bundle=bundle, simulator="eval", action_mode=action_mode)
    observation, _ = envs.reset(seed=1)
    rewards = []
    for _ in range(3):
        observation, reward, *_ = envs.step(model.predict(observation, deterministic=True)[0])
        rewards.append(reward.mean())
    return float(np.mean(rewards))


def two_transitions(terminated: tuple[float, float] = (0.0, 1.0), **changes: Any) -> SlateSamples:
    """Return transitions of two users: the first stays and clicked the first of two items, the second leaves."""
    observation = {"profile": torch.zeros(2, 2), "history": torch.zeros(2, 5)}
    return SlateSamples(
        observation,
        observation,
        slates=torch.tensor([[1, 4], [2, 3]]),
        clicks=torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
        rewards=torch.tensor([0.45, 1.7]),
        terminated=torch.tensor(terminated),
        patience=torch.tensor([20.0, 3.0]),
        next_patience=torch.tensor([15.0, -2.0]),
    )._replace(**changes)


def moved(before: dict[str, Tensor], model: Any) -> set[str]:
    """Return the names of the network's weights that are not what they were."""
    return {name for name, weight in model.policy.network.named_parameters() if not torch.equal(before[name], weight)}


def weights_of(model: Any) -> dict[str, Tensor]:
    """Return copies of the network's weights."""
    return {name: weight.detach().clone() for name, weight in model.policy.network.named_parameters()}


def make(name: str, bundle: Bundle, num_envs: int = 16, seed: int = 0, **settings: Any) -> Any:
    """Return a small agent of a method of the registry."""
    method = METHODS[name]
    env = make_vec_env(ENV, num_envs, seed=seed, bundle=bundle, action_mode=method.action_mode)
    return method.make(env, seed, "cpu", {"policy_kwargs": dict(SMALL), **settings})


def learnt(name: str, bundle: Bundle, n_steps: int = 20, **settings: Any) -> Any:
    """Return the agent after a few steps, most of which it has learned from."""
    early = {"learning_starts": 32} if name in WITH_TARGET else {}
    return make(name, bundle, 8, **{**early, **settings}).learn(8 * n_steps)


def answer_by_hand(model: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the agent with a network that says: uniform tokens, V(s) = 1 and 2, V_target(s') = 3 and 5.

    Items 1 to 4 have likelihood 0.1, 0.2, 0.3 and 0.4, all others none.
    """
    uniform = [torch.full((2, 4), 0.25).log(), torch.tensor([[0.5, 0.5, 0.0, 0.0]] * 2).clamp(min=1e-9).log()]

    def plan(observations: dict[str, Tensor], target: bool = False, patience: object = None) -> Plan:
        value = torch.tensor([3.0, 5.0]) if target else torch.tensor([1.0, 2.0], requires_grad=True)
        return Plan(uniform, value, torch.zeros(2, 3), torch.zeros(2, 3, 16))

    monkeypatch.setattr(model.policy, "plan", plan)
    scores = torch.full((2, toy.N_ITEMS), -torch.inf)
    scores[:, :4] = torch.tensor([1.0, 2.0, 3.0, 4.0]).log()
    monkeypatch.setattr(model.policy.network, "item_scores", lambda plan: scores)
    return model


def set_linear(layer: nn.Linear, weight: Tensor) -> nn.Linear:
    """Return the layer as x -> weight x."""
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.zero_()
    return layer


def reached(model: Any, term: str) -> set[str]:
    """Return the parts of the network that a term of the loss has a gradient for."""
    network = model.policy.network
    model.policy.optimizer.zero_grad(set_to_none=True)
    getattr(model.losses(model.replay_buffer.sample(32)), term).backward()
    assert all(weight.grad is None for weight in model.policy.target_network.parameters())
    found = {name for name, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()}
    return {name.split(".")[0] for name in found}
