"""Gymnasium's three autoreset modes, step for step against its own vector of our single environments."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import (
    FilterObservation,
    FlattenObservation,
    NormalizeObservation,
    RecordEpisodeStatistics,
)
from packaging.version import Version

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.ads.env import AdsEnv, AdsVectorEnv
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog

SETTINGS: dict[str, Any] = {"max_steps": 5, "initial_patience": 15.0}  # ends by patience and by the horizon
MARKET = {
    "n_ads": 600, "n_campaigns": 80, "n_categories": 6, "n_users": 100, "n_candidates": 32, "n_days": 7,
    "n_segments": 4, "n_latent": 3, "n_features": 6, "n_profile": 5, "base": 0.0, "sale": -1.0,
}  # fmt: skip
ADS: dict[str, Any] = {"market": MARKET, "max_steps": 4, "initial_patience": 6.0}
N_ENVS = 3


def same(left: Any, right: Any) -> None:
    """Compare deeply: keys, dtypes and values."""
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for name in left:
            same(left[name], right[name])
    else:
        assert np.asarray(left).dtype == np.asarray(right).dtype
        np.testing.assert_array_equal(left, right)


def pair(kind: str, bundle: Bundle, mode: AutoresetMode, **more: Any) -> tuple[SlateVectorEnv, SyncVectorEnv]:
    """Return our vector, and Gymnasium's of as many single environments."""
    single: Callable[[], SlateEnv]
    if kind == "ads":
        ours: SlateVectorEnv = AdsVectorEnv(N_ENVS, autoreset_mode=mode, **ADS, **more)
        single = lambda: AdsEnv(**ADS, **more)  # noqa: E731
    else:
        ours = SlateVectorEnv(N_ENVS, bundle, autoreset_mode=mode, **SETTINGS, **more)
        single = lambda: SlateEnv(bundle, **SETTINGS, **more)  # noqa: E731
    ours.action_space.seed(0)
    return ours, SyncVectorEnv([single] * N_ENVS, autoreset_mode=mode)


@pytest.mark.parametrize("kind", ["slate", "ads"])
def test_next_step_is_gymnasiums(tiny_bundle: Bundle, kind: str) -> None:
    ours, theirs = pair(kind, tiny_bundle, AutoresetMode.NEXT_STEP)
    for left, right in zip(ours.reset(seed=40), theirs.reset(seed=40), strict=True):
        same(left, right)
    n_ends, n_mixed = np.zeros(2, dtype=int), 0
    for _ in range(80):
        actions = ours.action_space.sample()
        got, expected = ours.step(actions), theirs.step(actions)
        for left, right in zip(got, expected, strict=True):
            same(left, right)
        n_ends += [got[2].sum(), got[3].sum()]
        n_mixed += 0 < (got[2] | got[3]).sum() < N_ENVS
    assert (n_ends > 0).all()
    assert n_mixed
    same(ours.reset()[0], theirs.reset()[0])  # and a reset of all, of which some were over
    actions = ours.action_space.sample()
    same(ours.step(actions)[0], theirs.step(actions)[0])


