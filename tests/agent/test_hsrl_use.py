"""HSRL in use: saving, environments it takes, logging, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from agents import ENV, SMALL, make_hsrl
from stable_baselines3.common.vec_env import VecEnv

from hsrl_agent import HSRL, HSRLPolicy, make_vec_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError


def test_same_seed_same_agent(toy_world: Bundle) -> None:
    one, same, other = (make_hsrl(toy_world, seed=seed).learn(8 * 20) for seed in (3, 3, 4))
    weights = [model.policy.network.policy.heads[0].free for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_save_and_load_predict_the_same(toy_world: Bundle, tmp_path: Path) -> None:
    model = make_hsrl(toy_world).learn(8 * 20)
    model.save(tmp_path / "agent")
    loaded = HSRL.load(tmp_path / "agent", device="cpu")
    observation = model.env.reset()  # type: ignore[union-attr]
    np.testing.assert_array_equal(
        model.predict(observation, deterministic=True)[0], loaded.predict(observation, deterministic=True)[0]
    )
    assert loaded.credit == model.credit
    states = [policy.optimizer.state_dict()["state"] for policy in (model.policy, loaded.policy)]
    assert states[0].keys() == states[1].keys()
    assert len(states[0]) > 0
    torch.testing.assert_close(states[1][0]["exp_avg"], states[0][0]["exp_avg"])
    loaded.set_env(gymnasium.make_vec(ENV, num_envs=8, bundle=toy_world))  # type: ignore[arg-type]
    loaded.learn(8 * 5, reset_num_timesteps=False)
    assert loaded.num_timesteps == 8 * 25


def test_the_unnormalised_likelihood_has_no_item_residual(toy_world: Bundle) -> None:
    with pytest.raises(
        HsrlError, match='got likelihood="unnormalised" with an item residual, expected item_residual=False'
    ):
        make_hsrl(toy_world, network={"likelihood": "unnormalised"})


def test_what_is_not_the_default_is_kept_with_the_agent(toy_world: Bundle, tmp_path: Path) -> None:
    model = make_hsrl(toy_world, num_envs=4, network={"item_residual": False, "privileged_critic": False}).learn(8)
    model.save(tmp_path / "agent")
    loaded = HSRL.load(tmp_path / "agent", env=model.env)
    assert (loaded.policy.item_residual, loaded.policy.privileged_critic) == (False, False)
    observation = model.env.reset()  # type: ignore[union-attr]
    np.testing.assert_array_equal(
        loaded.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0]
    )


def test_an_agent_is_not_attached_to_another_codebook(toy_world: Bundle) -> None:
    model = make_hsrl(toy_world)
    codes = toy_world.codebook.codes.copy()
    codes[[1, 2]] = codes[[2, 1]]
    other = replace(toy_world, codebook=replace(toy_world.codebook, codes=codes))
    with pytest.raises(ValueError, match="Action spaces do not match"):
        model.set_env(make_vec_env(ENV, 8, bundle=other))


def test_runs_on_a_single_env_a_vector_env_and_an_id(toy_world: Bundle) -> None:
    single = gymnasium.make(ENV, bundle=toy_world)
    vector = gymnasium.make_vec(ENV, num_envs=4, bundle=toy_world)
    for env, n_envs in ((single, 1), (vector, 4)):
        model = HSRL("HSRLPolicy", env, device="cpu", policy_kwargs=SMALL)  # type: ignore[arg-type]
        model.learn(12)
        assert isinstance(model.env, VecEnv)
        assert (model.n_envs, model.num_timesteps) == (n_envs, 12)


def test_logs_its_terms(toy_world: Bundle) -> None:
    model = make_hsrl(toy_world)
    model.learn(8 * 100)
    logged = model.logger.name_to_value
    terms = {"critic", "policy_gradient", "entropy", "entropy_1", "value_0", "mlc_weight_0", "click_rate"}
    assert {f"train/{term}" for term in terms} <= set(logged)
    assert sum(logged[f"train/mlc_weight_{level}"] for level in range(3)) == pytest.approx(1.0)


def test_tensorboard_hears_of_it(toy_world: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("hsrl_agent.algorithm.LOG_EVERY", 5)
    model = make_hsrl(toy_world, num_envs=4, tensorboard_log=str(tmp_path)).learn(4 * 60, log_interval=4)
    (folder,) = tmp_path.iterdir()
    events = EventAccumulator(str(folder)).Reload()
    levels = [f"train/{name}_{level}" for name in ("value", "mlc_weight") for level in (0, 1, 2)]
    losses = [f"train/{name}" for name in ("critic", "policy_gradient", "behavioral_cloning", "entropy", "click_rate")]
    sessions = ["rollout/ep_rew_mean", "rollout/ep_len_mean"]
    assert {*levels, *losses, *sessions, "train/entropy_1", "train/entropy_2"} <= set(events.Tags()["scalars"])
    weights = [events.Scalars(f"train/mlc_weight_{level}")[-1] for level in (0, 1, 2)]
    assert sum(weight.value for weight in weights) == pytest.approx(1.0)
    assert 0 < weights[0].step <= model.num_timesteps


def test_bad_input(toy_world: Bundle) -> None:
    env = make_vec_env(ENV, 2, bundle=toy_world)
    with pytest.raises(HsrlError, match=r"unknown credit 'slates'; did you mean slate\?"):
        HSRL("HSRLPolicy", env, credit="slates")
    with pytest.raises(HsrlError, match="unknown likelihood"):
        HSRL("HSRLPolicy", env, policy_kwargs={"likelihood": "joint"}).learn(2)
    with pytest.raises(HsrlError, match='expected the one of an hsrl_gym environment with action_mode="sid"'):
        HSRL(HSRLPolicy, make_vec_env(ENV, 2, bundle=toy_world, action_mode="item"))
    with pytest.raises(HsrlError, match="expected Dict"):
        HSRL(HSRLPolicy, FlatObservation(gymnasium.make(ENV, bundle=toy_world)))


class FlatObservation(gymnasium.ObservationWrapper):  # type: ignore[type-arg]
    """Leaves the profile only."""

    def __init__(self, env: gymnasium.Env) -> None:  # type: ignore[type-arg]
        super().__init__(env)
        self.observation_space = env.observation_space["profile"]  # type: ignore[index]

    def observation(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        return observation["profile"]
