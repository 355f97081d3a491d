"""The extractor returns what the encoder returns, for observations as SB3 converts them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from agents import ENV, make
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.preprocessing import preprocess_obs

from hsrl_agent import make_vec_env
from hsrl_agent.features import SASRecExtractor
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
