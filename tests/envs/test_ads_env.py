"""`HSRL-Ads-v0`: Gymnasium's and SB3's checkers, days, feedback, single and vector step for step, pickling."""

from __future__ import annotations

import json
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import hsrl_gym  # noqa: F401  (registers the environment)
from hsrl_agent.vec_env import make_vec_env
from hsrl_gym.envs.ads.env import AdsEnv, AdsVectorEnv
from hsrl_gym.errors import HsrlError

SMALL = {
    "n_ads": 600, "n_campaigns": 80, "n_categories": 6, "n_users": 100, "n_candidates": 32, "n_days": 7,
    "n_segments": 4, "n_latent": 3, "n_features": 6, "n_profile": 5, "base": 0.0, "sale": -1.0,
}  # fmt: skip
MODES = ["sid", "item"]


def small(**settings: Any) -> AdsEnv:
    return AdsEnv(market=SMALL, **settings)


@pytest.mark.parametrize("mode", MODES)
def test_gymnasiums_checker(mode: str) -> None:
    env = gymnasium.make("HSRL-Ads-v0", market=SMALL, action_mode=mode, steps_per_day=3)
    gymnasium_check_env(env.unwrapped)


@pytest.mark.parametrize("mode", MODES)
def test_stable_baselines_checker(mode: str) -> None:
    sb3_check_env(small(action_mode=mode, steps_per_day=3, render_mode="ansi"), skip_render_check=False)


