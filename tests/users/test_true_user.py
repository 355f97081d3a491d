"""The true user behind a bundle: the world's own probabilities, for users who are found again to the last bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from numpy.typing import NDArray
from scipy.special import expit

from hsrl_gym.bundle.folder import Bundle, load_bundle
from hsrl_gym.bundle.simulators import knows_world, open_world, true_users
from hsrl_gym.bundle.store import PACKAGED
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.envs.core import append_clicked
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.synthetic_log import write_log
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.fidelity import predict_logits
from hsrl_gym.users.profile import PROFILE_LIMIT
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld, world_of
from hsrl_gym.users.true_user import TrueUsers, raw_profiles

CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {"simulator": "true", "max_steps": 5, "initial_patience": 14.0}


@pytest.fixture(autouse=True)
def tiny_is_known(tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)


def probabilities(bundle: Bundle, pool: str, history: NDArray[Any], slate: NDArray[Any]) -> NDArray[np.float32]:
    users = true_users(bundle, bundle.users[pool].profile, CPU)
    rows = torch.arange(len(bundle.users[pool]))
    return users(rows, torch.as_tensor(history).long(), torch.as_tensor(slate).long()).numpy()


# --- who wrote the log


def test_a_source_is_read_whole_or_not_at_all() -> None:
    for name, seed in (("rl4rs", 0), ("ml1m", 12), ("my-world.v2", 3)):
        config = replace(WORLDS["rl4rs"], name=name)
        assert world_of(write_log(SyntheticWorld(config, seed), 2).source) == {"shape": name, "seed": seed}
    for other in (
        "MovieLens-100K",
        "SyntheticWorld('rl4rs', seed=-1)",
        "SyntheticWorld('rl4rs', seed=0) and more",
        "from SyntheticWorld('rl4rs', seed=0)",
        "SyntheticWorld('rl4rs', seed=0)\n",
        "SyntheticWorld('__import__(\"os\")', seed=0)",
    ):
        assert world_of(other) is None


def test_a_bundle_names_its_world(tiny_bundle: Bundle, tiny_bundle_folder: Path) -> None:
    assert tiny_bundle.provenance["world"] == {"shape": "tiny", "seed": 0}
    again = load_bundle(tiny_bundle_folder)
    assert again.provenance["world"] == {"shape": "tiny", "seed": 0}
    assert open_world(replace(again, source="renamed by its owner")).seed == 0
    older = replace(again, provenance={})
    assert knows_world(older)
    assert open_world(older).config.name == "tiny"
    later = replace(again, provenance={"world": {"shape": "tiny", "seed": 4}})
    assert open_world(later).seed == 4  # what is said in so many words goes before the source


def test_real_data_has_no_known_user(tiny_bundle: Bundle) -> None:
    real = replace(tiny_bundle, source="MovieLens-100K", provenance={})
    assert not knows_world(real)
    with pytest.raises(
        HsrlError, match="bundle tiny was made from MovieLens-100K, expected a SyntheticWorld"
    ) as caught:
        SlateEnv(real, simulator="true")
    assert "\n" not in str(caught.value)
    elsewhere = replace(tiny_bundle, provenance={"world": {"shape": "atlantis", "seed": 0}})
    assert not knows_world(elsewhere)
    with pytest.raises(HsrlError, match="made from the world 'atlantis', expected a SyntheticWorld of the package"):
        open_world(elsewhere)


@pytest.mark.parametrize("world", ["rl4rs", {"shape": "tiny"}, {"shape": 3, "seed": 0}, {"shape": "tiny", "seed": -1}])
def test_a_world_that_is_none_is_refused(tiny_bundle: Bundle, world: object) -> None:
    with pytest.raises(HsrlError, match="expected a shape and a seed of 0 or more"):
        open_world(replace(tiny_bundle, provenance={"world": world}))


# --- who the users are


def test_profiles_are_found_again_to_the_last_bit(
    tiny_bundle_folder: Path, tiny_world: SyntheticWorld, tiny_log: InteractionLog
) -> None:
    """From what the bundle rounded to float16."""
    bundle = load_bundle(tiny_bundle_folder)
    for pool, rows in (("train", slice(0, 1_600)), ("eval", slice(1_600, 2_000))):
        found = raw_profiles(tiny_world, bundle.profile_encoder, bundle.users[pool].profile)
        np.testing.assert_array_equal(found, tiny_log.profile[rows])


def test_clipped_profiles_are_found_too(tiny_bundle: Bundle, tiny_world: SyntheticWorld) -> None:
    """An encoder that clips half of all values, so that nobody could compute them back."""
    narrow = replace(tiny_bundle.profile_encoder, scale=tuple(0.1 for _ in tiny_bundle.profile_encoder.scale))
    encoded = narrow(tiny_world.profiles)
    unclipped = (np.abs(encoded) < PROFILE_LIMIT).sum(1) >= 3
    assert (np.abs(encoded) == PROFILE_LIMIT).mean() > 0.5
    np.testing.assert_array_equal(raw_profiles(tiny_world, narrow, encoded[unclipped]), tiny_world.profiles[unclipped])


def test_strangers_and_twins_are_refused(tiny_bundle: Bundle, tiny_world: SyntheticWorld) -> None:
    profile = tiny_bundle.users["eval"].profile[:3].copy()
    profile[1, 0] += 0.5
    with pytest.raises(HsrlError, match="1 of 3 profiles do not belong to exactly one user of SyntheticWorld"):
        raw_profiles(tiny_world, tiny_bundle.profile_encoder, profile)
    with pytest.raises(HsrlError, match="400 of 400 profiles"):
        SlateEnv(replace(tiny_bundle, provenance={"world": {"shape": "tiny", "seed": 1}}), simulator="true")
    blunt = replace(tiny_bundle.profile_encoder, scale=(1e9,) * 6)  # everybody looks the same
    with pytest.raises(HsrlError, match="2 of 2 profiles"):
        raw_profiles(tiny_world, blunt, blunt(tiny_world.profiles[:2]))


# --- what they answer


@pytest.mark.parametrize("pool", ["train", "eval"])
def test_probabilities_are_the_worlds_own(
    tiny_bundle_folder: Path, tiny_world: SyntheticWorld, tiny_log: InteractionLog, pool: str
) -> None:
    log = tiny_log.split_by_time(0.8)[pool == "eval"]
    bundle = load_bundle(tiny_bundle_folder)
    got = probabilities(bundle, pool, bundle.users[pool].history, bundle.users[pool].slate)
    np.testing.assert_allclose(got, expit(predict_logits(tiny_world, log)), atol=1e-6)
    learned = expit(predict_logits(bundle.simulators[pool], replace(log, profile=bundle.users[pool].profile)))
    assert np.abs(got - learned).max() > 0.1  # or the test would not see a learned user in its place


@pytest.mark.parametrize("name", ["rl4rs", "ml1m"])
def test_the_packaged_bundles_know_their_world(name: str) -> None:
    if not (PACKAGED / name / "bundle.yaml").is_file():
        pytest.skip(f"the package has no bundle {name}; `make bundles` builds it")
    bundle = load_bundle(PACKAGED / name)
    users = bundle.users["eval"]
    probability = probabilities(bundle, "eval", users.history, users.slate)
    # Calibrated on the clicks it drew itself, which no other world is.
    spread = np.sqrt((probability * (1.0 - probability)).sum())
    assert abs(users.clicks.sum() - probability.sum()) < 4.0 * spread
    log_loss = -np.where(users.clicks, np.log(probability), np.log1p(-probability)).mean()
    entropy = -(probability * np.log(probability) + (1 - probability) * np.log1p(-probability)).mean()
    assert log_loss == pytest.approx(entropy, abs=0.01)


def test_clicks_of_the_environment_are_drawn_from_them(tiny_bundle: Bundle, tiny_world: SyntheticWorld) -> None:
    """Users are followed by hand through their sessions: same pool as "eval", clicks at the world's rate."""
    n_envs = 600
    envs = SlateVectorEnv(n_envs, tiny_bundle, action_mode="item", simulator="true", initial_patience=1e6)
    observation, _ = envs.reset(seed=0)
    there, _ = SlateVectorEnv(n_envs, tiny_bundle, action_mode="item", simulator="eval").reset(seed=0)
    np.testing.assert_array_equal(observation["profile"], there["profile"])
    np.testing.assert_array_equal(observation["history"], there["history"])
    assert observation["history"].any()
    profile = torch.as_tensor(raw_profiles(tiny_world, tiny_bundle.profile_encoder, observation["profile"]))
    history = torch.as_tensor(observation["history"]).long()
    expected = variance = clicked = 0.0
    generator = np.random.default_rng(0)
    for _ in range(10):
        actions = np.stack([generator.permutation(60)[:4] for _ in range(n_envs)])
        probability = torch.sigmoid(tiny_world(profile, history, torch.as_tensor(actions + 1)))
        observation, _, _, _, info = envs.step(actions)
        history = append_clicked(history, torch.as_tensor(actions + 1), torch.as_tensor(info["clicks"]).float())
        np.testing.assert_array_equal(observation["history"], history)
        expected += float(probability.sum())
        variance += float((probability * (1 - probability)).sum())
        clicked += float(info["clicks"].sum())
    assert abs(clicked - expected) < 4 * np.sqrt(variance)


