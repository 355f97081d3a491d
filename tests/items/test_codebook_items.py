"""Items by their semantic IDs: those that nobody has, those that come and those that go."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_codebook import by_hand, column, random_features

from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook, fit_codebook


def raw(standardized: float) -> list[float]:
    return [2 + 4 * standardized]


def test_decode_snaps_dead_tokens_to_the_nearest_live_sibling() -> None:
    codebook = Codebook(
        centroids=(column(0, 4, 6, 10), column(0, 3, 4)),
        codes=np.array([(-1, -1), (0, 0), (0, 2), (3, 1)], dtype=np.int32),
        mean=np.zeros(1, dtype=np.float32),
        scale=np.ones(1, dtype=np.float32),
        features=column(0, 0, 4, 13),
        priority=np.zeros(4, dtype=np.float32),
    )
    # 4 is nearer to 0 than to 10, 6 nearer to 10; below token 0 the dead 3 is nearer to 4 than to 0.
    tokens = [[[0, 0], [0, 1], [0, 2]], [[1, 0], [1, 1], [1, 2]], [[2, 0], [2, 1], [2, 2]], [[3, 0], [3, 1], [3, 2]]]
    assert codebook.decode(tokens).tolist() == [[1, 2, 2], [1, 2, 2], [3, 3, 3], [3, 3, 3]]


def test_decode_returns_no_retired_item() -> None:
    codebook = by_hand([(0, 0), (0, 1), (1, 0)])
    assert codebook.decode([[0, 0], [0, 1], [1, 1]]).tolist() == [1, 2, 3]
    assert codebook.deactivate(1).decode([[0, 0], [0, 1], [1, 1]]).tolist() == [2, 2, 3]
    assert codebook.deactivate([1, 2]).decode([[0, 0], [0, 1], [1, 1]]).tolist() == [3, 3, 3]


def test_new_items_walk_to_the_nearest_free_sid() -> None:
    codebook = by_hand([(0, 0), (1, 1)])
    grown = codebook.with_items([raw(0.2)])  # nearest (0, 0) is taken, (0, 1) beside it is free
    assert grown.codes.tolist() == [[-1, -1], [0, 0], [1, 1], [0, 1]]
    np.testing.assert_allclose(grown.features[3], [0.2], rtol=1e-6)
    grown = grown.with_items([raw(0.1)])  # nothing is free below token 0; below token 1 only 0 is
    assert grown.codes[4].tolist() == [1, 0]
    assert grown.report().n_collisions == 0
    grown = grown.with_items([raw(10.9)])  # no SID is free: the nearest one is shared
    assert grown.codes[5].tolist() == [1, 1]
    assert grown.report().n_collisions == 1
    assert codebook.codes.tolist() == [[-1, -1], [0, 0], [1, 1]]  # the old one is as it was


def test_new_items_stand_in_a_bucket_where_their_priority_puts_them() -> None:
    full = by_hand([(0, 0), (0, 1), (1, 0), (1, 1)])
    behind, ahead = full.with_items([raw(0.0)], priority=-1.0), full.with_items([raw(0.0)], priority=1.0)
    assert behind.codes[5].tolist() == ahead.codes[5].tolist() == [0, 0]
    assert (behind.decode([0, 0]), ahead.decode([0, 0])) == (1, 5)
    known = replace(full, priority=np.full(5, 0.5, dtype=np.float32))
    assert known.with_items([raw(0.0)]).decode([0, 0]) == 1  # nothing is known of it: a priority of 0


def test_a_forgotten_item_has_no_priority() -> None:
    full = replace(by_hand([(0, 0), (0, 1)]), priority=np.array([0, 3, 5], dtype=np.float32))
    forgotten = full.forget([2])
    assert forgotten.priority.tolist() == [0, 3, 0]
    assert forgotten.live_items.tolist() == [1]
    assert full.priority.tolist() == [0, 3, 5]


def test_several_new_items_get_ids_in_order() -> None:
    grown = by_hand([(0, 0)]).with_items([raw(0.9), raw(10.0), raw(9.9)])
    assert grown.codes[2:].tolist() == [[0, 1], [1, 0], [1, 1]]
    assert grown.live_items.tolist() == [1, 2, 3, 4]
    assert len(grown.features) == len(grown.priority) == 5


def test_a_retired_item_frees_its_sid() -> None:
    codebook = by_hand([(0, 0), (0, 1), (1, 1)])
    smaller = codebook.deactivate([2])
    assert smaller.codes.tolist() == [[-1, -1], [0, 0], [-1, -1], [1, 1]]
    assert smaller.live_items.tolist() == [1, 3]
    assert smaller.with_items([raw(1.0)]).codes[4].tolist() == [0, 1]
    assert codebook.live_items.tolist() == [1, 2, 3]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 50))
def test_items_come_and_go(data: st.DataObject, seed: int) -> None:
    codebook = fit_codebook(random_features(12, 3, seed), 2, (4, 5), n_restarts=1)
    generator = np.random.default_rng(seed)
    for _ in range(4):
        before = codebook.codes.copy()
        if data.draw(st.booleans(), label="add"):
            n_new = data.draw(st.integers(1, 6), label="new items")
            n_free = 20 - len(np.unique(codebook.codes[codebook.live_items], axis=0))
            codebook = codebook.with_items(generator.normal(size=(n_new, 3)))
            assert codebook.codes[: len(before)].tolist() == before.tolist()
            new = {tuple(sid) for sid in codebook.codes[len(before) :].tolist()}
            assert len(new - {tuple(sid) for sid in before.tolist()}) >= min(n_new, n_free)
        elif len(codebook.live_items) > 1:
            live = codebook.live_items.tolist()
            gone = data.draw(st.lists(st.sampled_from(live), max_size=len(live) - 1), label="retired")
            codebook = codebook.deactivate(np.array(gone, dtype=int))
            stay = np.setdiff1d(np.arange(len(before)), gone)
            assert codebook.codes[stay].tolist() == before[stay].tolist()
            assert (codebook.codes[gone] == -1).all()
        # The first of its bucket, whoever it is, decodes to itself.
        sids = codebook.encode(codebook.live_items)
        assert codebook.encode(codebook.decode(sids)).tolist() == sids.tolist()


def test_a_new_item_gets_the_vector_that_its_features_foretell() -> None:
    features = random_features(200, width=3)
    vectors = features @ np.array([[2.0, 0.0], [0.0, -1.0], [0.0, 0.0]], dtype=np.float32)
    codebook = fit_codebook(features, 3, 16, vectors=vectors)
    grown = codebook.with_items([[1.0, 1.0, 5.0]])
    np.testing.assert_allclose(grown.vectors[-1], [2.0, -1.0], atol=0.25)  # features were standardized on the way
    assert grown.features.shape == (202, 3)
    nearest = np.linalg.norm(codebook.centroids[0] - grown.vectors[-1], axis=1).argmin()
    assert grown.codes[-1, 0] == nearest


@pytest.mark.parametrize("items", [0, -1, 4, [1, 9], 2])
def test_encode_refuses_ids_that_no_live_item_has(items: Any) -> None:
    codebook = by_hand([(0, 0), (0, 1), (1, 1)]).deactivate(2)
    with pytest.raises(HsrlError, match=r"got item ids .*, expected live ones out of 1\.\.3"):
        codebook.encode(items)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([0, 2], r"got token 2, expected 0\.\.V_l - 1 with V = \(2, 2\)"),
        ([[1, 1], [-1, 0]], "got token -1, expected 0"),
        ([0, 0, 0], "got 3 tokens for a SID, expected 2"),
    ],
)
def test_decode_refuses_tokens_out_of_range(tokens: list[Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        by_hand([(0, 0)]).decode(tokens)


@pytest.mark.parametrize("features", [[[1.0, 2.0]], [[np.nan]], [[np.inf]]])
def test_with_items_refuses_features_that_do_not_fit(features: list[list[float]]) -> None:
    with pytest.raises(HsrlError, match=r"expected \(M, 1\), all finite"):
        by_hand([(0, 0)]).with_items(features)


def test_without_items_refuses_unknown_ids_and_an_empty_catalog() -> None:
    codebook = by_hand([(0, 0), (0, 1)])
    with pytest.raises(HsrlError, match="expected live ones out of 1"):
        codebook.deactivate([3])
    with pytest.raises(HsrlError, match="got every live item to deactivate, expected at least one to stay"):
        codebook.deactivate([1, 2])


def test_activated_items_take_the_nearest_free_sid() -> None:
    """Item 3 would like the SID of item 1 best, which stays where it is."""
    codebook = by_hand([(0, 0), (0, 1), (1, 1)], features=[0.0, 11.0, 0.4]).deactivate([2, 3])
    again = codebook.activate([3, 2])
    assert sorted(again.live_items.tolist()) == [1, 2, 3]
    assert len(np.unique(again.codes[1:], axis=0)) == 3
    np.testing.assert_array_equal(again.codes[1:], [(0, 0), (1, 1), (0, 1)])
    np.testing.assert_array_equal(codebook.activate(2).codes[2], codebook.with_items([raw(11.0)]).codes[-1])
    for items in ([1], [9], [0]):
        with pytest.raises(HsrlError, match="expected inactive items of the catalog"):
            codebook.activate(items)


def test_items_activated_together_leave_each_other_room() -> None:
    """Both would like the SID of item 1, which is taken; the second finds that of the first taken as well."""
    codebook = by_hand([(0, 0), (0, 1), (1, 1)], features=[0.0, 0.4, 0.4]).deactivate([2, 3])
    together, in_turn = codebook.activate([2, 3]), codebook.activate(2).activate(3)
    np.testing.assert_array_equal(together.codes[1:], [(0, 0), (0, 1), (1, 0)])
    np.testing.assert_array_equal(together.codes, in_turn.codes)
    assert codebook.live_items.tolist() == [1]


def test_what_follows_from_the_fields_is_not_pickled() -> None:
    codebook = by_hand([(0, 0), (1, 1)])
    before = pickle.dumps(codebook)
    codebook.decode([0, 0])
    assert len(codebook.item_inputs) == 3
    assert pickle.dumps(codebook) == before
    copy = pickle.loads(before)
    assert copy.decode([[0, 0], [1, 1]]).tolist() == [1, 2]
    np.testing.assert_array_equal(copy.item_inputs, codebook.item_inputs)


def test_another_number_of_levels_is_another_space() -> None:
    """That of codebooks with as many items."""
    features = random_features(20, 3)
    one, other = (fit_codebook(features, n_levels=n, vocabulary=4) for n in (2, 3))
    assert one.has_space_of(fit_codebook(features, n_levels=2, vocabulary=4))
    assert not one.has_space_of(other)
    assert not other.has_space_of(one)
