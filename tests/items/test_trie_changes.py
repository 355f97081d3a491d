"""The trie of a catalog that changes, against one made anew of the catalog as it is, by a slow and plain function."""

from __future__ import annotations

import pickle
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from still_trie import StillTrie, free_sid, still_trie

from hsrl_gym.errors import HsrlError
from hsrl_gym.items import neighbours
from hsrl_gym.items.trie import SidTrie

NOBODY = -1


def assert_equal(trie: SidTrie, still: StillTrie) -> None:
    """Assert that two tries mean the same, whatever they call their nodes."""
    is_live = still.leaf_of_item >= 0
    np.testing.assert_array_equal(trie.leaf_of_item >= 0, is_live)
    named = {0: 0}  # the nodes of `still` by those of `trie`
    for level, (table, live) in enumerate(zip(trie.next_node, trie.is_live, strict=True)):
        ours, theirs = np.array(list(named)), np.array(list(named.values()))
        np.testing.assert_array_equal(live[ours], still.is_live[level][theirs])
        below, expected = table[ours], still.next_node[level][theirs]
        named = dict(zip(below.ravel().tolist(), expected.ravel().tolist(), strict=True))
        np.testing.assert_array_equal(np.vectorize(named.get)(below), expected)
        assert len(set(named.values())) == len(named)
    leaves = trie.leaf_of_item[is_live]
    np.testing.assert_array_equal([named[leaf] for leaf in leaves.tolist()], still.leaf_of_item[is_live])
    expected = still.leaf_items[still.leaf_of_item[is_live]]
    np.testing.assert_array_equal(trie.first_item[leaves], expected[:, 0])
    np.testing.assert_array_equal(trie.leaf_items(leaves), expected)
    assert trie.leaf_items(leaves[:0]).shape == (0, expected.shape[1])
    assert still.leaf_of_item[trie.first_item[trie.first_leaf]] == 0


def random_parts(seed: int) -> tuple[np.random.Generator, list[NDArray[np.float32]], NDArray[np.float32], int]:
    """Return a generator, centroids of 1 to 4 levels with copies among them, priorities with ties, and a width."""
    generator = np.random.default_rng(seed)
    n_levels = int(generator.integers(1, 5))
    sizes = generator.integers(1, 7, size=n_levels)
    # Multiples of 1/4: sums and squares are exact, so that distances tie where they should.
    centroids = [generator.integers(-9, 10, size=(size, 2)).astype(np.float32) / 4 for size in sizes]
    n_items = int(generator.integers(1, 60))
    priority = generator.integers(0, 3, size=n_items + 1).astype(np.float32)
    return generator, centroids, priority, int(generator.integers(1, 14))


def random_codes(generator: np.random.Generator, centroids: list[Any], n: int) -> NDArray[np.int32]:
    return np.stack([generator.integers(0, len(table), size=n) for table in centroids], axis=1).astype(np.int32)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), many=st.sampled_from([0, 12, 256]), n_pairs=st.sampled_from([1, 50, 1 << 18]))
def test_a_trie_that_changes_equals_one_made_anew(seed: int, many: int, n_pairs: int) -> None:
    """Rows are right by either way of finding neighbours, and however few are done at once."""
    with mock.patch.multiple(neighbours, _MANY=many, _PAIRS_AT_ONCE=n_pairs):
        change_at_random(seed)


