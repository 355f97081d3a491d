"""A catalog that environments share: which ones fit, where a seeded reset begins, what a step says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.items.codebook import Codebook, fit_codebook


def another_space(book: Codebook) -> Codebook:
    """Return a codebook of the same items with two levels instead of three."""
    return fit_codebook(book.features, n_levels=2, vocabulary=8)


def fewer_items(book: Codebook) -> Codebook:
    """Return a codebook with the same centroids and an item less."""
    rows = {name: getattr(book, name)[:-1] for name in ("codes", "features", "priority", "vectors")}
    return replace(book, **rows)


@pytest.mark.parametrize(("other", "n_items"), [(another_space, 60), (fewer_items, 59)])
def test_a_catalog_of_another_bundle_is_refused(tiny_bundle: Bundle, other: Any, n_items: int) -> None:
    catalog = Catalog(other(tiny_bundle.codebook), 4)
    with pytest.raises(HsrlError, match=f"got a catalog of {n_items} items that is not of the bundle"):
        SlateEnv(tiny_bundle, catalog=catalog)


def test_a_catalog_for_smaller_slates_is_refused(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook, 3)
    with pytest.raises(HsrlError, match="got a catalog for slates of 3, expected at least slate_size 4"):
        SlateEnv(tiny_bundle, catalog=catalog)
    assert SlateEnv(tiny_bundle, catalog=catalog, slate_size=2).catalog is catalog


def test_churn_in_a_catalog_that_has_its_arrivals_on_sale_is_refused(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook, 4)
    with pytest.raises(HsrlError, match="holds back 30 items, and a catalog that begins with 30 of them on sale"):
        SlateEnv(tiny_bundle, churn={"every": 1}, catalog=catalog)


def test_churn_may_share_the_catalog_of_the_same_churn(tiny_bundle: Bundle) -> None:
    """Also one in which items have arrived already: a reset returns to the start."""
    churn = {"every": 1, "held_back": 0.3}
    first = SlateEnv(tiny_bundle, churn={**churn, "retire": 0.0})
    first.reset(seed=0)
    first.step(first.action_space.sample())
    assert len(first.catalog.live_items) == 46
    second = SlateEnv(tiny_bundle, churn={**churn, "arrive": 0.2}, catalog=first.catalog)
    second.reset(seed=0)
    assert (second.catalog.codes == second.catalog.codebook.codes).all()
    assert len(second.step(second.action_space.sample())[4]["arrived"]) == 8  # a share of the 42 at the start


def test_a_seeded_reset_forgets_impressions_in_a_shared_catalog(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook.forget(range(40, 61)), 4)
    envs = SlateVectorEnv(16, tiny_bundle, action_mode="item", catalog=catalog, onboarding={"explore": 0.3})
    catalog.change(arrive=[60, 41, 50, 44, 47, 42])
    runs = []
    for _ in range(2):
        envs.reset(seed=4)
        onboarder = envs.sessions.onboarder
        assert onboarder is not None
        assert int(onboarder.impressions.sum()) == 0
        envs.action_space.seed(1)
        infos = [envs.step(envs.action_space.sample())[4] for _ in range(12)]
        assert int(onboarder.impressions.sum()) > 0
        columns = [np.stack([info[name] for info in infos]) for name in ("slate", "slate_tokens", "explored")]
        runs.append([*columns, catalog.codes.copy(), catalog.vectors.copy()])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert 60 in catalog.live_items  # what is on sale is nobody's business here


def test_tokens_are_those_of_the_catalog_when_the_item_was_shown(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle, action_mode="item", churn={"every": 1, "held_back": 0.4, "arrive": 0.3})
    env.action_space.seed(0)
    env.reset(seed=0)
    n_arrived = 0
    for _ in range(6):
        codes = env.catalog.codes.copy()
        info = env.step(env.action_space.sample())[4]
        np.testing.assert_array_equal(info["slate_tokens"], codes[info["slate"]])
        n_arrived += int((env.catalog.codebook.codes[info["slate"], 0] < 0).sum())
    assert n_arrived  # some were not on sale at the start


def test_a_step_tells_the_sids_as_they_are_and_copies_those_that_changed(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle, action_mode="item")
    env.reset(seed=0)
    before = env.sessions._codes
    items = env.catalog.live_items[:4]
    env.catalog.move(items, env.catalog.vectors[items[::-1]])
    env.step(items[:4] - 1)
    env.catalog.change(retire=env.catalog.live_items[-6:])
    info = env.step(items[:4] - 1)[4]
    np.testing.assert_array_equal(info["slate_tokens"], env.catalog.codes[items])
    assert (info["slate_tokens"] != tiny_bundle.codebook.codes[items]).any()
    assert env.sessions._codes is before  # no table was made anew
    np.testing.assert_array_equal(before, env.catalog.codes)
