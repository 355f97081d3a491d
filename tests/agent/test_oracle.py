"""The greedy oracle: the likeliest items of the `eval` user, whatever the chunks."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from agents import ENV, mean_reward
from toy import OPTIMUM, ToyUser

from hsrl_agent import make_vec_env
from hsrl_agent.baselines import GreedyOracle, oracle
from hsrl_agent.vec_env import slate_vector_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError


def test_reaches_the_optimum_of_the_toy_world(toy_world: Bundle) -> None:
    """It takes the `eval` user: the `train` user here likes nothing."""

    class Bored(ToyUser):
        def forward(self, profile: torch.Tensor, history: torch.Tensor, slate: torch.Tensor) -> torch.Tensor:
            return -super().forward(profile, history, slate)

    bundle = replace(toy_world, simulators={"train": Bored(), "eval": ToyUser()})  # type: ignore[dict-item]
    agent = GreedyOracle(make_vec_env(ENV, 4, bundle=bundle, action_mode="item")).learn(0)
    assert mean_reward(agent, bundle, "item") == pytest.approx(OPTIMUM, abs=0.02)


@pytest.mark.parametrize("n_pairs", [1, 1000, 1 << 16])
def test_shows_the_likeliest_live_items(n_pairs: int, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "_PAIRS_AT_ONCE", n_pairs)
    bundle = replace(tiny_bundle, codebook=tiny_bundle.codebook.deactivate([1, 2, 3]))
    env = make_vec_env(ENV, 9, seed=0, bundle=bundle, simulator="eval", action_mode="item")
    observation = env.reset()
    for _ in range(3):  # histories of several lengths
        observation, *_ = env.step(GreedyOracle(env).predict(observation)[0])
    assert isinstance(observation, dict)
    profile, history = torch.as_tensor(observation["profile"]), torch.as_tensor(observation["history"]).long()
    items = torch.arange(4, bundle.n_items + 1)
    with torch.no_grad():
        logits = bundle.simulators["eval"](profile, history, items.expand(9, -1))
    best = items[logits.argsort(dim=1, descending=True)[:, : bundle.slate_size]].numpy()
    np.testing.assert_array_equal(GreedyOracle(env).predict(observation)[0] + 1, best)


def test_bind_names_the_users(tiny_bundle: Bundle) -> None:
    """After `bind`, the users are those of the environment: here the `train` user."""
    agent = GreedyOracle(make_vec_env(ENV, 4, bundle=tiny_bundle, action_mode="item"))
    arguments = {"bundle": tiny_bundle, "simulator": "train", "action_mode": "item"}
    envs = slate_vector_env(gymnasium.make_vec(ENV, num_envs=6, vectorization_mode="vector_entry_point", **arguments))
    observation, _ = envs.reset(seed=3)
    for _ in range(4):  # some users are replaced
        slates, _ = agent.bind(envs).predict(observation)
        profile, history = torch.as_tensor(observation["profile"]), torch.as_tensor(observation["history"]).long()
        with torch.no_grad():
            everything = torch.arange(1, tiny_bundle.n_items + 1).expand(6, -1)
            logits = tiny_bundle.simulators["train"](profile, history, everything)
        np.testing.assert_array_equal(slates, logits.topk(tiny_bundle.slate_size).indices.numpy())
        assert (slates != agent.predict(observation)[0]).any()
        observation, *_ = envs.step(slates)


def test_bad_input(toy_world: Bundle) -> None:
    with pytest.raises(HsrlError, match='expected an hsrl_gym environment with action_mode="item"'):
        GreedyOracle(make_vec_env(ENV, 2, bundle=toy_world))
