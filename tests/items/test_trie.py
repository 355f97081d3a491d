"""The trie of live SIDs, against tables written by hand and a search by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hsrl_gym.items.trie import SidTrie

DEAD = (-1, -1)


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)[:, None]


def make_trie(
    codes: Sequence[tuple[int, ...]],
    centroids: list[NDArray[np.float32]],
    priority: list[float] | None = None,
    width: int = 4,
) -> SidTrie:
    """Return the trie of items 1, 2, .. with these codes."""
    table = np.array([(-1,) * len(centroids), *codes], dtype=np.int32)
    order = np.array([0.0, *(priority or [0.0] * len(codes))], dtype=np.float32)
    return SidTrie(table, centroids, order, width)


def by_hand(width: int = 4) -> SidTrie:
    """Items 1 and 2 share (0, 0), and 2 comes first; item 3 is beside them, item 4 far away, item 5 is retired."""
    codes = [(0, 0), (0, 0), (0, 1), (2, 0), DEAD]
    return make_trie(codes, [column(0.0, 1.0, 10.0), column(0.0, 0.25)], [1.0, 2.0, 0.0, 0.0, 9.0], width)


def test_tables_by_hand() -> None:
    trie = by_hand()
    assert [table.tolist() for table in trie.is_live] == [[[True, False, True]], [[True, True], [True, False]]]
    # Token 1 is dead: its centroid 1 is nearer to 0 than to 10. Below token 2 only token 0 is live.
    assert [table.tolist() for table in trie.next_node] == [[[0, 0, 1]], [[0, 1], [2, 2]]]
    assert trie.leaf_of_item.tolist() == [-1, 0, 0, 1, 2, -1]


def rows(trie: SidTrie) -> list[list[int]]:
    """Return the rows of all leaves that have items; in a trie without changes, leaves are numbered by SID."""
    return trie.leaf_items(np.unique(trie.leaf_of_item[trie.leaf_of_item >= 0])).tolist()


def test_a_leaf_names_its_bucket_then_its_neighbours() -> None:
    # From leaf (2, 0) at 10, the others share no prefix: 3 at 0.25 is nearer than 2 and 1 at 0.
    assert rows(by_hand()) == [[2, 1, 3, 4], [3, 2, 1, 4], [4, 3, 2, 1]]


def test_a_narrow_leaf_keeps_the_first_ones() -> None:
    assert rows(by_hand(width=1)) == [[2], [3], [4]]
    assert rows(by_hand(width=2)) == [[2, 1], [3, 2], [4, 3]]


def test_a_leaf_names_no_more_items_than_live() -> None:
    assert by_hand(width=99).leaf_items(np.arange(3)).shape == (3, 4)


def test_a_common_prefix_counts_more_than_distance() -> None:
    # Item 3 is at distance 1 from item 1, item 2 at distance 5, but 2 shares its first token.
    trie = make_trie([(0, 0), (0, 1), (1, 0)], [column(0.0, 1.0), column(0.0, 5.0)])
    assert trie.leaf_items(trie.leaf_of_item[[1]]).tolist() == [[1, 2, 3]]


def test_a_live_token_is_itself_though_its_centroid_was_copied() -> None:
    trie = make_trie([(0,), (1,), (2,)], [column(3.0, 3.0, 3.0)])
    assert trie.next_node[0].tolist() == [[0, 1, 2]]


def test_a_dead_copy_goes_to_its_live_twin() -> None:
    trie = make_trie([(0,), (2,)], [column(1.0, 5.0, 4.0, 5.0)])
    assert trie.next_node[0].tolist() == [[0, 1, 1, 1]]


def test_leaves_of_any_shape() -> None:
    trie = by_hand()
    tokens = np.array([[[0, 0], [0, 1]], [[1, 1], [2, 1]], [[1, 0], [2, 0]]])
    assert trie.leaves(tokens).tolist() == [[0, 1], [1, 2], [0, 2]]
    assert trie.leaves(np.array([2, 1])) == 2


def test_big_buckets_keep_priority_order_whatever_the_rounding() -> None:
    """Distances within a bucket are zero; computed row by row they were not, and shuffled it."""
    generator = np.random.default_rng(0)
    for n_items, width in [(151, 29), (400, 30), (699, 40), (350, 64)]:
        centroids = [generator.normal(size=(4, width)).astype(np.float32) * 3 for _ in range(2)]
        codes = [tuple(row) for row in generator.integers(0, 4, size=(n_items, 2)).tolist()]
        priority = generator.normal(size=n_items).tolist()
        trie = make_trie(codes, centroids, priority, width=n_items)
        for item in range(1, n_items + 1):
            bucket = [other for other in range(1, n_items + 1) if codes[other - 1] == codes[item - 1]]
            bucket.sort(key=lambda other: -priority[other - 1])
            assert trie.leaf_items(trie.leaf_of_item[[item]])[0, : len(bucket)].tolist() == bucket


@st.composite
def catalogs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[list[float]], list[float], int]:
    sizes = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    codes = draw(st.lists(st.tuples(*(st.integers(0, size - 1) for size in sizes)), min_size=1, max_size=12))
    # Centroids on a grid of quarters, all different: no two distances differ by rounding alone.
    centroids = [
        [value / 4 for value in draw(st.lists(st.integers(-40, 40), min_size=size, max_size=size, unique=True))]
        for size in sizes
    ]
    priority = [float(draw(st.integers(0, 2))) for _ in codes]
    return codes, centroids, priority, draw(st.integers(1, 14))


@settings(max_examples=80, deadline=None)
@given(catalogs())
def test_against_brute_force(catalog: tuple[list[tuple[int, int]], list[list[float]], list[float], int]) -> None:
    codes, centroids, priority, width = catalog
    trie = make_trie(codes, [column(*level) for level in centroids], priority, width)
    position = {sid: centroids[0][sid[0]] + centroids[1][sid[1]] for sid in codes}
    leaf_of_sid = {codes[item - 1]: int(trie.leaf_of_item[item]) for item in range(1, len(codes) + 1)}
    assert sorted(leaf_of_sid.values()) == list(range(len(trie.first_item)))  # a leaf each

    for tokens in product(range(len(centroids[0])), range(len(centroids[1]))):
        reached = trie.leaves(np.array(tokens))
        sid = next(sid for sid, leaf in leaf_of_sid.items() if leaf == reached)
        firsts = {first for first, _ in codes}
        assert _is_nearest(sid[0], tokens[0], firsts, centroids[0])
        assert _is_nearest(sid[1], tokens[1], {second for first, second in codes if first == sid[0]}, centroids[1])

    for sid, leaf in leaf_of_sid.items():
        row = trie.leaf_items(np.array([leaf]))[0].tolist()
        assert len(row) == len(set(row)) == min(width, len(codes))

        def place(item: int, sid: tuple[int, int] = sid) -> tuple[float, float]:
            other = codes[item - 1]
            apart = 0 if other == sid else 1 if other[0] == sid[0] else 2
            return apart, abs(position[other] - position[sid])

        places = [place(item) for item in row]
        assert places == sorted(place(item) for item in range(1, len(codes) + 1))[: len(row)]
        for before, after in pairwise(row):
            if codes[before - 1] == codes[after - 1]:
                assert (-priority[before - 1], before) < (-priority[after - 1], after)


def _is_nearest(chosen: int, token: int, live: set[int], level: list[float]) -> bool:
    if token in live:
        return chosen == token
    gap = abs(level[chosen] - level[token])
    return chosen in live and gap == min(abs(level[other] - level[token]) for other in live)