def test_the_spec_can_be_written_as_json() -> None:
    env = gymnasium.make("HSRL-Ads-v0", market=SMALL, steps_per_day=5)
    assert env.spec is not None
    text = env.spec.to_json()
    assert json.loads(text)["kwargs"]["market"] == SMALL
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(text))
    assert again.action_space == env.action_space
    np.testing.assert_array_equal(again.reset(seed=3)[0]["candidates"], env.reset(seed=3)[0]["candidates"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reward", ["mean_with_cost", "conversion", "revenue"])
def test_a_step_says_what_happened(mode: str, reward: str) -> None:
    env = small(action_mode=mode, reward=reward, steps_per_day=4, initial_patience=60.0, max_steps=40)
    market, world = env.sessions.market, env.sessions.core
    before, info = env.reset(seed=5)
    assert info["patience"] == info["patience_before"] == 60.0
    env.action_space.seed(5)
    patience, n_clicks, n_conversions = 60.0, 0, 0
    for step in range(1, 25):
        action = env.action_space.sample()
        observation, got, terminated, truncated, info = env.step(action)
        ad, clicked, converted = (int(info[name][0]) for name in ("slate", "clicks", "conversions"))
        assert ad in before["candidates"]
        if mode == "item":
            assert ad == before["candidates"][action[0]]
        assert converted <= clicked
        assert info["cost"][0] == pytest.approx(clicked * market.bid[ad])
        value = {
            "mean_with_cost": 1.0 if clicked else -0.1,
            "conversion": converted * market.value[ad],
            "revenue": clicked * market.bid[ad],
        }[reward]
        assert got == pytest.approx(value, abs=1e-6)
        assert info["patience_before"] == pytest.approx(patience, abs=1e-3)
        patience -= 1.0 if clicked else 2.1  # by clicks, whatever is rewarded
        assert info["patience"] == pytest.approx(patience, abs=1e-3)
        expected = [*before["history"].tolist(), ad][-50:] if clicked else before["history"].tolist()
        assert observation["history"].tolist() == expected
        assert info["day"] == step // 4
        assert ("arrived" in info) == ("retired" in info) == ("spent" in info) == (step % 4 == 0)
        if step % 4 == 0:
            for name, ids in market.changes(step // 4).items():
                np.testing.assert_array_equal(info[name], ids)
        assert np.isin(observation["candidates"], market.live(step // 4)).all()
        np.testing.assert_array_equal(env.catalog.live_items, market.live(step // 4))
        assert not terminated
        assert not truncated
        before, n_clicks, n_conversions = observation, n_clicks + clicked, n_conversions + converted
    assert n_clicks > n_conversions > 0
    assert world.reward == reward


def test_tokens_are_those_of_the_day_on_which_the_ad_was_shown() -> None:
    env = small(steps_per_day=1)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(10):
        codes = env.catalog.codes.copy()
        info = env.step(env.action_space.sample())[4]
        np.testing.assert_array_equal(info["slate_tokens"], codes[info["slate"]])
        assert (info["slate_tokens"] >= 0).all()


def test_clicks_and_conversions_are_as_likely_as_the_world_says() -> None:
    envs = AdsVectorEnv(2000, market=SMALL, action_mode="item")
    envs.reset(seed=0)
    state, respond = envs.state, envs.sessions.core.respond
    info = envs.step(np.zeros((2000, 1), dtype=np.int64))[4]
    slate = torch.as_tensor(info["slate"])
    click = respond(state.user, state.history, slate).numpy()
    sale = click * respond.conversion(state.user, slate).numpy()
    for name, expected in (("clicks", click), ("conversions", sale)):
        spread = np.sqrt((expected * (1.0 - expected)).sum())
        assert abs(float(info[name].sum()) - expected.sum()) < 4.0 * spread


@pytest.mark.parametrize("mode", MODES)
def test_environment_i_of_a_vector_is_the_single_one(mode: str) -> None:
    """Step for step through days and sessions; the vector replaces a user within the step."""
    envs = AdsVectorEnv(3, market=SMALL, action_mode=mode, steps_per_day=5, max_steps=7)
    singles = [small(action_mode=mode, steps_per_day=5, max_steps=7) for _ in range(3)]
    batch, _ = envs.reset(seed=11)
    for i, env in enumerate(singles):
        for name, values in env.reset(seed=11 + i)[0].items():
            np.testing.assert_array_equal(batch[name][i], values)
    envs.action_space.seed(2)
    n_days = 0
    for _ in range(30):
        actions = envs.action_space.sample()
        batch, reward, terminated, truncated, infos = envs.step(actions)
        n_days += "arrived" in infos
        for i, env in enumerate(singles):
            last, single_reward, single_terminated, single_truncated, info = env.step(actions[i])
            done = single_terminated or single_truncated
            assert (single_reward, single_terminated, single_truncated) == (reward[i], terminated[i], truncated[i])
            assert set(info) == {name for name in infos if not name.startswith(("_", "final"))}
            for name, value in info.items():
                np.testing.assert_array_equal(infos[name][i], value)
            if done:
                for name, values in last.items():
                    np.testing.assert_array_equal(infos["final_obs"][i][name], values)
                last, _ = env.reset()
            for name, values in last.items():
                np.testing.assert_array_equal(batch[name][i], values)
    assert n_days == 6


def test_a_seeded_reset_returns_to_the_first_day() -> None:
    env = small(steps_per_day=2, start_day=3)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(9)]

    def play() -> list[Any]:
        told: list[Any] = [env.reset(seed=1)[0]["candidates"].tolist(), env.catalog.codes.tolist()]
        for action in actions:
            observation, *_, info = env.step(action)
            told += [observation["candidates"].tolist(), info["day"], env.catalog.codes.tolist()]
        return told

    first = play()
    assert first[3] == 3
    assert play() == first
    env.step(actions[0])
    day = env.sessions.days.day
    env.reset()  # without a seed, time goes on
    assert env.sessions.days.day == day


def test_pickling_keeps_the_day_and_what_follows() -> None:
    env = small(steps_per_day=4)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(14)]
    for action in actions[:6]:
        env.step(action)
    copy = pickle.loads(pickle.dumps(env))
    assert copy.catalog is copy.action_space.catalog is not env.catalog
    for action in actions[6:]:
        for left, right in zip(env.step(action), copy.step(action), strict=True):
            if not isinstance(left, dict):
                assert left == right
                continue
            assert left.keys() == right.keys()
            for name in left:
                np.testing.assert_array_equal(left[name], right[name])
    np.testing.assert_array_equal(env.catalog.codes, copy.catalog.codes)


def test_simulators_play_different_users() -> None:
    train, held_out = small(), small(simulator="eval")
    assert (len(train.sessions.core.profiles), len(held_out.sessions.core.profiles)) == (400, 100)
    assert not np.isin(train.bundle.users["train"].profile[:, 0], held_out.bundle.users["eval"].profile[:, 0]).any()
    assert small(simulator="true").sessions.core.profiles.equal(held_out.sessions.core.profiles)


def test_masks_are_those_of_the_request() -> None:
    env = small()
    with pytest.raises(HsrlError, match="call reset"):
        env.action_masks()
    observation, _ = env.reset(seed=0)
    expected = np.zeros(3 * 128, dtype=bool)
    for level in range(3):
        expected[level * 128 + env.catalog.codes[observation["candidates"], level]] = True
    np.testing.assert_array_equal(env.action_masks(), expected)
    envs = AdsVectorEnv(2, market=SMALL)
    envs.reset(seed=0)
    assert envs.action_masks().shape == (2, 384)
    np.testing.assert_array_equal(envs.action_masks()[0], expected)


def test_the_log_shows_only_what_was_on_sale_before_day_0() -> None:
    env = small()
    users = env.bundle.users["train"]
    assert np.isin(users.slate, env.sessions.market.live(SMALL["n_days"] - 1)).all()  # type: ignore[operator]
    assert 0.05 < users.clicks.mean() < 0.95
    filled = (users.history > 0).sum(1).reshape(80, 5)  # five requests of each user, in time order
    assert (filled[:, 1:] >= filled[:, :-1]).all()
    assert filled[:, -1].mean() > filled[:, 0].mean() + 1.0
    assert (users.profile.reshape(80, 5, -1) == users.profile.reshape(80, 5, -1)[:, :1]).all()
    assert len(np.unique(users.profile[:, 0])) == 80


def test_knowing_the_user_pays() -> None:
    """The likeliest click beats a random candidate, so there is something to learn."""
    rates = []
    for greedy in (False, True):
        envs = gymnasium.make_vec("HSRL-Ads-v0", 200, "vector_entry_point", market=SMALL, action_mode="item").unwrapped
        assert isinstance(envs, AdsVectorEnv)
        envs.reset(seed=0)
        clicks = 0.0
        for _ in range(10):
            candidates = envs.sessions.candidates(envs.state)
            chances = envs.sessions.core.respond(envs.state.user, envs.state.history, candidates)
            actions = chances.argmax(1, keepdim=True).numpy() if greedy else np.zeros((200, 1), dtype=np.int64)
            clicks += float(envs.step(actions)[4]["clicks"].mean()) / 10
        rates.append(clicks)
    assert rates[1] > rates[0] + 0.15


def test_sb3_gets_the_feedback() -> None:
    env = make_vec_env("HSRL-Ads-v0", 3, seed=0, market=SMALL, action_mode="item", steps_per_day=2)
    env.reset()
    for step in (1, 2):
        infos = env.step(np.zeros((3, 1), dtype=np.int64))[3]
        for info in infos:
            assert info["conversions"].shape == info["cost"].shape == (1,)
            assert ("spent" in info) == ("arrived" in info) == (step == 2)


@pytest.mark.filterwarnings("ignore:the ids of `history`")
def test_ppo_learns_in_it() -> None:
    """SB3's own policy takes the spaces as they are; it goes through days without a line of code."""
    env = make_vec_env("HSRL-Ads-v0", 4, seed=0, market=SMALL, steps_per_day=6)
    PPO("MultiInputPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0).learn(64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward": "clicks"}, "unknown reward rule 'clicks'"),
        ({"action_mode": "hyper"}, "unknown action_mode 'hyper'"),
        ({"simulator": "learned"}, "unknown simulator 'learned'"),
        ({"steps_per_day": 0}, "got steps_per_day 0"),
        ({"start_day": -1}, "start_day -1"),
        ({"steps_per_day": 2.5}, "got steps_per_day 2.5"),
        ({"market_seed": -1}, "got market_seed -1"),
        ({"market": 3}, "got advertising market 3"),
        ({"market": {"n_add": 3}}, "did you mean n_ads"),
        ({"render_mode": "rgb"}, "unknown render_mode"),
    ],
)
def test_unknown_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        AdsEnv(**{"market": SMALL, **settings})


@pytest.mark.parametrize("make", [AdsEnv, AdsVectorEnv])
def test_arguments_of_other_environments_are_refused_in_one_line(make: Any) -> None:
    with pytest.raises(
        HsrlError, match=r"HSRL-Ads-v0 got an unexpected keyword argument 'churn'; known: action_mode, .*"
    ) as error:
        make(churn={"every": 3}, market=SMALL, bundle=None, slate_size=1)
    assert "steps_per_day" in str(error.value)
    assert "render_mode" in str(error.value)
    assert ("autoreset_mode" in str(error.value)) == (make is AdsVectorEnv)
    assert "\n" not in str(error.value)


def test_numpy_integers_are_whole_numbers() -> None:
    env = small(steps_per_day=np.int64(1), start_day=np.int32(2), market_seed=np.uint8(0))
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4]["day"] == 3


def test_an_action_space_is_light_when_pickled() -> None:
    """A saved agent holds some of them: the trie stays out, and moved vectors are all that is there twice."""
    env = small(steps_per_day=1)
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
    copy = pickle.loads(pickle.dumps(env.action_space))
    env.catalog.trie.leaf_items(env.catalog.trie.leaf_of_item[env.catalog.live_items])
    assert len(pickle.dumps(env.action_space)) < 2.5 * len(pickle.dumps(env.bundle.codebook))
    np.testing.assert_array_equal(copy.catalog.codes, env.catalog.codes)
    for catalog in (env.catalog, copy.catalog):
        live, out = catalog.live_items, np.flatnonzero(~catalog.is_live)[1:]
        catalog.change(retire=live[:9], arrive=out[:9])
    np.testing.assert_array_equal(copy.catalog.codes, env.catalog.codes)


def test_render() -> None:
    env = small(render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == "a new user, patience 20.0"
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    assert "campaign" in env.render()