def change_at_random(seed: int) -> None:
    generator, centroids, priority, width = random_parts(seed)
    codes = np.full((len(priority), len(centroids)), NOBODY, dtype=np.int32)
    first = generator.permutation(len(priority) - 1)[: generator.integers(1, len(priority))] + 1
    codes[first] = random_codes(generator, centroids, len(first))
    trie = SidTrie(codes, centroids, priority, width)
    assert_equal(trie, still_trie(codes, centroids, priority, width))
    for _ in range(5):
        live = np.flatnonzero(codes[:, 0] >= 0)
        gone = generator.permutation(live)[: generator.integers(0, len(live) + 1)]
        trie.remove(gone)
        codes[gone] = NOBODY
        idle = np.flatnonzero(codes[1:, 0] < 0) + 1
        come = generator.permutation(idle)[: generator.integers(0 if len(gone) < len(live) else 1, len(idle) + 1)]
        codes[come] = random_codes(generator, centroids, len(come))
        trie.insert(come, codes[come])
        if generator.random() < 0.7:  # else rows are two changes old when they are asked for next
            assert_equal(trie, still_trie(codes, centroids, priority, width))
        if generator.random() < 0.3:
            trie = pickle.loads(pickle.dumps(trie))
    assert_equal(trie, still_trie(codes, centroids, priority, width))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_free_sids_are_those_of_one_item_after_the_other(seed: int) -> None:
    """Reserved SIDs count as taken, until they are released."""
    generator, centroids, priority, width = random_parts(seed)
    codes = np.full((len(priority), len(centroids)), NOBODY, dtype=np.int32)
    live = generator.permutation(len(priority) - 1)[: generator.integers(0, len(priority))] + 1
    codes[live] = random_codes(generator, centroids, len(live))
    trie = SidTrie(codes, centroids, priority, width)
    gone = generator.permutation(live)[: generator.integers(0, len(live) + 1)]
    trie.remove(gone, reserve=True)
    vectors = (generator.integers(-30, 31, size=(25, 2)) / 4).astype(np.float32)
    assert trie.free_sids(vectors).tolist() == one_by_one(vectors, codes[live], centroids)
    trie.release(codes[gone])
    assert trie.free_sids(vectors).tolist() == one_by_one(vectors, codes[np.setdiff1d(live, gone)], centroids)


def one_by_one(vectors: NDArray[np.float32], taken: NDArray[np.int32], centroids: list[Any]) -> list[list[int]]:
    sids: list[list[int]] = []
    for vector in vectors:
        sids.append(free_sid(vector, taken, centroids).tolist())
        taken = np.vstack([taken, sids[-1]]).astype(np.int32)
    return sids


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)[:, None]


def small(n_items: int = 3) -> SidTrie:
    """Items 1, 2, 3, .. at (0, 0), (0, 1), (1, 0), (1, 1); at most all four."""
    codes = np.array([(-1, -1), (0, 0), (0, 1), (1, 0), (1, 1)], dtype=np.int32)
    codes[n_items + 1 :] = NOBODY
    return SidTrie(codes, [column(0, 10), column(0, 1)], np.zeros(5, dtype=np.float32), 2)


def test_a_freed_leaf_is_used_again_and_a_reserved_one_is_not() -> None:
    trie = small()
    leaf = int(trie.leaf_of_item[2])
    trie.remove(np.array([2]), reserve=True)
    assert trie.leaves(np.array([0, 1])) == trie.leaf_of_item[1]
    assert trie.free_sids(column(1.0)).tolist() == [[1, 1]]  # (0, 1) is not to be had yet
    trie.insert(np.array([4]), np.array([[1, 1]]))
    assert trie.leaf_of_item[4] == 3
    trie.release(np.array([[0, 1]]))
    assert trie.free_sids(column(10.0)).tolist() == [[0, 1]]
    trie.insert(np.array([2]), np.array([[0, 1]]))
    assert trie.leaf_of_item[2] == leaf
    assert [len(nodes) for nodes in trie.depths] == [1, 2, 4]


def test_a_sid_reserved_twice_is_released_twice() -> None:
    trie = small(4)
    trie.remove(np.array([4]), reserve=True)
    trie.insert(np.array([4]), np.array([[0, 0]]))
    trie.remove(np.array([1, 4]), reserve=True)
    trie.release(np.array([[0, 0]]))
    assert trie.free_sids(column(0.0)).tolist() == [[0, 0]]  # all is taken: the nearest is shared
    trie.release(np.array([[0, 0], [1, 1]]))
    assert trie.free_sids(column(11.0, 11.0)).tolist() == [[1, 1], [0, 0]]


