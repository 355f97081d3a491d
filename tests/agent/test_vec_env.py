"""The batched environment behind SB3's VecEnv."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from hsrl_agent import make_vec_env
from hsrl_agent.vec_env import SlateVecEnv, as_sb3
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError


def test_agrees_with_the_gymnasium_vector_env(toy_world: Bundle) -> None:
    ours = make_vec_env("HSRL-ML1M-v0", 5, seed=7, bundle=toy_world)
    theirs = gymnasium.make_vec("HSRL-ML1M-v0", num_envs=5, bundle=toy_world)
    observation = ours.reset()
    expected, _ = theirs.reset(seed=7)
    n_done = 0
    for _ in range(40):
        np.testing.assert_array_equal(observation["history"], expected["history"])
        np.testing.assert_array_equal(observation["profile"], expected["profile"])
        action = np.stack([ours.action_space.sample() for _ in range(5)])
        observation, reward, done, infos = ours.step(action)
        expected, expected_reward, terminated, truncated, columns = theirs.step(action)
        np.testing.assert_allclose(reward, expected_reward, rtol=1e-6)
        np.testing.assert_array_equal(done, terminated | truncated)
        for i, info in enumerate(infos):
            np.testing.assert_array_equal(info["slate"], columns["slate"][i])
            np.testing.assert_array_equal(info["clicks"], columns["clicks"][i])
            assert (info["patience_before"], info["patience"]) == tuple(
                columns[name][i] for name in ("patience_before", "patience")
            )
            assert info["TimeLimit.truncated"] == truncated[i]
            assert ("terminal_observation" in info) == done[i]
            if done[i]:
                n_done += 1
                np.testing.assert_array_equal(
                    info["terminal_observation"]["history"], columns["final_obs"][i]["history"]
                )
                assert info["episode"]["l"] >= 1  # VecMonitor's statistics
    assert n_done > 5


def test_seed_is_used_once(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 3, seed=1, bundle=toy_world)
    first, second = env.reset()["profile"].copy(), env.reset()["profile"].copy()
    assert not np.array_equal(first, second)
    env.seed(1)
    np.testing.assert_array_equal(env.reset()["profile"], first)


def test_attributes_and_methods_reach_the_batch(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 3, bundle=toy_world)
    assert env.get_attr("bundle") == [toy_world] * 3
    assert len(env.env_method("action_masks", indices=[0, 2])) == 2
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    with pytest.raises(HsrlError, match="one batch"):
        env.set_attr("bundle", None)


def test_only_our_vector_env_is_adapted(toy_world: Bundle) -> None:
    ours = gymnasium.make_vec("HSRL-ML1M-v0", num_envs=2, bundle=toy_world)
    assert isinstance(as_sb3(ours).venv, SlateVecEnv)
    assert as_sb3("HSRL-ML1M-v0") == "HSRL-ML1M-v0"
    other = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    with pytest.raises(HsrlError, match="expected the SlateVectorEnv"):
        as_sb3(other)


def test_sb3_needs_the_next_session_in_the_same_step(toy_world: Bundle) -> None:
    assert make_vec_env("HSRL-ML1M-v0", 2, bundle=toy_world).get_attr("autoreset_mode") == [AutoresetMode.SAME_STEP] * 2
    for mode in ("NextStep", "Disabled"):
        with pytest.raises(HsrlError, match=f'got environments with autoreset_mode="{mode}", expected "SameStep"'):
            make_vec_env("HSRL-ML1M-v0", 2, bundle=toy_world, autoreset_mode=mode)
        with pytest.raises(HsrlError, match='expected "SameStep"'):
            as_sb3(gymnasium.make_vec("HSRL-ML1M-v0", num_envs=2, bundle=toy_world, autoreset_mode=mode))


def test_infos_and_options_of_a_reset(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 3, seed=1, bundle=toy_world)
    inner = env.venv  # VecMonitor keeps empty infos of its own
    env.set_options({"user": 5})
    env.reset()
    assert [info["user"] for info in inner.reset_infos] == [5, 5, 5]
    step_keys = set(env.step(np.stack([env.action_space.sample() for _ in range(3)]))[3][0])
    assert step_keys - set(inner.reset_infos[0]) <= {"TimeLimit.truncated", "terminal_observation", "episode"}
    env.set_options([{"user": 1}, {"user": 2}, {"user": 3}])
    env.reset()
    assert [info["user"] for info in inner.reset_infos] == [1, 2, 3]
    env.reset()  # options are used once
    assert [info["user"] for info in inner.reset_infos] != [1, 2, 3]
    env.set_options([{"user": 1}, {}, {}])
    with pytest.raises(HsrlError, match="got user in the reset options of some environments, expected it in all"):
        env.reset()
    env.set_options({"usr": 1})
    with pytest.raises(HsrlError, match="unknown reset option 'usr'; did you mean user"):
        env.reset()
