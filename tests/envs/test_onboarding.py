"""Onboarding: new items get impressions, what they bring moves them, and nothing else changes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.onboarding import Onboarder, Onboarding
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.beliefs import ItemBeliefs
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


def with_two_on_sale(bundle: Bundle, **onboarding: Any) -> tuple[SlateVectorEnv, Onboarder]:
    """Return environments in which items 5 and 9 are new and on sale, and their onboarder."""
    catalog = Catalog(bundle.codebook.forget([5, 9]), 4)
    envs = SlateVectorEnv(16, bundle, action_mode="item", catalog=catalog, onboarding=onboarding)
    catalog.change(arrive=[5, 9])
    envs.reset(seed=0)
    assert envs.sessions.onboarder is not None
    return envs, envs.sessions.onboarder


def test_new_items_are_explored_as_often_as_they_are_likely_to_be_the_better_one(tiny_bundle: Bundle) -> None:
    """Thompson sampling: neither always the one that looks best, nor the one that looks worst."""
    envs, onboarder = with_two_on_sale(tiny_bundle, explore=0.25, enough=10_000)
    profile, history = envs.sessions.core.profiles[:1], envs.state.history[:1]
    guesses = onboarder.guesses.clone()
    guesses[9] = guesses[5]  # only clicks tell them apart
    onboarder.beliefs = ItemBeliefs(guesses, onboarder.covariance)
    onboarder.observe(profile, history, torch.full((1, 32), 5), torch.ones(1, 32))
    w, _ = onboarder.clicks.equation(profile, history, torch.as_tensor(envs.catalog.vectors))
    mean, covariance = onboarder.beliefs.posterior(torch.tensor([5, 9]))
    ahead = float(w[0].double() @ (mean[0] - mean[1]))
    spread = float(w[0].double() @ covariance.sum(0) @ w[0].double()) ** 0.5
    expected = float(torch.special.ndtr(torch.tensor(ahead / spread)))
    assert 0.6 < expected < 0.95
    slate = torch.tensor([[1, 2, 3, 4]]).expand(4000, -1)
    slate, explored = onboarder.explore(profile.expand(4000, -1), history.expand(4000, -1), slate)
    assert (explored == torch.tensor([False, False, False, True])).all()
    assert set(slate[:, 3].tolist()) == {5, 9}
    assert abs(float((slate[:, 3] == 5).float().mean()) - expected) < 0.04


def test_items_with_enough_impressions_are_explored_no_more(tiny_bundle: Bundle) -> None:
    envs, onboarder = with_two_on_sale(tiny_bundle, explore=0.25, enough=30)
    n_explored = [int(info["explored"].sum()) for info in act(envs, [1, 2, 3, 4], 8)]
    assert n_explored[:2] == [16, 16]
    assert n_explored[-1] == 0
    assert all(30 <= onboarder.impressions[item] < 30 + 16 for item in (5, 9))


def test_an_impression_is_read_by_the_click_model_at_the_present_vectors(tiny_bundle: Bundle) -> None:
    """Its w, its offset, and a history that holds a new item."""
    envs, onboarder = with_two_on_sale(tiny_bundle, caution=3.0)
    profile, history = envs.sessions.core.profiles[:2], torch.zeros_like(envs.state.history[:2])
    history[:, -8:] = 9
    clicks = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    now = torch.as_tensor(envs.catalog.vectors)
    assert (now[9] - onboarder.guesses[9]).norm() > 0.1 * onboarder.guesses[9].norm()
    w, offset = onboarder.clicks.equation(profile, history, now)
    expected = ItemBeliefs(onboarder.guesses, onboarder.covariance)
    expected.observe(torch.tensor([5, 5]), w, offset, clicks[:, 0])
    onboarder.observe(profile, history, torch.tensor([[5, 1, 2, 3]] * 2), clicks)
    for ours, theirs in zip(*(one.posterior(torch.tensor([5])) for one in (onboarder.beliefs, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_items_move_every_so_many_steps(tiny_bundle: Bundle) -> None:
    envs, _ = with_two_on_sale(tiny_bundle, explore=0.0, move_every=4)
    before, moved = envs.catalog.vectors.copy(), []
    for _ in range(9):
        act(envs, [5, 1, 2, 3], 1)
        moved.append(bool((envs.catalog.vectors != before).any()))
        before = envs.catalog.vectors.copy()
    assert moved == [False, False, False, True] * 2 + [False]


def test_the_click_model_knows_nothing_of_clicks_on_new_items(tiny_bundle: Bundle) -> None:
    log = tiny_bundle.users["train"]
    others = replace(log, clicks=np.where(np.isin(log.slate, [5, 9]), 1 - log.clicks, log.clicks))
    elsewhere = replace(tiny_bundle, users={**tiny_bundle.users, "train": others})
    (_, here), (_, there) = (with_two_on_sale(bundle) for bundle in (tiny_bundle, elsewhere))
    assert torch.equal(here.clicks.weight, there.clicks.weight)


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


def test_numpy_integers_are_whole_numbers() -> None:
    settings = Onboarding(move_every=np.int64(2), enough=np.int16(0), seed=np.uint32(3))
    assert settings == Onboarding(move_every=2, enough=0, seed=3)


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
