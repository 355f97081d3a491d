"""Churn: the catalog changes between steps, by a seeded schedule, in single and vector environments alike."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.churn import Churn, open_turnover
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError

CHURN: dict[str, Any] = {"every": 5, "held_back": 0.3, "arrive": 0.1}
MODES = ["sid", "item", "hyper"]


def play(env: Any, n_steps: int, seed: int = 3) -> list[dict[str, Any]]:
    """Return the infos of steps with sampled actions; sessions that end are followed by others."""
    env.action_space.seed(0)
    env.reset(seed=seed)
    infos = []
    for _ in range(n_steps):
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        infos.append(info)
        if not isinstance(env, SlateVectorEnv) and (terminated or truncated):
            env.reset()
    return infos


@pytest.mark.parametrize("mode", MODES)
def test_items_arrive_and_retire_at_the_end_of_a_day(tiny_bundle: Bundle, mode: str) -> None:
    env = SlateEnv(tiny_bundle, action_mode=mode, churn=CHURN)
    space = env.action_space
    live = set(env.catalog.live_items)
    assert len(live) == 42
    for step, info in enumerate(play(env, 31), start=1):
        assert set(info["slate"]) <= live
        assert info["day"] == step // 5
        assert ("arrived" in info) == (step % 5 == 0)
        if step % 5 == 0:
            assert len(info["arrived"]) == len(info["retired"]) == 4
            assert not live & set(info["arrived"])
            assert set(info["retired"]) < live
            live = live - set(info["retired"]) | set(info["arrived"])
    assert live == set(env.catalog.live_items)
    assert env.action_space is space


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_agrees_with_single_environments_through_changes(tiny_bundle: Bundle, mode: str) -> None:
    settings = {"action_mode": mode, "churn": CHURN, "max_steps": 4}
    ours = SlateVectorEnv(3, tiny_bundle, **settings)
    theirs = SyncVectorEnv([lambda: SlateEnv(tiny_bundle, **settings)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    ours.action_space.seed(0)
    for env in (ours, theirs):
        env.reset(seed=9)
    for step in range(1, 24):
        actions = ours.action_space.sample()
        observation, reward, *_, info = ours.step(actions)
        there = theirs.step(actions)
        np.testing.assert_array_equal(observation["history"], there[0]["history"])
        np.testing.assert_array_equal(reward, there[1])
        assert (info["day"] == step // 5).all()
        if step % 5 == 0 and step % 4:  # else the infos of ended sessions stand elsewhere in Gymnasium's vector
            np.testing.assert_array_equal(info["arrived"], there[4]["arrived"])
            np.testing.assert_array_equal(info["retired"], there[4]["retired"])


def test_a_seeded_reset_returns_to_the_first_day(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle, churn=CHURN)
    first, again = play(env, 17), play(env, 17)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["slate"], other["slate"])
        np.testing.assert_array_equal(one.get("arrived", []), other.get("arrived", []))
    env.reset()
    assert play(env, 1)[0]["day"] == 0


def test_a_pickled_environment_goes_on_through_changes(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(2, tiny_bundle, churn=CHURN)
    play(env, 7)
    copy = pickle.loads(pickle.dumps(env))
    actions = [env.action_space.sample() for _ in range(9)]
    for action in actions:
        one, other = env.step(action), copy.step(action)
        np.testing.assert_array_equal(one[4]["slate"], other[4]["slate"])
    assert (env.catalog.codes == copy.catalog.codes).all()


def test_it_passes_gymnasiums_checks(tiny_bundle: Bundle) -> None:
    check_env(SlateEnv(tiny_bundle, churn={**CHURN, "every": 2}), skip_render_check=True)


def test_retired_items_come_back_after_all_others(tiny_bundle: Bundle) -> None:
    turnover = open_turnover(Churn(every=1, held_back=0.1, arrive=0.1, seed=1), tiny_bundle, slate_size=4)
    days = [turnover.pass_time() for _ in range(6)]
    arrived, retired = (np.concatenate([day[i] for day in days if day is not None]) for i in (0, 1))
    assert set(arrived[:6]) == set(turnover._first_waiting)
    assert set(arrived[6:]) <= set(retired)
    assert len(turnover.catalog.live_items) == 54


def test_the_latest_items_of_the_log_are_held_back(tiny_bundle: Bundle) -> None:
    slates = tiny_bundle.users["train"].slate
    first = {int(item): row for row, slate in reversed(list(enumerate(slates))) for item in slate}
    waiting = Churn(held_back=0.2, arrivals="latest").first_waiting(tiny_bundle)
    others = set(tiny_bundle.codebook.live_items) - set(waiting)
    assert len(waiting) == 12
    assert min(first.get(int(item), len(slates)) for item in waiting) >= max(first[int(item)] for item in others)


def test_days_may_be_counted_in_sessions(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(
        4, tiny_bundle, max_steps=3, initial_patience=1000.0, churn={**CHURN, "every": 2, "unit": "sessions"}
    )
    days = [int(info["day"][0]) for info in play(env, 12)]
    assert days == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2]


def test_a_day_of_sessions_ends_with_the_last_of_them(tiny_bundle: Bundle) -> None:
    """Ten environments, of which one finishes at each step: ten times 0.1 is less than 1 in floating point."""
    turnover = open_turnover(Churn(every=1, unit="sessions"), tiny_bundle, slate_size=4)
    ended = [turnover.pass_time(1, 10) is not None for _ in range(30)]
    assert np.flatnonzero(ended).tolist() == [9, 19, 29]
    assert [turnover.pass_time(n, 10) is not None for n in (8, 4, 7, 1)] == [False, True, False, True]


@pytest.mark.parametrize(
    ("held_back", "retire", "n_arrived", "n_live"),
    [
        (0.0, None, [0, 0, 0], [60, 60, 60]),
        (0.1, None, [6, 6, 6], [54, 54, 54]),  # an arrival of 11 is wanted, 6 wait
        (0.1, 0.1, [6, 5, 5], [55, 55, 55]),
        (0.0, 0.1, [0, 6, 6], [54, 54, 54]),
    ],
)
def test_as_many_retire_as_arrived(
    tiny_bundle: Bundle, held_back: float, retire: float | None, n_arrived: list[int], n_live: list[int]
) -> None:
    churn = Churn(every=1, held_back=held_back, arrive=0.2, retire=retire)
    turnover = open_turnover(churn, tiny_bundle, slate_size=4)
    for arrived, live in zip(n_arrived, n_live, strict=True):
        changed = turnover.pass_time()
        assert changed is not None
        assert len(changed[0]) == arrived
        assert len(turnover.catalog.live_items) == live


def test_the_seed_decides_what_retires(tiny_bundle: Bundle) -> None:
    retired = []
    for seed in (1, 1, 2):
        changed = open_turnover(Churn(every=1, held_back=0.0, retire=0.2, seed=seed), tiny_bundle, 4).pass_time()
        assert changed is not None
        retired.append(changed[1].tolist())
    assert retired[0] == retired[1] != retired[2]


def test_the_cooldown_is_that_of_the_catalog(tiny_bundle: Bundle) -> None:
    assert open_turnover(Churn(cooldown=5), tiny_bundle, slate_size=4).catalog.cooldown == 5


def test_numpy_integers_are_whole_numbers(tiny_bundle: Bundle) -> None:
    churn = Churn(every=np.int64(3), cooldown=np.uint8(2), seed=np.int32(7))
    assert churn == Churn(every=3, cooldown=2, seed=7)
    assert [type(value) for value in (churn.every, churn.cooldown, churn.seed)] == [int] * 3


def test_masks_follow_the_catalog(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle, action_mode="item", churn={**CHURN, "every": 1})
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert set(np.flatnonzero(env.action_masks()[:60]) + 1) == set(env.catalog.live_items)


@pytest.mark.parametrize(
    ("churn", "message"),
    [
        ({"evry": 3}, "unknown churn setting 'evry'"),
        ({"unit": "weeks"}, "unknown churn unit 'weeks'"),
        ({"every": 0}, "got churn every 0, expected a whole number of at least 1"),
        ({"every": True}, "got churn every True"),
        ({"every": 2.0}, "got churn every 2.0"),
        ({"held_back": 1.0}, "expected a share in \\[0, 1\\)"),
        ({"arrive": 2.0}, "got churn arrive 2.0"),
        ({"arrive": "much"}, "expected numbers"),
        (3, "expected a mapping"),
        ({"held_back": 0.99}, "got slate_size 4, expected at most the 1 live items"),
    ],
)
def test_wrong_churn_is_refused(tiny_bundle: Bundle, churn: Any, message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        SlateEnv(tiny_bundle, churn=churn)


def test_it_is_an_argument_of_every_id(tiny_bundle: Bundle) -> None:
    env = gymnasium.make("HSRL-Bundle-v0", bundle=tiny_bundle, churn={"every": 1})
    env.reset(seed=0)
    assert len(env.step(env.action_space.sample())[4]["arrived"]) == 3
