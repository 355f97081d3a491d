"""The vector environment: step for step what as many single environments do, and what Gymnasium expects of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList
from numpy.typing import NDArray
from packaging.version import Version

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError

MODES = ["sid", "item", "hyper"]
N_STEPS = 62
# Sessions of some users end by patience, of others by the horizon.
SETTINGS: dict[str, Any] = {"max_steps": 4, "initial_patience": 14.0}


def assert_same_observations(left: dict[str, NDArray[Any]], right: dict[str, NDArray[Any]]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_envs", [1, 3, 8])
def test_agrees_with_gymnasiums_own_vector(tiny_bundle: Bundle, mode: str, n_envs: int) -> None:
    settings = {**SETTINGS, "action_mode": mode}
    ours = SlateVectorEnv(n_envs, tiny_bundle, **settings)
    theirs = SyncVectorEnv([lambda: SlateEnv(tiny_bundle, **settings)] * n_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    assert ours.action_space == theirs.action_space
    assert ours.observation_space == theirs.observation_space
    ours.action_space.seed(0)
    first, info = ours.reset(seed=40)
    first_there, info_there = theirs.reset(seed=40)
    assert_same_observations(first, first_there)
    for name in ("patience", "_patience"):
        np.testing.assert_array_equal(info[name], info_there[name])
    n_ends = np.zeros(2, dtype=int)
    for _ in range(N_STEPS):
        actions = ours.action_space.sample()
        observation, reward, terminated, truncated, info = ours.step(actions)
        there = theirs.step(actions)
        assert_same_observations(observation, there[0])
        for got, expected in zip((reward, terminated, truncated), there[1:4], strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)
        done = terminated | truncated
        n_ends += [terminated.sum(), truncated.sum()]
        info_there = there[4]
        for name in ("slate", "clicks", "slate_tokens", "patience", "patience_before"):
            # Theirs holds the last step of who left in `final_info` alone, for it was reset already.
            np.testing.assert_array_equal(info[name][~done], info_there.get(name, info[name])[~done])
        assert ("final_obs" in info) == ("final_obs" in info_there) == done.any()
        if done.any():
            np.testing.assert_array_equal(info["_final_obs"], info_there["_final_obs"])
            np.testing.assert_array_equal(info["_final_info"], info_there["_final_info"])
            for index in range(n_envs):
                final, final_there = info["final_obs"][index], info_there["final_obs"][index]
                assert (final is None) == (final_there is None) == (not done[index])
                if done[index]:
                    assert_same_observations(final, final_there)
            for name in ("slate", "clicks", "slate_tokens", "patience", "_slate", "_patience"):
                np.testing.assert_array_equal(info["final_info"][name][done], info_there["final_info"][name][done])
            np.testing.assert_array_equal(info["final_info"]["_clicks"], done)
    assert (n_ends > 0).all()
    theirs.close()


@pytest.mark.parametrize("mode", MODES)
def test_each_environment_is_the_single_one_with_its_seed(tiny_bundle: Bundle, mode: str) -> None:
    settings = {**SETTINGS, "action_mode": mode}
    vector = SlateVectorEnv(3, tiny_bundle, **settings)
    singles = [SlateEnv(tiny_bundle, **settings) for _ in range(3)]
    observation, _ = vector.reset(seed=7)
    for index, env in enumerate(singles):
        assert_same_observations(
            {name: rows[index] for name, rows in observation.items()}, env.reset(seed=7 + index)[0]
        )
    vector.action_space.seed(1)
    for _ in range(20):
        actions = vector.action_space.sample()
        observation, reward, terminated, truncated, info = vector.step(actions)
        for index, env in enumerate(singles):
            after, reward_alone, *ends, info_alone = env.step(actions[index])
            assert reward[index] == reward_alone
            assert [terminated[index], truncated[index]] == ends
            for name in ("slate", "clicks", "slate_tokens", "patience", "patience_before"):
                np.testing.assert_array_equal(info[name][index], info_alone[name])
            if any(ends):
                assert_same_observations(info["final_obs"][index], after)
                after, _ = env.reset()
            assert_same_observations({name: rows[index] for name, rows in observation.items()}, after)


def test_made_by_id(tiny_bundle_folder: Path) -> None:
    env = gymnasium.make_vec("HSRL-RL4RS-v0", num_envs=5, bundle=tiny_bundle_folder, max_steps=6)
    assert type(env) is SlateVectorEnv
    assert env.num_envs == 5
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert (env.sessions.params.reward, env.sessions.params.max_steps) == ("sweet_point", 6)
    assert env.action_space.shape == (5, 12)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert reward.shape == terminated.shape == truncated.shape == (5,)
    assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
    assert info["slate"].shape == info["clicks"].shape == (5, 4)
    assert info["slate_tokens"].shape == (5, 4, 3)
    assert info["_slate"].all()
    env.close()


def test_gymnasium_can_make_its_own_vector_too(tiny_bundle_folder: Path) -> None:
    env = gymnasium.make_vec("HSRL-RL4RS-v0", num_envs=2, vectorization_mode="sync", bundle=str(tiny_bundle_folder))
    assert type(env) is SyncVectorEnv
    ours = SlateVectorEnv(2, tiny_bundle_folder)
    assert_same_observations(env.reset(seed=3)[0], ours.reset(seed=3)[0])
    env.close()


@pytest.mark.skipif(
    Version(gymnasium.__version__) < Version("1.4"),
    reason="RecordEpisodeStatistics counts wrongly with SAME_STEP before Gymnasium 1.4",
)
def test_gymnasiums_wrappers_take_it(tiny_bundle: Bundle) -> None:
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(SlateVectorEnv(4, tiny_bundle, **SETTINGS))
    env.action_space.seed(0)
    env.reset(seed=0)
    total, length = np.zeros(4), np.zeros(4, dtype=int)
    n_sessions = 0
    for _ in range(20):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += reward
        length += 1
        for index in np.flatnonzero(terminated | truncated):
            assert info["episode"]["r"][index] == pytest.approx(total[index])
            assert info["episode"]["l"][index] == length[index]
            total[index], length[index] = 0.0, 0
            n_sessions += 1
    assert n_sessions > 10


def snapshot(values: Any) -> Any:
    """Return a deep copy that shares nothing."""
    if isinstance(values, np.ndarray):
        copy = values.copy()
        if values.dtype == object:
            for index, value in enumerate(values):
                copy[index] = snapshot(value)
        return copy
    if isinstance(values, dict):
        return {name: snapshot(value) for name, value in values.items()}
    if isinstance(values, tuple):
        return tuple(snapshot(value) for value in values)
    return values


def spoil(values: Any) -> None:
    """Overwrite every number that can be reached."""
    if isinstance(values, np.ndarray):
        if values.dtype == object:
            for value in values:
                spoil(value)
        else:
            values[...] = 1
    elif isinstance(values, dict):
        for value in values.values():
            spoil(value)
    elif isinstance(values, tuple):
        for value in values:
            spoil(value)


def assert_same(left: Any, right: Any) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for name in left:
            assert_same(left[name], right[name])
    elif isinstance(left, tuple) or (isinstance(left, np.ndarray) and left.dtype == object):
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(left, right)


def test_what_it_returned_stays_the_callers(tiny_bundle: Bundle) -> None:
    """Kept results do not change later; overwriting them, or the actions, changes nothing that follows."""
    kept, spoiled = (SlateVectorEnv(3, tiny_bundle, render_mode="ansi", **SETTINGS) for _ in range(2))
    kept.action_space.seed(2)
    results: list[Any] = [kept.reset(seed=2)]
    copies = [snapshot(results[0])]
    first = spoiled.reset(seed=2)
    assert_same(first, results[0])
    spoil(first)
    for _ in range(15):
        actions = kept.action_space.sample()
        theirs = actions.copy()
        results.append(kept.step(actions))
        copies.append(snapshot(results[-1]))
        got = spoiled.step(theirs)
        assert_same(got, results[-1])
        theirs[...] = 0
        spoil(got)
        assert kept.render() == spoiled.render()
    assert_same(tuple(results), tuple(copies))


def test_arrays_of_one_step_are_apart(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(3, tiny_bundle, max_steps=1)
    env.reset(seed=0)
    _, _, terminated, truncated, info = env.step(env.action_space.sample())
    assert truncated.all()
    before = snapshot(info)
    info["slate"][...] = 0
    info["_final_obs"][...] = False
    truncated[...] = False
    np.testing.assert_array_equal(info["final_info"]["slate"], before["final_info"]["slate"])
    assert info["_final_info"].all()
    assert not terminated.any()


def test_list_seeds(tiny_bundle: Bundle) -> None:
    env, other = SlateVectorEnv(3, tiny_bundle), SlateVectorEnv(3, tiny_bundle)
    assert_same_observations(env.reset(seed=[5, 6, 7])[0], other.reset(seed=5)[0])
    observation, _ = env.reset(seed=[9, 2, 9])
    np.testing.assert_array_equal(observation["profile"][0], observation["profile"][2])
    for index, seed in enumerate([9, 2, 9]):
        alone, _ = SlateEnv(tiny_bundle).reset(seed=seed)
        np.testing.assert_array_equal(observation["profile"][index], alone["profile"])
    mixed = env.reset(seed=[9, None, 2])[0]
    np.testing.assert_array_equal(mixed["profile"][[0, 2]], observation["profile"][[0, 1]])
    with pytest.raises(HsrlError, match="got 2 seeds, expected one for each of the 3 environments"):
        env.reset(seed=[1, 2])


def test_resetting_without_a_seed_goes_on_to_the_next_sessions(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(2, tiny_bundle)
    env.reset(seed=1)
    again, _ = env.reset()
    for index in range(2):
        alone = SlateEnv(tiny_bundle)
        alone.reset(seed=1 + index)
        np.testing.assert_array_equal(again["profile"][index], alone.reset()[0]["profile"])
    unseeded = {SlateVectorEnv(2, tiny_bundle).reset()[0]["profile"].tobytes() for _ in range(5)}
    assert len(unseeded) > 1


def test_environments_of_a_vector_differ(tiny_bundle: Bundle) -> None:
    observation, _ = SlateVectorEnv(16, tiny_bundle).reset(seed=0)
    assert len(np.unique(observation["profile"], axis=0)) > 10


def test_masks(tiny_bundle: Bundle) -> None:
    masks = SlateVectorEnv(3, tiny_bundle).action_masks()
    assert masks.shape == (3, 8 * 12)
    np.testing.assert_array_equal(masks, np.tile(SlateEnv(tiny_bundle).action_masks(), (3, 1)))


def test_render(tiny_bundle: Bundle) -> None:
    vector = SlateVectorEnv(2, tiny_bundle, render_mode="ansi")
    singles = [SlateEnv(tiny_bundle, render_mode="ansi") for _ in range(2)]
    vector.reset(seed=0)
    assert vector.render() == ("a new user, patience 20.0",) * 2
    actions = vector.action_space.sample()
    vector.step(actions)
    for index, env in enumerate(singles):
        env.reset(seed=index)
        env.step(actions[index])
    assert vector.render() == tuple(env.render() for env in singles)


def test_refusals(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(3, tiny_bundle)
    actions = env.action_space.sample()
    with pytest.raises(HsrlError, match=r"step\(\) came before reset\(\)"):
        env.step(actions)
    with pytest.raises(HsrlError, match=r"state was read before reset\(\)"):
        _ = env.state
    observation, info = env.reset(seed=0)
    np.testing.assert_array_equal(env.state.history.numpy(), observation["history"])
    np.testing.assert_array_equal(env.state.patience.numpy(), info["patience"])
    with pytest.raises(HsrlError, match="got 1 actions, expected one for each of the 3 environments"):
        env.step(actions[:1])
    with pytest.raises(HsrlError, match=r"got actions of shape \(12,\) and type int64, expected \(B, 12\)"):
        env.step(actions[0])
    actions[2, 4] = 99
    with pytest.raises(HsrlError, match=r"got 99 at position 4 of action 2, expected an integer in 0\.\.7"):
        env.step(actions)
    with pytest.raises(HsrlError, match="got num_envs 0, expected at least 1"):
        SlateVectorEnv(0, tiny_bundle)
    with pytest.raises(HsrlError, match="unknown render_mode 'rgb'; did you mean rgb_array"):
        SlateVectorEnv(1, tiny_bundle, render_mode="rgb")
    with pytest.raises(HsrlError, match="unknown simulator 'eva'; did you mean eval"):
        SlateVectorEnv(1, tiny_bundle, simulator="eva")


def test_gymnasiums_list_of_infos_takes_it(tiny_bundle: Bundle) -> None:
    """A wrapper that insists on arrays, `final_obs` among them."""
    env = DictInfoToList(SlateVectorEnv(3, tiny_bundle, max_steps=1))
    env.reset(seed=0)
    infos = env.step(env.action_space.sample())[4]
    assert all(info["final_obs"]["history"].shape == (50,) for info in infos)


def test_nothing_is_rendered_without_a_render_mode(tiny_bundle: Bundle) -> None:
    with pytest.raises(HsrlError, match="needs a render mode"):
        SlateVectorEnv(2, tiny_bundle).render()
