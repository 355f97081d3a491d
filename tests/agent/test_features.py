"""The extractor returns what the encoder returns, for observations as SB3 converts them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from agents import ENV, make
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.preprocessing import preprocess_obs

from hsrl_agent import HSRLPolicy, ItemPolicy, SASRecExtractor, make_vec_env
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.bundle.store import PACKAGED
from hsrl_gym.errors import HsrlError


def test_floats_of_ids_are_the_ids_again(toy_world: Bundle) -> None:
    env = make_vec_env(ENV, 3, seed=0, bundle=toy_world)
    extractor = SASRecExtractor(env.observation_space, toy_world.codebook.features, width=16, n_heads=2)  # type: ignore[arg-type]
    observation = {"profile": torch.randn(3, 2), "history": torch.tensor([[0, 0, 0, 0, 0], [0, 0, 1, 12, 3], [5] * 5])}
    prepared = preprocess_obs(observation, env.observation_space)  # type: ignore[arg-type]
    assert isinstance(prepared, dict)
    assert prepared["history"].is_floating_point()
    torch.testing.assert_close(extractor(prepared), extractor.encoder(**observation))
    assert extractor.features_dim == 16


def test_actor_and_critics_have_the_encoder_of_the_others(toy_world: Bundle) -> None:
    for name, n_critics in (("ddpg", 1), ("td3", 2)):
        policy = make(name, toy_world, 4, policy_kwargs={"dropout": 0.1}).policy
        assert len(policy.critic.q_networks) == n_critics
        for part in (policy.actor, policy.critic, policy.actor_target, policy.critic_target):
            assert isinstance(part.features_extractor, SASRecExtractor)
            encoder = part.features_extractor.encoder
            assert (len(encoder.blocks), part.features_extractor.features_dim, encoder.dropout.p) == (2, 32, 0.1)
        assert [layer.out_features for layer in policy.actor.mu if isinstance(layer, torch.nn.Linear)] == [256, 64, 3]


def test_replay_of_the_packaged_catalog_stays_below_100_mb() -> None:
    env = make_vec_env(ENV, 32, bundle=PACKAGED / "ml1m", action_mode="hyper")
    buffer = METHODS["ddpg"].make(env, 0).replay_buffer  # type: ignore[attr-defined]
    assert isinstance(buffer, DictReplayBuffer)
    assert buffer.buffer_size * buffer.n_envs == 100_000
    columns = [*buffer.observations.values(), *buffer.next_observations.values(), buffer.actions, buffer.rewards]
    assert sum(column.nbytes for column in columns) < 100e6
    assert buffer.observations["history"].dtype == np.int32


def test_noise_can_be_a_number(toy_world: Bundle) -> None:
    """One draw for each user, and none for 0: the action is then the actor's own."""
    model = make("ddpg", toy_world, 6, action_noise=0.2, learning_starts=0)
    model._setup_learn(1)
    assert model._last_obs is not None
    own = model.predict(model._last_obs)[0]
    actions = model._sample_action(0, model.action_noise, 6)[0]
    assert len({tuple(row) for row in (actions - own).round(6)}) == 6
    model = make("ddpg", toy_world, 6, action_noise=0.0, learning_starts=0)
    model._setup_learn(1)
    actions, stored = model._sample_action(0, model.action_noise, 6)
    torch.testing.assert_close(torch.as_tensor(actions), torch.as_tensor(model.predict(model._last_obs)[0]))
    torch.testing.assert_close(torch.as_tensor(actions), torch.as_tensor(stored))


def test_bad_input(toy_world: Bundle) -> None:
    with pytest.raises(HsrlError, match='expected an hsrl_gym environment with action_mode="hyper"'):
        METHODS["ddpg"].make(make_vec_env(ENV, 2, bundle=toy_world, action_mode="item"), 0)


SMALL: dict[str, Any] = {"n_steps": 4, "batch_size": 8, "n_epochs": 1, "seed": 0}


def test_the_class_alone_is_enough(toy_world: Bundle, tmp_path: Path) -> None:
    """The items come with the observation space; a saved agent has them, too."""
    env = make_vec_env(ENV, 4, seed=0, bundle=toy_world, action_mode="item")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = PPO("MultiInputPolicy", env, policy_kwargs={"features_extractor_class": SASRecExtractor}, **SMALL)
        model.learn(32)
    extractor = model.policy.features_extractor
    assert isinstance(extractor, SASRecExtractor)
    np.testing.assert_array_equal(extractor.encoder.item_features.numpy(), toy_world.codebook.item_inputs)
    assert extractor.features_dim == 32
    model.save(tmp_path / "agent")
    observation = env.reset()
    for again in (PPO.load(tmp_path / "agent"), PPO.load(tmp_path / "agent", env)):
        expected = model.predict(observation, deterministic=True)[0]
        np.testing.assert_array_equal(again.predict(observation, deterministic=True)[0], expected)


def test_spaces_without_items_are_refused(toy_world: Bundle) -> None:
    space = make_vec_env(ENV, 2, bundle=toy_world).observation_space
    assert isinstance(space, spaces.Dict)
    plain = spaces.Dict({"profile": space["profile"], "history": spaces.Box(0, 12, (5,), np.int32)})
    with pytest.raises(HsrlError, match="knows no items, expected that of an hsrl_gym environment; or pass"):
        SASRecExtractor(plain)
    assert SASRecExtractor(plain, toy_world.codebook.item_inputs).features_dim == 32
    for other in (space["history"], spaces.Dict({"history": space["history"]})):
        with pytest.raises(HsrlError, match=r"expected Dict\(profile, history\) of an hsrl_gym environment"):
            SASRecExtractor(other)


def test_sb3s_own_extractor_is_warned_of(toy_world: Bundle) -> None:
    env = make_vec_env(ENV, 2, bundle=toy_world, action_mode="item")
    with pytest.warns(UserWarning, match="the ids of `history` reach this network as plain numbers") as caught:
        PPO("MultiInputPolicy", env, **SMALL)
    assert len(caught) == 1
    assert "SASRecExtractor" in str(caught[0].message)


def test_our_policies_are_not_warned_of(toy_world: Bundle) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for policy, mode in ((HSRLPolicy, "sid"), (ItemPolicy, "item")):
            A2C(policy, make_vec_env(ENV, 2, bundle=toy_world, action_mode=mode), n_steps=4, seed=0).learn(8)
