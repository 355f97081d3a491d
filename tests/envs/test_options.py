"""What goes into a reset and what comes with it: a chosen user, infos of one form, names that nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import hsrl_gym  # noqa: F401  (registers the environments)
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.ads.env import AdsEnv, AdsVectorEnv
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.options import read_options
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog

MARKET = {
    "n_ads": 600, "n_campaigns": 80, "n_categories": 6, "n_users": 100, "n_candidates": 32, "n_days": 7,
    "n_segments": 4, "n_latent": 3, "n_features": 6, "n_profile": 5, "base": 0.0, "sale": -1.0,
}  # fmt: skip
Make = Callable[..., SlateEnv]
MakeVector = Callable[..., SlateVectorEnv]


@pytest.fixture(params=["slate", "ads", "churn", "onboarding"])
def both(request: pytest.FixtureRequest, tiny_bundle: Bundle) -> tuple[Make, MakeVector]:
    """Return makers of the single and the vector environment."""
    if request.param == "ads":
        return (lambda: AdsEnv(market=MARKET)), (lambda n: AdsVectorEnv(n, market=MARKET))
    more: dict[str, Any] = {"churn": {"every": 50, "held_back": 0.3}} if request.param != "slate" else {}
    if request.param == "onboarding":
        more["onboarding"] = {"explore": 0.2}
    return (lambda: SlateEnv(tiny_bundle, **more)), (lambda n: SlateVectorEnv(n, tiny_bundle, **more))


def structure(info: dict[str, Any]) -> dict[str, tuple[type, Any, Any]]:
    """Return what Minari compares of an info, and more: types, dtypes and shapes by key."""
    return {name: (type(value), value.dtype, value.shape) for name, value in info.items()}


def test_a_reset_tells_what_a_step_tells(both: tuple[Make, MakeVector]) -> None:
    env = both[0]()
    env.action_space.seed(0)
    _, first = env.reset(seed=3)
    infos = [first, *(env.step(env.action_space.sample())[4] for _ in range(3)), env.reset()[1]]
    assert {"slate", "clicks", "slate_tokens", "patience", "patience_before", "user"} <= set(first)
    assert [structure(info) for info in infos] == [structure(first)] * len(infos)
    for info in infos:
        assert all(isinstance(value, np.ndarray | np.generic) for value in info.values())
    for info in (first, infos[-1]):
        assert not info["slate"].any()
        assert not info["clicks"].any()
        assert (info["slate_tokens"] == -1).all()
        assert info["patience"] == info["patience_before"] == 20.0
        assert not any(np.any(info[name]) for name in ("explored", "conversions", "cost") if name in info)


def test_the_vector_tells_the_same(both: tuple[Make, MakeVector]) -> None:
    single, envs = both[0](), both[1](3)
    _, alone = single.reset(seed=8)
    _, info = envs.reset(seed=7)
    columns = {name for name in info if not name.startswith("_")}
    assert columns == set(alone)
    for name in columns:
        assert info[f"_{name}"].all()
        assert info[name].dtype == alone[name].dtype
        np.testing.assert_array_equal(info[name][1], alone[name])
    envs.action_space.seed(0)
    after = envs.step(envs.action_space.sample())[4]
    assert {name for name in after if not name.startswith(("_", "final"))} == columns


def test_the_user_is_told(both: tuple[Make, MakeVector]) -> None:
    env = both[0]()
    env.action_space.seed(0)
    rows = []
    for seed in range(5):
        observation, info = env.reset(seed=seed)
        pool = env.sessions.core
        np.testing.assert_array_equal(observation["profile"], pool.profiles[info["user"]])
        np.testing.assert_array_equal(observation["history"], pool.histories[info["user"]])
        assert env.step(env.action_space.sample())[4]["user"] == info["user"]
        rows.append(int(info["user"]))
    assert len(set(rows)) > 1


def test_a_user_may_be_chosen(both: tuple[Make, MakeVector]) -> None:
    env, envs = both[0](), both[1](3)
    chosen = []
    for user in (0, np.int64(7), np.array(99)):
        observation, info = env.reset(seed=5, options={"user": user})
        assert info["user"] == user
        for name, pool in (("profile", env.sessions.core.profiles), ("history", env.sessions.core.histories)):
            np.testing.assert_array_equal(observation[name], pool[int(user)])
        chosen.append(observation)
    batch, info = envs.reset(seed=[5, 5, 5], options={"user": np.array([0, 7, 99])})
    assert info["user"].tolist() == [0, 7, 99]
    for index, observation in enumerate(chosen):
        for name, values in observation.items():
            np.testing.assert_array_equal(batch[name][index], values)
    assert envs.reset(options={"user": 7})[1]["user"].tolist() == [7, 7, 7]


def test_the_next_user_is_the_one_whom_the_seed_chooses(tiny_bundle: Bundle) -> None:
    plain, chosen = SlateEnv(tiny_bundle), SlateEnv(tiny_bundle)
    plain.reset(seed=2)
    chosen.reset(seed=2, options={"user": 11})
    assert plain.reset()[1]["user"] == chosen.reset()[1]["user"]


def test_the_user_whom_the_seed_chooses_plays_the_same_session_when_chosen(both: tuple[Make, MakeVector]) -> None:
    env = both[0]()
    _, info = env.reset(seed=4)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(4)]
    first = [env.step(action)[4]["clicks"].tolist() for action in actions]
    env.reset(seed=4, options={"user": info["user"]})
    assert [env.step(action)[4]["clicks"].tolist() for action in actions] == first


def test_users_of_some_environments(tiny_bundle: Bundle) -> None:
    envs = SlateVectorEnv(3, tiny_bundle, autoreset_mode="Disabled")
    before = envs.reset(seed=0)[1]["user"]
    mask = np.array([False, True, False])
    _, info = envs.reset(options={"reset_mask": mask, "user": 4})
    assert info["user"].tolist() == [0, 4, 0]  # of those that were reset
    assert info["_user"].tolist() == mask.tolist()
    assert envs.state.user.tolist() == [before[0], 4, before[2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": 3}, "unknown reset option 'users'; did you mean user"),
        ({"low": 0.1}, "unknown reset option 'low'; known: .*user"),
        ({"user": -1}, r"got user -1 in reset's options, expected a row of the pool, a whole number in 0\.\.\d+"),
        ({"user": 10**6}, "got user 1000000 in reset's options"),
        ({"user": 2.5}, "got user 2.5 in reset's options"),
        ({"user": True}, "got user True in reset's options"),
        ({"user": "anna"}, "got user anna in reset's options"),
        ({"user": [1, 2]}, r"got users of shape \(2,\) in reset's options, expected one row of the pool"),
        ([("user", 1)], "got the reset options .*, expected a dict with any of user"),
    ],
)
def test_options_that_are_none(tiny_bundle: Bundle, options: Any, message: str) -> None:
    for env in (SlateEnv(tiny_bundle), SlateVectorEnv(3, tiny_bundle), AdsEnv(market=MARKET)):
        with pytest.raises(HsrlError, match=message) as error:
            env.reset(seed=0, options=options)
        assert "\n" not in str(error.value)
        env.reset(seed=0, options={})
        env.reset(options={"user": None})
    with pytest.raises(HsrlError, match="unknown reset option 'reset_mask'"):
        SlateEnv(tiny_bundle).reset(options={"reset_mask": np.array([True])})


def test_an_option_of_minari_passes(tiny_bundle: Bundle) -> None:
    """Its collector gives all options to the environment, its own among them."""
    SlateEnv(tiny_bundle).reset(options={"minari_autoseed": False})


def test_options_are_not_changed() -> None:
    """Gymnasium's own vectors take the mask out of the caller's dict."""
    options = {"user": 1, "reset_mask": np.array([True, False])}
    found = read_options(options, 5, 2)
    assert set(options) == {"user", "reset_mask"}
    assert found.users is not None
    assert found.users.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slatesize": 3}, "got an unexpected keyword argument 'slatesize'; did you mean slate_size"),
        ({"simulater": "eval"}, "got an unexpected keyword argument 'simulater'; did you mean simulator"),
        ({"rendermode": "ansi"}, "got an unexpected keyword argument 'rendermode'; did you mean render_mode"),
        ({"bundel": "x"}, "got an unexpected keyword argument 'bundel'; did you mean bundle"),
        ({"zzz": 1}, "got an unexpected keyword argument 'zzz'; known: action_mode, .*bundle, catalog, churn"),
    ],
)
def test_unknown_arguments(settings: dict[str, Any], message: str) -> None:
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(HsrlError, match=message) as error:
            make("HSRL-RL4RS-v0", **settings)
        assert "\n" not in str(error.value)


def test_unknown_arguments_of_the_market() -> None:
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(
            HsrlError, match="HSRL-Ads-v0 got an unexpected keyword argument 'markett'; did you mean market"
        ):
            make("HSRL-Ads-v0", markett={})


def test_what_belongs_to_the_batch_is_said_of_the_single_environment() -> None:
    with pytest.raises(HsrlError, match=r"argument 'autoreset_mode'; it is one of gym\.make_vec"):
        gymnasium.make("HSRL-RL4RS-v0", autoreset_mode="NextStep")


def test_torchrl_makes_it_by_id(tiny_bundle_folder: Path) -> None:
    """It tries an argument of its own, and goes on without it after a TypeError that names it."""
    libs = pytest.importorskip("torchrl.envs", reason="TorchRL is not installed")
    env = libs.GymEnv("HSRL-Bundle-v0", bundle=str(tiny_bundle_folder))
    assert env.rollout(2).batch_size[0] == 2


def test_a_typing_error_in_onboarding_is_told_without_churn(tiny_bundle: Bundle) -> None:
    with pytest.raises(HsrlError, match="unknown onboarding setting 'explor'"):
        SlateEnv(tiny_bundle, onboarding={"explor": 0.1})


def test_a_shared_catalog_is_still_an_argument(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook, 4)
    assert SlateEnv(tiny_bundle, catalog=catalog).catalog is catalog