def test_a_reserved_sid_sells_nothing() -> None:
    trie = small(2)
    trie.reserve(np.array([[1, 1]]))
    assert trie.n_live == 2
    assert trie.is_live[0].tolist() == [[True, False]]
    assert trie.leaves(np.array([1, 1])) == trie.leaf_of_item[2]
    assert trie.free_sids(column(11.0)).tolist() == [[1, 0]]
    trie.release(np.array([[1, 1]]))
    assert trie.n_live == 2
    assert trie.free_sids(column(11.0)).tolist() == [[1, 1]]


def test_tables_change_in_place_until_they_have_to_grow() -> None:
    trie = small()
    tables, first = trie.next_node, trie.first_item
    before = trie.capacity_version
    trie.remove(np.array([3]))
    trie.insert(np.array([4]), np.array([[0, 0]]))
    assert trie.capacity_version == before
    assert all(old is new for old, new in zip(tables, trie.next_node, strict=True))
    assert tables[0].tolist() == [[0, 0]]
    assert first.tolist() == [1, 2, 0]
    trie.insert(np.array([3]), np.array([[1, 0]]))
    trie.remove(np.array([4]))
    trie.insert(np.array([4]), np.array([[1, 1]]))
    assert trie.capacity_version > before
    assert trie.first_item[trie.leaves(np.array([[1, 0], [1, 1]]))].tolist() == [3, 4]


def test_all_items_may_go_before_others_come() -> None:
    trie = small()
    trie.remove(np.array([1, 2, 3]))
    assert trie.n_live == 0
    trie.insert(np.array([4]), np.array([[1, 1]]))
    assert trie.first_item[trie.leaves(np.array([[0, 0], [1, 0]]))].tolist() == [4, 4]


def test_rows_of_leaves_that_no_change_concerns_are_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.array([(-1, -1), (0, 0), (0, 1), (1, 0), (1, 1), (-1, -1)], dtype=np.int32)
    trie = SidTrie(codes, [column(0, 10), column(0, 1)], np.zeros(6, dtype=np.float32), 2)
    computed: list[int] = []
    plain = trie._neighbours._all_pairs
    monkeypatch.setattr(
        trie._neighbours, "_all_pairs", lambda path, depth: computed.extend(path[:, -1].tolist()) or plain(path, depth)
    )
    assert trie.leaf_items(np.arange(4)).tolist() == [[1, 2], [2, 1], [3, 4], [4, 3]]
    assert trie.leaf_items(np.arange(4)).tolist() == [[1, 2], [2, 1], [3, 4], [4, 3]]
    assert computed == [0, 1, 2, 3]
    trie.insert(np.array([5]), np.array([[1, 0]]))
    assert trie.leaf_items(np.arange(4)).tolist() == [[1, 2], [2, 1], [3, 5], [4, 3]]
    assert computed == [0, 1, 2, 3, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda trie: trie.insert(np.array([1]), np.array([[0, 0]])), "got items to insert that are live or named"),
        (lambda trie: trie.insert(np.array([4, 4]), np.array([[0, 0]] * 2)), "named twice, expected each once"),
        (lambda trie: trie.remove(np.array([4])), "got items to remove that are not live"),
        (lambda trie: trie.remove(np.array([3, 3])), "named twice, expected each once and live"),
        (lambda trie: trie.release(np.array([[0, 0]])), "got SIDs to release that are not reserved"),
        (lambda trie: trie.release(np.array([[1, 1]])), "got SIDs to release that are not reserved"),
    ],
)
def test_changes_that_make_no_sense_are_refused(change: Any, message: str) -> None:
    trie = small()
    with pytest.raises(HsrlError, match=message):
        change(trie)
    assert trie.leaf_of_item.tolist() == [-1, 0, 1, 2, -1]
