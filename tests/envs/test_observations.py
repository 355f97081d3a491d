"""The history's space: a plain Box to everybody, and one that knows its items to who asks."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim, flatten, flatten_space
from gymnasium.vector.utils import batch_space

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.ads.env import AdsEnv
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.observations import HistorySpace
from hsrl_gym.envs.vector_env import SlateVectorEnv

MARKET = {
    "n_ads": 600, "n_campaigns": 80, "n_categories": 6, "n_users": 100, "n_candidates": 32, "n_days": 7,
    "n_segments": 4, "n_latent": 3, "n_features": 6, "n_profile": 5, "base": 0.0, "sale": -1.0,
}  # fmt: skip


def history_of(env: Any) -> HistorySpace:
    history = env.observation_space["history"]
    assert isinstance(history, HistorySpace)
    return history


def test_it_equals_the_plain_box(tiny_bundle: Bundle) -> None:
    history, plain = history_of(SlateEnv(tiny_bundle)), spaces.Box(0, 60, (50,), np.int32)
    assert history == plain
    assert plain == history
    assert history != spaces.Box(0, 61, (50,), np.int32)
    assert repr(history) == repr(plain)
    assert isinstance(history.sample(), np.ndarray)


def test_it_survives_copies_and_pickles(tiny_bundle: Bundle) -> None:
    history = history_of(SlateEnv(tiny_bundle))
    for other in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert other == history
        np.testing.assert_array_equal(other.item_inputs, history.item_inputs)


def test_it_knows_what_the_action_space_knows(tiny_bundle: Bundle) -> None:
    """With churn, items that were held back are not known better by the one than by the other."""
    for env in (SlateEnv(tiny_bundle), SlateEnv(tiny_bundle, churn={"held_back": 0.3}), AdsEnv(market=MARKET)):
        assert history_of(env).codebook is env.action_space.codebook  # type: ignore[attr-defined]


def test_a_pickled_environment_holds_the_codebook_once(tiny_bundle: Bundle) -> None:
    env = pickle.loads(pickle.dumps(SlateEnv(tiny_bundle)))
    assert history_of(env).codebook is env.action_space.codebook


def test_specs_are_written_as_before(tiny_bundle_folder: Any) -> None:
    env = gymnasium.make("HSRL-RL4RS-v0", bundle=str(tiny_bundle_folder))
    assert env.spec is not None
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space


def test_a_vectors_space_is_gymnasiums(tiny_bundle: Bundle) -> None:
    envs = SlateVectorEnv(3, tiny_bundle)
    assert envs.observation_space == batch_space(SlateEnv(tiny_bundle).observation_space, 3)
    assert type(envs.observation_space["history"]) is spaces.Box  # type: ignore[index]


def test_who_takes_ids_for_numbers_is_warned(tiny_bundle: Bundle) -> None:
    space = SlateEnv(tiny_bundle).observation_space
    with pytest.warns(UserWarning, match="the ids of `history` reach this network as plain numbers"):
        assert flatdim(space["history"]) == 50  # type: ignore[index]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flatten_space(space).shape == (56,)  # Gymnasium's own wrapper flattens without a network behind it
        assert flatten(space, space.sample()).shape == (56,)
        assert flatdim(space["profile"]) == 6  # type: ignore[index]


def test_the_warning_comes_once(tiny_bundle: Bundle) -> None:
    history = history_of(SlateEnv(tiny_bundle))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            flatdim(history)
    assert len(caught) == 1
