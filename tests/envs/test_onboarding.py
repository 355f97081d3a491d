"""Onboarding: new items get impressions, what they bring moves them, and nothing else changes."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog

CHURN = {"every": 1, "held_back": 0.3, "arrive": 0.5, "retire": 0.0}  # all new items arrive after the first step


def environment(bundle: Bundle, **onboarding: Any) -> SlateVectorEnv:
    return SlateVectorEnv(16, bundle, action_mode="item", churn=CHURN, onboarding=onboarding)


def act(envs: SlateVectorEnv, items: list[int], n_steps: int) -> list[dict[str, Any]]:
    """Return the infos of steps in which everybody is shown these items."""
    return [envs.step(np.tile(np.array(items) - 1, (16, 1)))[4] for _ in range(n_steps)]


def test_a_share_of_the_slots_explores_new_items(tiny_bundle: Bundle) -> None:
    envs = environment(tiny_bundle, explore=0.1, enough=10_000)
    envs.reset(seed=0)
    shown = envs.catalog.live_items[:4].tolist()
    first, *others = act(envs, shown, 60)
    new = set(first["arrived"][0])
    assert not first["explored"].any()  # nothing new is on sale yet
    explored = np.stack([info["explored"] for info in others])
    slates = np.stack([info["slate"] for info in others])
    assert abs(explored.mean() - 0.1) < 0.02
    assert not explored[..., :-1].any()  # the last slot first
    assert set(slates[explored]) <= new
    assert (slates[~explored] == np.tile(shown, (59, 16, 1))[~explored]).all()
    assert all(len(set(slate)) == 4 for slate in slates.reshape(-1, 4))


def test_few_new_items_are_explored_as_much(tiny_bundle: Bundle) -> None:
    """Even one new item beside a slate is enough."""
    envs = SlateVectorEnv(16, tiny_bundle, action_mode="item", onboarding={"explore": 0.25, "enough": 10_000},
                          catalog=Catalog(tiny_bundle.codebook.forget([5, 9]), 4))  # fmt: skip
    envs.catalog.change(arrive=[5])
    envs.reset(seed=0)
    infos = act(envs, [1, 2, 3, 4], 20)
    assert all(info["explored"].sum(1).tolist() == [1] * 16 for info in infos)
    assert all((info["slate"][:, -1] == 5).all() for info in infos)
    for info in act(envs, [1, 2, 3, 5], 3):
        assert not info["explored"].any()  # it is shown already


def test_more_than_one_slot_of_a_slate(tiny_bundle: Bundle) -> None:
    envs = environment(tiny_bundle, explore=0.4)
    envs.reset(seed=0)
    *_, last = act(envs, envs.catalog.live_items[:4].tolist(), 2)
    assert set(last["explored"].sum(1)) == {1, 2}
    assert all(len(set(slate)) == 4 for slate in last["slate"])


def test_impressions_move_an_item_and_no_other(tiny_bundle: Bundle) -> None:
    envs = environment(tiny_bundle, explore=0.0, move_every=4, caution=0.0)
    envs.reset(seed=0)
    known = envs.catalog.live_items
    item = int(act(envs, known[:4].tolist(), 1)[0]["arrived"][0, 0])
    guess, codes = envs.catalog.vectors.copy(), envs.catalog.codes.copy()
    act(envs, [item, *known[:3]], 7)
    assert (envs.catalog.vectors[item] != guess[item]).any()
    others = np.delete(np.arange(61), item)
    assert (envs.catalog.vectors[others] == guess[others]).all()
    assert (envs.catalog.codes[others] == codes[others]).all()
    onboarder = envs.sessions.onboarder
    assert onboarder is not None
    assert onboarder.impressions.tolist()[item] == 7 * 16
    assert int(onboarder.impressions.sum()) == 7 * 16


def test_clicks_say_whether_an_item_is_liked(tiny_bundle: Bundle) -> None:
    """The same item, clicked by all or by none."""
    predicted = []
    for clicked in (1.0, 0.0):
        envs = environment(tiny_bundle, explore=0.0, caution=0.0)
        envs.reset(seed=0)
        onboarder = envs.sessions.onboarder
        assert onboarder is not None
        core, state = envs.sessions.core, envs.state
        item = int(onboarder.is_new.nonzero()[0])
        slate = torch.full((16, 4), item)
        onboarder.observe(core.profiles[state.user], state.history, slate, torch.full((16, 4), clicked))
        mean, _ = onboarder.beliefs.posterior(torch.tensor([item]))
        w, b = onboarder.clicks.equation(core.profiles[state.user], state.history, onboarder.guesses)
        predicted.append(float((w.double() @ mean[0] + b).mean()))
    assert predicted[0] > predicted[1] + 0.3


def test_new_items_start_where_caution_wants_them(tiny_bundle: Bundle) -> None:
    plain, careful = (environment(tiny_bundle, caution=caution) for caution in (0.0, 2.0))
    liked = careful.sessions.onboarder.direction.numpy()  # type: ignore[union-attr]
    new = np.flatnonzero(careful.catalog.codebook.codes[:, 0] < 0)[1:]
    assert (careful.catalog.vectors[new] @ liked < plain.catalog.vectors[new] @ liked).all()
    np.testing.assert_allclose(plain.catalog.vectors[new], plain.catalog.codebook.vectors[new], atol=1e-5)


def test_a_seeded_reset_forgets(tiny_bundle: Bundle) -> None:
    envs = environment(tiny_bundle, explore=0.2)
    runs = []
    for _ in range(2):
        envs.reset(seed=4)
        envs.action_space.seed(1)
        runs.append([envs.step(envs.action_space.sample())[4]["slate"] for _ in range(20)])
    np.testing.assert_array_equal(*runs)


def test_a_pickled_environment_goes_on(tiny_bundle: Bundle) -> None:
    envs = environment(tiny_bundle, explore=0.2)
    envs.reset(seed=4)
    act(envs, [1, 2, 3, 4], 9)
    copy = pickle.loads(pickle.dumps(envs))
    for one, other in zip(act(envs, [1, 2, 3, 4], 9), act(copy, [1, 2, 3, 4], 9), strict=True):
        np.testing.assert_array_equal(one["slate"], other["slate"])
    np.testing.assert_array_equal(envs.catalog.codes, copy.catalog.codes)


def test_a_catalog_shared_with_an_environment_without_onboarding_is_not_taught(tiny_bundle: Bundle) -> None:
    envs = environment(tiny_bundle)
    envs.reset(seed=0)
    act(envs, [1, 2, 3, 4], 2)
    version = envs.catalog.version
    judge = SlateVectorEnv(16, tiny_bundle, simulator="eval", action_mode="item", catalog=envs.catalog)
    judge.reset(seed=1)
    infos = act(judge, envs.catalog.live_items[-4:].tolist(), 5)
    assert "explored" not in infos[0]
    assert envs.catalog.version == version


def test_without_new_items_there_is_nothing_to_onboard(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle, onboarding={})
    assert env.sessions.onboarder is None
    env.reset(seed=0)
    assert "explored" not in env.step(env.action_space.sample())[4]


@pytest.mark.parametrize(
    ("onboarding", "message"),
    [
        ({"explor": 0.1}, "unknown onboarding setting 'explor'"),
        ({"explore": 1.0}, "expected a share in"),
        ({"caution": -1.0}, "at least 0 standard deviations"),
        ({"move_every": 0}, "got onboarding move_every 0"),
        ("yes", "got onboarding 'yes', expected a mapping"),
    ],
)
def test_wrong_onboarding_is_refused(tiny_bundle: Bundle, onboarding: Any, message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        SlateEnv(tiny_bundle, churn=CHURN, onboarding=onboarding)
