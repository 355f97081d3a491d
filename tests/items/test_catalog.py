"""The catalog: what is on sale now, what has changed, and that nothing is half changed."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog


def test_a_change_retires_and_lets_arrive(tiny_bundle: Bundle) -> None:
    book = tiny_bundle.codebook.forget([1, 2, 3])
    catalog = Catalog(book, slate_size=4)
    catalog.change(retire=[10, 11], arrive=[2])
    assert catalog.version == 1
    assert set(range(1, 61)) - set(catalog.live_items) == {1, 3, 10, 11}
    assert catalog.changed_since(0).tolist() == [2, 10, 11]
    assert catalog.changed_since(1).tolist() == []
    assert (catalog.codes[10] == -1).all()
    assert catalog.codes[2].tolist() not in np.delete(catalog.codes, 2, axis=0).tolist()
    assert catalog.codebook is book
    assert (book.codes[2] == -1).all()  # the start stays what it was


def test_the_trie_is_that_of_the_present_codes(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook.forget([1, 2, 3]), slate_size=4)
    catalog.change(retire=[10, 11], arrive=[2])
    live = catalog.live_items
    leaves = catalog.trie.leaves(catalog.codes[live])
    assert catalog.trie.leaf_of_item[live].tolist() == leaves.tolist()
    assert catalog.trie.first_item[leaves].tolist() == live.tolist()
    assert set(catalog.trie.leaf_items(leaves).ravel()) == set(live)


def test_retired_sids_are_free_after_the_cooldown_only(tiny_bundle: Bundle) -> None:
    for cooldown in (0, 2):
        catalog = Catalog(tiny_bundle.codebook.forget([5]), 4, cooldown)
        vector = catalog.vectors[10]
        sid = catalog.codes[10].copy()
        catalog.change(retire=[10])
        catalog.move([5], vector[None])  # an item like the one that left
        catalog.change(arrive=[5])
        assert (catalog.codes[5] == sid).all() == (cooldown == 0)
        if cooldown:
            catalog.change(retire=[5])  # the last change in which the SID is taken has passed
            catalog.change(arrive=[5])
            assert (catalog.codes[5] == sid).all()


def test_knowledge_moves_an_item_to_its_sid(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook.forget([7]), 4)
    catalog.change(arrive=[7])
    catalog.change(retire=[20])
    place = catalog.codebook.codes[20]
    catalog.move([7], catalog.vectors[20][None])
    assert (catalog.codes[7] == place).all()
    assert (catalog.inputs(np.array([7]))[0, -catalog.vectors.shape[1] :] != 0).any()
    assert catalog.changed_since(2).tolist() == [7]


def test_restart_undoes_every_change(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook.forget([7, 8]), 4, cooldown=3)
    codes, vectors = catalog.codes.copy(), catalog.vectors.copy()
    catalog.change(retire=[20], arrive=[7])
    catalog.move([8], np.ones((1, vectors.shape[1])))
    catalog.restart()
    assert (catalog.codes == codes).all()
    assert (catalog.vectors == vectors).all()
    assert catalog.version == 3
    assert catalog.changed_since(2).tolist() == [7, 8, 20]
    catalog.restart()
    assert catalog.version == 3  # there was nothing to undo


def test_a_pickled_catalog_goes_on_as_it_was(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook.forget([7, 8]), 4, cooldown=1)
    catalog.change(retire=[20], arrive=[7])
    copy = pickle.loads(pickle.dumps(catalog))
    for each in (catalog, copy):
        each.change(retire=[21], arrive=[8])
    assert (copy.codes == catalog.codes).all()
    assert copy.version == catalog.version


def test_a_pickled_catalog_makes_its_trie_again(tiny_bundle: Bundle) -> None:
    """With the SIDs that are reserved, and the same neighbours, through crowded changes."""
    book = replace(
        tiny_bundle.codebook.forget(range(31, 61)), centroids=tuple(c[:4] for c in tiny_bundle.codebook.centroids)
    )
    book = replace(book, codes=np.minimum(book.codes, 3))  # 30 items and 64 SIDs, some of them shared
    catalog = Catalog(book, 4, cooldown=2)
    generator = np.random.default_rng(0)
    for _ in range(12):
        live, out = catalog.live_items, np.flatnonzero(~catalog.is_live)[1:]
        catalog.change(retire=generator.choice(live, 9, replace=False), arrive=generator.choice(out, 9, replace=False))
        catalog.move(out[:3], generator.normal(size=(3, catalog.vectors.shape[1])))
        data = pickle.dumps(catalog)
        assert len(data) < len(pickle.dumps((book, catalog.codes, catalog.vectors))) + 3_000
        copy = pickle.loads(data)
        tokens = generator.integers(4, size=(200, 3))
        rows = [each.trie.leaf_items(each.trie.leaves(tokens)) for each in (catalog, copy)]
        np.testing.assert_array_equal(*rows)
        vectors = generator.normal(size=(40, catalog.vectors.shape[1])).astype(np.float32)
        np.testing.assert_array_equal(*(each.trie.free_sids(vectors) for each in (catalog, copy)))
        assert copy.trie.n_live == 30
        np.testing.assert_array_equal(copy.vectors, catalog.vectors)
        catalog = copy


def test_vectors_that_never_moved_are_pickled_once(tiny_bundle: Bundle) -> None:
    catalog = Catalog(tiny_bundle.codebook, 4)
    copy = pickle.loads(pickle.dumps(catalog))
    np.testing.assert_array_equal(copy.vectors, catalog.vectors)
    assert copy.vectors is not copy.codebook.vectors
    before = len(pickle.dumps(catalog))
    catalog.move([3], np.ones((1, catalog.vectors.shape[1])))
    assert len(pickle.dumps(catalog)) >= before + catalog.vectors.nbytes
    assert (pickle.loads(pickle.dumps(catalog)).vectors[3] == 1.0).all()


@pytest.mark.parametrize("ids", [[1.9], np.array([2.0]), np.ones(61, dtype=bool), ["3"], [[4]], None])
def test_ids_are_whole_numbers(tiny_bundle: Bundle, ids: Any) -> None:
    catalog = Catalog(tiny_bundle.codebook.forget([1]), 4)
    for call in (
        lambda: catalog.change(retire=ids),
        lambda: catalog.change(arrive=ids),
        lambda: catalog.move(ids, np.zeros((1, catalog.vectors.shape[1]))),
    ):
        with pytest.raises(HsrlError, match="expected ids"):
            call()
    assert catalog.version == 0
    catalog.change(retire=np.uint8(7), arrive=np.array([1], dtype=np.int16))
    assert catalog.changed_since(0).tolist() == [1, 7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"retire": [1]}, "to retire, expected different live items of 1..60"),
        ({"arrive": [2]}, "to arrive, expected different inactive items of 1..60"),
        ({"retire": [2, 2]}, "expected different live"),
        ({"arrive": [61]}, "got items \\[61\\].. to arrive"),
        ({"retire": [0]}, "to retire"),
        ({"retire": list(range(2, 60))}, "leaves 1 items, expected at least the slate size, 4"),
    ],
)
def test_a_wrong_change_changes_nothing(tiny_bundle: Bundle, change: dict[str, list[int]], message: str) -> None:
    catalog = Catalog(tiny_bundle.codebook.forget([1]), 4)
    codes = catalog.codes.copy()
    with pytest.raises(HsrlError, match=message):
        catalog.change(**change)
    with pytest.raises(HsrlError, match=r"expected .* all finite"):
        catalog.move([2], np.full((1, catalog.vectors.shape[1]), np.nan))
    assert (catalog.codes == codes).all()
    assert catalog.version == 0


def test_what_is_forgotten_has_seen_no_click(tiny_bundle: Bundle) -> None:
    book = tiny_bundle.codebook
    assert book.to_vector is not None
    items = [3, 30]
    known = np.setdiff1d(book.live_items, items)
    forgotten = book.forget(items)
    assert (forgotten.codes[items] == -1).all()
    assert (forgotten.priority[items] == 0).all()
    assert (forgotten.codes[known] == book.codes[known]).all()
    # The guess does not depend on what was known of the items.
    vectors = book.vectors.copy()
    vectors[items] += 10.0
    elsewhere = replace(book, vectors=vectors).forget(items)
    np.testing.assert_array_equal(elsewhere.vectors, forgotten.vectors)
    assert (forgotten.vectors[items] != book.vectors[items]).any()