@pytest.mark.parametrize("kind", ["slate", "ads"])
def test_disabled_is_gymnasiums(tiny_bundle: Bundle, kind: str) -> None:
    ours, theirs = pair(kind, tiny_bundle, AutoresetMode.DISABLED)
    same(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    n_partial = 0
    for step in range(30):
        actions = ours.action_space.sample()
        got, expected = ours.step(actions), theirs.step(actions)
        for left, right in zip(got, expected, strict=True):
            same(left, right)
        done = got[2] | got[3]
        if done.any():
            n_partial += not done.all()
            seed = 77 if step % 5 == 0 else None  # also with a seed: s + i, for those in the mask alone
            got = ours.reset(seed=seed, options={"reset_mask": done})
            expected = theirs.reset(seed=seed, options={"reset_mask": done.copy()})
            same(got[0], expected[0])
            same(got[1], expected[1])
    assert n_partial > 3


def test_a_session_may_be_cut_short_by_the_mask(tiny_bundle: Bundle) -> None:
    """Gymnasium allows it in every mode."""
    for mode in AutoresetMode:
        ours, theirs = pair("slate", tiny_bundle, mode)
        for env in (ours, theirs):
            env.reset(seed=1)
        mask = np.array([False, True, False])
        for _ in range(7):
            actions = ours.action_space.sample()
            done = np.logical_or(*ours.step(actions)[2:4])
            theirs.step(actions)
            chosen = mask | done if mode is AutoresetMode.DISABLED else mask
            same(
                ours.reset(options={"reset_mask": chosen})[0],
                theirs.reset(options={"reset_mask": chosen.copy()})[0],
            )


def test_disabled_waits_for_the_reset(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(3, tiny_bundle, max_steps=1, autoreset_mode="Disabled")
    env.reset(seed=0)
    actions = env.action_space.sample()
    env.step(actions)
    with pytest.raises(HsrlError, match=r"the sessions of environments 0, 1, 2 are over; call reset\(options="):
        env.step(actions)
    env.reset(options={"reset_mask": np.array([True, False, True])})
    with pytest.raises(HsrlError, match="the sessions of environments 1 are over"):
        env.step(actions)


def test_a_skipped_step_takes_any_action(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(2, tiny_bundle, max_steps=1, autoreset_mode="NextStep")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    _, reward, terminated, truncated, info = env.step(np.full((2, 12), -7))
    assert reward.tolist() == [0.0, 0.0]
    assert not (terminated | truncated).any()
    assert (info["slate"] == 0).all()
    with pytest.raises(HsrlError, match="got -7 at position 0"):
        env.step(np.full((2, 12), -7))
    env.step(env.action_space.sample())
    with pytest.raises(HsrlError, match=r"got actions of shape \(1, 12\), expected one for each of the 2 environments"):
        env.step(np.zeros((1, 12), dtype=int))


@pytest.mark.parametrize("unit", ["steps", "sessions"])
def test_days_do_not_count_skipped_steps(tiny_bundle: Bundle, unit: str) -> None:
    """All sessions last three steps, so the vector's days are those of each single environment."""
    churn = {"every": 5 if unit == "steps" else 2, "held_back": 0.3, "arrive": 0.1, "unit": unit}
    settings: dict[str, Any] = {"max_steps": 3, "initial_patience": 1000.0, "churn": churn}
    ours = SlateVectorEnv(2, tiny_bundle, autoreset_mode="NextStep", **settings)
    theirs = SyncVectorEnv([lambda: SlateEnv(tiny_bundle, **settings)] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    ours.action_space.seed(0)
    for env in (ours, theirs):
        env.reset(seed=9)
    days = []
    for _ in range(24):
        actions = ours.action_space.sample()
        got, expected = ours.step(actions), theirs.step(actions)
        for left, right in zip(got, expected, strict=True):
            same(left, right)
        days.append(int(got[4]["day"][0]))
    assert days[-1] == 3  # 18 of the 24 steps were played, 6 sessions


def test_a_day_ends_after_the_steps_that_were_played(tiny_bundle: Bundle) -> None:
    """Sessions end at different times: a step of which two users were spared is half a step of the day."""
    churn = {"every": 5, "held_back": 0.3}
    env = SlateVectorEnv(4, tiny_bundle, autoreset_mode="NextStep", churn=churn, initial_patience=9.0)
    env.action_space.seed(0)
    env.reset(seed=3)
    played, n_mixed, days = 0, 0, [0]
    waiting = np.zeros(4, dtype=bool)
    for _ in range(40):
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        played += int((~waiting).sum())
        n_mixed += 0 < waiting.sum() < 4
        assert (info["day"] == played // 20).all()
        assert ("arrived" in info) == (played // 20 > days[-1])
        if "arrived" in info:
            np.testing.assert_array_equal(info["_arrived"], ~waiting)
        days.append(played // 20)
        waiting = terminated | truncated
    assert n_mixed > 3
    assert days[-1] < 40 // 5


def test_days_of_the_market_do_not_count_skipped_steps() -> None:
    settings = {**ADS, "steps_per_day": 4, "max_steps": 3, "initial_patience": 100.0}
    ours = AdsVectorEnv(2, autoreset_mode="NextStep", **settings)
    theirs = SyncVectorEnv([lambda: AdsEnv(**settings)] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    ours.action_space.seed(0)
    for env in (ours, theirs):
        env.reset(seed=9)
    for _ in range(20):
        actions = ours.action_space.sample()
        for left, right in zip(ours.step(actions), theirs.step(actions), strict=True):
            same(left, right)
    assert ours.sessions.days.day == 3


def test_onboarding_does_not_count_skipped_steps(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook.forget(range(40, 61)), 4)
    envs = SlateVectorEnv(
        4, tiny_bundle, action_mode="item", catalog=catalog, onboarding={"explore": 0.3}, autoreset_mode="NextStep",
        max_steps=1, initial_patience=1000.0,
    )  # fmt: skip
    catalog.change(arrive=list(range(40, 61)))
    envs.reset(seed=4)
    onboarder = envs.sessions.onboarder
    assert onboarder is not None
    shown = int(onboarder.impressions.sum())
    for step in range(6):
        info = envs.step(np.tile([50, 51, 52, 53], (4, 1)))[4]
        before, shown = shown, int(onboarder.impressions.sum())
        assert (shown > before) == (step % 2 == 0)
        assert onboarder._steps == step // 2 + 1
        assert info["explored"].any() == (step % 2 == 0)


def test_same_step_is_the_default_and_gymnasiums_in_what_it_returns(tiny_bundle: Bundle) -> None:
    default, named = SlateVectorEnv(3, tiny_bundle), SlateVectorEnv(3, tiny_bundle, autoreset_mode="SAME_STEP")
    for env in (default, named):
        assert env.autoreset_mode is env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    ours, theirs = pair("slate", tiny_bundle, AutoresetMode.SAME_STEP)
    for left, right in zip(ours.reset(seed=40), theirs.reset(seed=40), strict=True):
        same(left, right)
    n_ends = 0
    for _ in range(30):
        actions = ours.action_space.sample()
        got, expected = ours.step(actions), theirs.step(actions)
        for left, right in zip(got[:4], expected[:4], strict=True):
            same(left, right)
        done = got[2] | got[3]
        n_ends += done.sum()
        assert got[4].keys() == expected[4].keys()
        for name, values in got[4].items():  # theirs says of a replaced user what a reset says
            if not name.lstrip("_").startswith("final"):
                same(values[~done], expected[4][name][~done])
        if done.any():
            for index in np.flatnonzero(done):
                same(got[4]["final_obs"][index], expected[4]["final_obs"][index])
            for name, values in got[4]["final_info"].items():
                same(values[done], expected[4]["final_info"][name][done])
    assert n_ends


def test_the_mode_is_that_of_the_instance(tiny_bundle: Bundle, tiny_bundle_folder: Any) -> None:
    assert SlateVectorEnv(1, tiny_bundle, autoreset_mode="NextStep").metadata["autoreset_mode"] is (
        AutoresetMode.NEXT_STEP
    )
    assert SlateVectorEnv.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    made = gymnasium.make_vec("HSRL-RL4RS-v0", 2, bundle=str(tiny_bundle_folder), autoreset_mode="Disabled")
    assert made.unwrapped.autoreset_mode is AutoresetMode.DISABLED  # type: ignore[attr-defined]
    assert made.spec is not None
    assert '"autoreset_mode": "Disabled"' in made.spec.to_json()
    assert pickle.loads(pickle.dumps(made)).autoreset_mode is AutoresetMode.DISABLED
    with pytest.raises(HsrlError, match="unknown autoreset_mode 'NexStep'; did you mean NextStep"):
        SlateVectorEnv(1, tiny_bundle, autoreset_mode="NexStep")
    with pytest.raises(HsrlError, match="unknown autoreset_mode"):
        AdsVectorEnv(1, market=MARKET, autoreset_mode="never")


@pytest.mark.parametrize(
    ("wrapper", "mode"),
    [
        (FlattenObservation, "NextStep"),
        (FlattenObservation, "Disabled"),
        (lambda env: FilterObservation(env, ["history"]), "NextStep"),
        (lambda env: FilterObservation(env, ["history"]), "Disabled"),
        (
            lambda env: NormalizeObservation(FlattenObservation(env)),
            "NextStep",
        ),  # it takes no dict, and this mode alone
    ],
)
def test_gymnasiums_vector_observation_wrappers_take_it(tiny_bundle: Bundle, mode: str, wrapper: Any) -> None:
    env = wrapper(SlateVectorEnv(3, tiny_bundle, autoreset_mode=mode, **SETTINGS))
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    # An older NormalizeObservation declares the space of what it takes, not of what it returns.
    tells_its_space = Version(gymnasium.__version__) >= Version("1.4") or not isinstance(env, NormalizeObservation)
    for _ in range(12):
        assert not tells_its_space or env.observation_space.contains(observation)
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        done = terminated | truncated
        if mode == "Disabled" and done.any():
            observation, _ = env.reset(options={"reset_mask": done})


def test_gymnasiums_statistics_count_the_steps_that_were_played(tiny_bundle: Bundle) -> None:
    env = RecordEpisodeStatistics(
        SlateVectorEnv(2, tiny_bundle, max_steps=3, initial_patience=99.0, autoreset_mode="NextStep")
    )
    env.action_space.seed(0)
    env.reset(seed=0)
    total = np.zeros(2)
    for step in range(1, 12):
        _, reward, _, _, info = env.step(env.action_space.sample())
        total += reward
        if step % 4 == 3:
            assert info["episode"]["l"].tolist() == [3, 3]
            np.testing.assert_allclose(info["episode"]["r"], total)
            total[:] = 0.0


def test_render_shows_new_users_as_new(tiny_bundle: Bundle) -> None:
    settings: dict[str, Any] = {"render_mode": "ansi", "max_steps": 1}
    env = SlateVectorEnv(2, tiny_bundle, autoreset_mode="NextStep", **settings)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert all(text.startswith("step 1 of at most 1") for text in env.render())
    env.step(env.action_space.sample())
    assert env.render() == ("a new user, patience 20.0",) * 2
    env = SlateVectorEnv(2, tiny_bundle, autoreset_mode="Disabled", **settings)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.reset(options={"reset_mask": np.array([False, True])})
    assert [text.split()[0] for text in env.render()] == ["step", "a"]


def test_a_first_reset_has_no_mask(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(2, tiny_bundle, autoreset_mode="Disabled")
    with pytest.raises(HsrlError, match="got a reset_mask at the first reset"):
        env.reset(options={"reset_mask": np.array([False, True])})
    env.reset(seed=0, options={"reset_mask": np.array([True, True])})


def test_a_seeded_reset_of_some_leaves_the_catalog_as_it_is(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(2, tiny_bundle, autoreset_mode="Disabled", churn={"every": 1, "held_back": 0.3})
    env.reset(seed=0)
    env.step(env.action_space.sample())
    _, info = env.reset(seed=0, options={"reset_mask": np.array([True, False])})
    assert info["day"].tolist() == [1, 0]  # of the other nothing is told
    assert info["_day"].tolist() == [True, False]
    assert env.reset(seed=0)[1]["day"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "mask", [[1, 0], np.array([True]), np.array([1, 0]), np.array([False, False]), np.array([[True, True]]), None]
)
def test_masks_that_are_none(tiny_bundle: Bundle, mask: Any) -> None:
    env = SlateVectorEnv(2, tiny_bundle, autoreset_mode="Disabled")
    env.reset(seed=0)
    with pytest.raises(
        HsrlError, match=r"got a reset_mask of shape .*, expected a bool array \(2,\) with at least one"
    ):
        env.reset(options={"reset_mask": mask})


def test_list_seeds_with_none_go_on_as_gymnasiums_do(tiny_bundle: Bundle) -> None:
    ours, theirs = pair("slate", tiny_bundle, AutoresetMode.NEXT_STEP)
    for env in (ours, theirs):
        env.reset(seed=1)
    same(ours.reset(seed=[None, 8, None])[0], theirs.reset(seed=[None, 8, None])[0])


@pytest.mark.parametrize("seed", [2**63 + 5, 2**64 - 1, 2**70])
def test_seeds_of_any_size(tiny_bundle: Bundle, seed: Any) -> None:
    """Minari draws them of 64 bits."""
    alone, _ = SlateEnv(tiny_bundle).reset(seed=seed)
    batch, _ = SlateVectorEnv(2, tiny_bundle).reset(seed=[seed, seed])
    np.testing.assert_array_equal(batch["profile"][1], alone["profile"])


@pytest.mark.filterwarnings("ignore")  # another library's own
@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_torchrl_takes_it_where_it_is_installed(tiny_bundle_folder: Any, mode: str) -> None:
    envs = pytest.importorskip("torchrl.envs")
    made = gymnasium.make_vec("HSRL-RL4RS-v0", 3, bundle=str(tiny_bundle_folder), autoreset_mode=mode, **SETTINGS)
    wrapped = envs.GymWrapper(made)
    envs.check_env_specs(wrapped)
    played = wrapped.rollout(12, break_when_any_done=False)
    assert played.batch_size == (3, 12)
    assert int(played["next", "done"].sum()) >= 6