@pytest.mark.parametrize("mode", ["sid", "item"])
def test_a_batch_is_as_many_single_ones(tiny_bundle: Bundle, mode: str) -> None:
    settings = {**SETTINGS, "action_mode": mode}
    envs = SlateVectorEnv(5, tiny_bundle, **settings)
    singles = [SlateEnv(tiny_bundle, **settings) for _ in range(5)]
    observation, _ = envs.reset(seed=7)
    for index, env in enumerate(singles):
        np.testing.assert_array_equal(env.reset(seed=7 + index)[0]["profile"], observation["profile"][index])
    envs.action_space.seed(0)
    for _ in range(12):
        actions = envs.action_space.sample()
        observation, reward, terminated, truncated, info = envs.step(actions)
        for index, env in enumerate(singles):
            own, own_reward, own_end, own_cut, own_info = env.step(actions[index])
            assert (own_reward, own_end, own_cut) == (reward[index], terminated[index], truncated[index])
            np.testing.assert_array_equal(own_info["clicks"], info["clicks"][index])
            if own_end or own_cut:
                own, _ = env.reset()
            np.testing.assert_array_equal(own["history"], observation["history"][index])


def test_the_id_acts_in_the_spaces_of_the_learned_user(tiny_bundle_folder: Path) -> None:
    """So that an agent trained there acts here unchanged."""
    learned = gymnasium.make("HSRL-RL4RS-v0", bundle=str(tiny_bundle_folder))
    world = gymnasium.make("HSRL-World-v0", bundle=str(tiny_bundle_folder))
    gymnasium_check_env(world.unwrapped)
    assert json.loads(gymnasium.spec("HSRL-World-v0").to_json())["kwargs"]["simulator"] == "true"
    assert world.action_space == learned.action_space
    assert world.observation_space == learned.observation_space
    sessions: Any = world.unwrapped.sessions  # type: ignore[attr-defined]
    assert isinstance(sessions.core.respond, TrueUsers)
    assert sessions.params == learned.unwrapped.sessions.params  # type: ignore[attr-defined]


def test_the_simulator_is_named_right(tiny_bundle: Bundle) -> None:
    with pytest.raises(HsrlError, match="unknown simulator 'tru'; did you mean true"):
        SlateEnv(tiny_bundle, simulator="tru")
