"""Baselines that are no SB3 algorithms, and what pretraining and its absence mean for the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import toy
from agents import mean_reward
from toy import OPTIMUM

from hsrl_agent import make_vec_env
from hsrl_agent.baselines import Popularity, RandomSlates, Supervised
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError


def env_of(bundle: Bundle, mode: str = "item", n: int = 16) -> Any:
    return make_vec_env("HSRL-ML1M-v0", n, seed=0, bundle=bundle, action_mode=mode)


def test_random_is_uniform_without_repeats(toy_world: Bundle) -> None:
    agent = RandomSlates(env_of(toy_world), seed=1)
    actions, _ = agent.predict({"profile": np.zeros((6000, 2))})
    assert (actions[:, 0] != actions[:, 1]).all()
    share = np.bincount(actions.ravel(), minlength=toy.N_ITEMS) / actions.size
    np.testing.assert_allclose(share, 1 / toy.N_ITEMS, atol=0.01)
    assert mean_reward(agent, toy_world, "item") == pytest.approx((2 * 0.98 + 10 * 0.02) / 12 * 1.1 - 0.1, abs=0.06)


def test_popularity_shows_what_was_clicked_most(toy_world: Bundle) -> None:
    agent = Popularity(env_of(toy_world)).learn(0)
    actions, _ = agent.predict({"profile": np.zeros((3, 2))})
    assert sorted(actions[0] + 1) == list(toy.LIKED)
    assert (actions == actions[0]).all()


def test_supervised_learns_which_items_are_clicked(toy_world: Bundle) -> None:
    agent = Supervised(env_of(toy_world), seed=0, learning_rate=1e-2, batch_size=64).learn(0)
    assert mean_reward(agent, toy_world, "item") > 0.95 * OPTIMUM


def test_supervised_ranks_by_the_likelihood_of_a_click(toy_world: Bundle) -> None:
    """The loss is over shown items: the value head has no part in it."""
    agent = Supervised(env_of(toy_world), seed=0, max_epochs=1)
    before = {name: value.clone() for name, value in agent.network.named_parameters()}
    agent.learn(0)
    after = dict(agent.network.named_parameters())
    changed = {name.split(".")[0] for name in before if not np.allclose(before[name].detach(), after[name].detach())}
    assert changed == {"encoder", "target", "bias"}  # the value head has no part in it


def test_supervised_leaves_out_what_was_retired(toy_world: Bundle) -> None:
    """The log still has it. The other liked item is shown, also after the retired one is active again."""
    smaller = replace(toy_world, codebook=toy_world.codebook.deactivate([toy.LIKED[0]]))
    agent = Supervised(env_of(smaller), seed=0, learning_rate=1e-2, batch_size=64).learn(0)
    observation = env_of(smaller).reset()
    first = agent.predict(observation)[0] + 1
    assert (first[:, 0] == toy.LIKED[1]).all()
    assert (first != toy.LIKED[0]).all()
    renewed = Supervised(env_of(toy_world), seed=1)
    renewed.transfer_from(agent)
    assert (renewed.predict(observation)[0] + 1 == toy.LIKED[1]).any(1).all()  # (of the other it knows nothing)


def test_bad_input(toy_world: Bundle) -> None:
    with pytest.raises(HsrlError, match='expected an hsrl_gym environment with action_mode="item"'):
        RandomSlates(env_of(toy_world, "sid"))
    with pytest.raises(HsrlError, match=r"predict\(\) came before learn\(\)"):
        Popularity(env_of(toy_world)).predict({"profile": np.zeros((3, 2))})
    with pytest.raises(HsrlError, match=r"predict\(\) came before learn\(\)"):
        Supervised(env_of(toy_world)).predict({"profile": np.zeros((3, 2))})


def test_only_the_critic_of_a2c_learns_during_warmup(toy_world: Bundle) -> None:
    """Two updates that move the critic and nothing else, and a third that moves all."""
    settings = {"pretrain_epochs": 1, "critic_warmup_steps": 2, "n_steps": 1}
    model = METHODS["a2c-pretrained"].make(env_of(toy_world, n=4), 0, "cpu", settings).learn(4)
    moved_by_update = []
    for _ in range(2):
        before = {name: weight.clone() for name, weight in model.policy.network.named_parameters()}
        model.learn(4, reset_num_timesteps=False)
        after = model.policy.network.named_parameters()
        moved_by_update.append({name.split(".")[0] for name, weight in after if not weight.equal(before[name])})
    assert moved_by_update == [{"value"}, {"encoder", "target", "bias", "value"}]


def test_from_scratch_is_without_the_log(toy_world: Bundle) -> None:
    made = {name: METHODS[name].make(env_of(toy_world, "sid", n=4), 0, "cpu", {}) for name in ("hsrl", "hsrl-scratch")}
    assert made["hsrl"].pretrain_epochs > 0
    assert made["hsrl-scratch"].pretrain_epochs == 0
    assert not made["hsrl-scratch"].in_critic_warmup()
