"""From actions to slates: every action is executable, nothing is shown twice, retired items never."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hsrl_gym.envs.actions import (
    ACTION_MODES,
    ActionMode,
    HyperAction,
    ItemSlate,
    SidSlate,
    item_vectors,
)
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.items.codebook import Codebook, fit_codebook

CPU = torch.device("cpu")
K = 4


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)[:, None]


def toy() -> Codebook:
    """Items 1, 2, 3 share (0, 0), 4 is at (0, 1), 5 and 6 share (2, 0), 7 is retired; the last of a pair comes first.

    First tokens at 0, 1, 10, so that the dead token 1 counts as 0; second tokens at 0 and 0.25.
    """
    return Codebook(
        centroids=(column(0, 1, 10), column(0, 0.25)),
        codes=np.array([(-1, -1), (0, 0), (0, 0), (0, 0), (0, 1), (2, 0), (2, 0), (-1, -1)], dtype=np.int32),
        mean=np.zeros(1, dtype=np.float32),
        scale=np.ones(1, dtype=np.float32),
        features=column(0, 0, 0, 0, 0.25, 10, 10, 5),
        priority=np.array([0, 1, 2, 3, 0, 0, 1, 9], dtype=np.float32),
    )


def make_random(n_items: int, sizes: tuple[int, ...], retired: int, seed: int) -> Codebook:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n_items + 1, 3))
    codebook = fit_codebook(features, len(sizes), sizes, n_restarts=1, priority=generator.normal(size=n_items + 1))
    return codebook.deactivate(generator.permutation(n_items)[:retired] + 1)


CATALOGS = {
    "roomy": make_random(40, (8, 8), 0, 0),
    "retired": make_random(30, (4, 4, 4), 20, 1),
    "crowded": make_random(30, (2, 3), 4, 2),
    "just enough": make_random(9, (3, 3), 5, 3),
    "one SID": make_random(6, (1,), 0, 4),
}


def decode(mode: ActionMode, *actions: Any) -> list[list[int]]:
    mode.check(np.array(actions))
    return mode.decode(torch.as_tensor(np.array(actions))).tolist()


def sids(*tokens: tuple[int, int]) -> list[int]:
    return [token for sid in tokens for token in sid]


def walk(codebook: Codebook, tokens: list[int]) -> tuple[int, ...]:
    """Return the live SID that tokens lead to, by a search at each level."""
    live = [tuple(sid) for sid in codebook.codes[codebook.live_items].tolist()]
    for level, token in enumerate(tokens):
        options = sorted({sid[level] for sid in live})
        gaps = [
            np.linalg.norm(codebook.centroids[level][other] - codebook.centroids[level][token]) for other in options
        ]
        nearest = token if token in options else options[int(np.argmin(gaps))]
        live = [sid for sid in live if sid[level] == nearest]
    return live[0]


# --- semantic IDs


def test_the_next_use_of_a_sid_takes_the_next_item_then_the_neighbours() -> None:
    mode = SidSlate(Catalog(toy(), K), K, CPU)
    same = decode(mode, sids((0, 0), (0, 0), (0, 0), (0, 0)), sids((2, 0), (2, 0), (2, 0), (2, 0)))
    # Of (0, 0): 3, 2, 1 by priority, then 4 beside them. Of (2, 0): 6, 5, then the nearest by centroids, 4 and 3.
    assert same == [[3, 2, 1, 4], [6, 5, 4, 3]]
    mixed = decode(mode, sids((0, 0), (2, 0), (0, 0), (2, 0)), sids((0, 1), (0, 0), (0, 1), (0, 0)))
    # The second use of (0, 1) takes what is next to it: 3 is shown, so 2; the second use of (0, 0) then takes 1.
    assert mixed == [[3, 6, 2, 5], [4, 3, 2, 1]]


def test_dead_tokens_count_as_their_nearest_live_sibling() -> None:
    mode = SidSlate(Catalog(toy(), 2), 2, CPU)
    assert decode(mode, sids((1, 0), (1, 1)), sids((2, 1), (0, 1))) == [[3, 4], [6, 4]]


def test_sid_space() -> None:
    mode = SidSlate(Catalog(toy(), 3), 3, CPU)
    assert isinstance(mode.space, spaces.MultiDiscrete)
    assert mode.space.nvec.tolist() == [3, 2, 3, 2, 3, 2]
    assert mode.space.catalog is mode.catalog
    assert mode.space.slate_size == 3


def test_sid_masks_by_hand() -> None:
    assert SidSlate(Catalog(toy(), 2), 2, CPU).masks().tolist() == [True, False, True, True, True] * 2


@pytest.mark.parametrize("name", CATALOGS)
def test_sid_masks_tell_which_tokens_lead_to_a_live_item(name: str) -> None:
    codebook = CATALOGS[name]
    mode = SidSlate(Catalog(codebook, K), K, CPU)
    masks = mode.masks()
    assert masks.dtype == np.bool_
    assert len(masks) == mode.space.nvec.sum()
    live = codebook.codes[codebook.live_items]
    of_one = [token in live[:, level] for level, size in enumerate(codebook.vocabulary) for token in range(size)]
    assert masks.tolist() == of_one * K


@pytest.mark.parametrize("name", CATALOGS)
def test_every_sid_can_be_shown(name: str) -> None:
    """Each token sequence there is leads to the first item of the SID that a search finds."""
    codebook = CATALOGS[name]
    mode = SidSlate(Catalog(codebook, 1), 1, CPU)
    sequences = np.stack(np.meshgrid(*map(np.arange, codebook.vocabulary), indexing="ij"), -1).reshape(
        -1, mode.space.shape[0]
    )
    live = codebook.live_items
    for tokens, slate in zip(sequences.tolist(), decode(mode, *sequences), strict=True):
        sid = walk(codebook, tokens)
        bucket = [item for item in live.tolist() if tuple(codebook.codes[item].tolist()) == sid]
        assert slate == [max(bucket, key=lambda item: codebook.priority[item])]


# --- items


def test_item_mode_by_hand() -> None:
    mode = ItemSlate(Catalog(toy(), K), K, CPU)
    assert mode.space.nvec.tolist() == [7] * K
    # Action a shows item a + 1. A second 1 gives way to its bucket (3, 2) and then to 4 beside it.
    assert decode(mode, [0, 1, 2, 3], [5, 4, 0, 3], [0, 0, 0, 0]) == [[1, 2, 3, 4], [6, 5, 1, 4], [1, 3, 2, 4]]
    # The retired item 7 counts as the first live one.
    assert decode(mode, [6, 0, 4, 5], [6, 6, 6, 2]) == [[3, 1, 5, 6], [3, 2, 1, 4]]
    assert mode.masks().tolist() == [True, True, True, True, True, True, False] * K


# --- hyper-actions


def hyper_toy() -> Codebook:
    """Four items on two axes, the first the longer: after centring their directions are +x, -x, +y, -y."""
    features = np.array([[0, 0], [5, 1], [1, 1], [3, 2], [3, 0]], dtype=np.float32)
    codebook = fit_codebook(features, 1, 4)
    # Not standardized, so that the lengths along the axes stay 2 and 1.
    return Codebook(codebook.centroids, codebook.codes, codebook.mean, codebook.scale, features, codebook.priority)


def test_item_vectors_are_unit_directions_on_the_main_axes() -> None:
    vectors = item_vectors(hyper_toy())
    x, y = vectors[1], vectors[3]
    np.testing.assert_allclose(np.abs(x), [1, 0], atol=1e-6)  # the sign of an axis is the algebra's choice
    np.testing.assert_allclose(np.abs(y), [0, 1], atol=1e-6)
    np.testing.assert_allclose(vectors[[2, 4]], [-x, -y], atol=1e-6)
    assert item_vectors(hyper_toy(), width=1).shape == (5, 1)


def test_hyper_actions_show_the_top_k() -> None:
    codebook = hyper_toy()
    mode = HyperAction(Catalog(codebook, 4), 4, CPU)
    x, y = item_vectors(codebook)[[1, 3]]
    assert isinstance(mode.space, spaces.Box)
    assert mode.space.shape == (2,)
    # Inner products with +x, -x, +y, -y: 0.9, -0.9, 0.5, -0.5; then -0.1, 0.1, -0.7, 0.7.
    assert decode(mode, 0.9 * x + 0.5 * y, -0.1 * x - 0.7 * y) == [[1, 3, 4, 2], [4, 2, 1, 3]]
    assert decode(HyperAction(Catalog(codebook, 2), 2, CPU), 0.9 * x + 0.5 * y) == [[1, 3]]


def test_hyper_actions_pass_over_retired_items() -> None:
    codebook = hyper_toy().deactivate(1)
    mode = HyperAction(Catalog(codebook, 3), 3, CPU)
    vectors = item_vectors(codebook)
    for item in (2, 3, 4):
        slate = decode(mode, vectors[item])[0]
        assert slate[0] == item
        assert sorted(slate) == [2, 3, 4]


def test_hyper_actions_have_no_masks() -> None:
    with pytest.raises(HsrlError, match="expected `sid` or `item`"):
        HyperAction(Catalog(hyper_toy(), 2), 2, CPU).masks()


# --- all modes


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(CATALOGS)), mode_name=st.sampled_from(sorted(ACTION_MODES)))
def test_any_action_shows_different_live_items(data: st.DataObject, name: str, mode_name: str) -> None:
    codebook = CATALOGS[name]
    mode = ACTION_MODES[mode_name](Catalog(codebook, K), K, CPU)
    n_rows = data.draw(st.integers(1, 3))
    if isinstance(mode, HyperAction):
        value: st.SearchStrategy[Any] = st.floats(-1, 1, width=32)
        row = st.lists(value, min_size=mode.space.shape[0], max_size=mode.space.shape[0])
    else:
        row = st.tuples(*(st.integers(0, int(size) - 1) for size in mode.space.nvec)).map(list)
    actions = data.draw(st.lists(row, min_size=n_rows, max_size=n_rows))
    live = set(codebook.live_items.tolist())
    slates = decode(mode, *actions)
    assert len(slates) == n_rows
    for slate in slates:
        assert len(set(slate)) == K
        assert set(slate) <= live


@pytest.mark.parametrize("mode_name", ACTION_MODES)
def test_a_slate_can_be_the_whole_catalog(mode_name: str) -> None:
    codebook = CATALOGS["just enough"]
    mode = ACTION_MODES[mode_name](Catalog(codebook, 4), 4, CPU)
    mode.space.seed(0)
    for _ in range(20):
        assert sorted(decode(mode, mode.space.sample())[0]) == codebook.live_items.tolist()


@pytest.mark.parametrize("mode_name", ["sid", "item"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64])
def test_any_integer_type_will_do(mode_name: str, dtype: type) -> None:
    mode = ACTION_MODES[mode_name](Catalog(CATALOGS["roomy"], K), K, CPU)
    mode.space.seed(1)
    actions = np.array([mode.space.sample() for _ in range(5)])
    assert decode(mode, *actions.astype(dtype)) == decode(mode, *actions)


@pytest.mark.parametrize(
    ("mode_name", "action", "message"),
    [
        ("sid", [[0, 0, 0, 0], [0, 0, 3, 0]], "got 3 at position 2 of action 1, expected an integer in 0..2; is it an"),
        ("sid", [[0, -1, 0, 0]], r"got -1 at position 1 of action 0, expected an integer in 0\.\.1"),
        ("sid", [[0.0, 0.0, 0.0, 0.0]], "got actions of type float64, expected integers"),
        ("sid", [[np.nan, 0.0, 0.0, 0.0]], "expected integers"),
        ("sid", [[0, 0, 0]], r"got actions of shape \(1, 3\) and type int64, expected \(B, 4\)"),
        ("sid", [0, 0, 0, 0], r"got actions of shape \(4,\) and type int64, expected \(B, 4\)"),
        ("sid", [["a", "b", "c", "d"]], "type <U1"),
        ("item", [[6, 7]], r"got 7 at position 1 of action 0, expected an integer in 0\.\.6"),
        ("item", [[1.0, 1.0]], "expected integers"),
        ("hyper", [[1.5]], r"value outside \[-1, 1\] or not a number; clip it"),
        ("hyper", [[np.nan]], "or not a number"),
    ],
)
def test_actions_outside_the_space_are_refused(mode_name: str, action: Any, message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        ACTION_MODES[mode_name](Catalog(toy(), 2), 2, CPU).check(np.array(action))


@pytest.mark.parametrize("mode_name", ACTION_MODES)
def test_a_slate_larger_than_the_catalog_is_refused(mode_name: str) -> None:
    with pytest.raises(HsrlError, match="got slate_size 7, expected at most the 6 live items"):
        ACTION_MODES[mode_name](Catalog(toy(), 7), 7, CPU)


# --- a catalog that changes


@pytest.mark.parametrize("name", CATALOGS)
@pytest.mark.parametrize("mode_name", ["sid", "item"])
def test_after_a_change_actions_mean_what_they_mean_in_the_catalog_as_it_is(mode_name: str, name: str) -> None:
    """Whether the trie changed in place, grew, or was pickled in between."""
    generator = np.random.default_rng(5)
    codebook = CATALOGS[name]
    mode = ACTION_MODES[mode_name](Catalog(codebook, 2), 2, CPU)
    for _ in range(4):
        retired = generator.choice(codebook.live_items, len(codebook.live_items) // 2, False)
        idle = np.flatnonzero(codebook.codes[1:, 0] < 0) + 1
        back = generator.choice(idle, (len(idle) + 1) // 2, False)
        mode.catalog.change(retire=retired, arrive=back)
        codebook = codebook.deactivate(retired)
        codebook = codebook.activate(back) if len(back) else codebook
        fresh = ACTION_MODES[mode_name](Catalog(codebook, 2), 2, CPU)
        fresh.space.seed(3)
        some = np.array([fresh.space.sample() for _ in range(40)])
        assert decode(mode, *some) == decode(fresh, *some)
        assert mode.masks().tolist() == fresh.masks().tolist()
        mode = pickle.loads(pickle.dumps(mode))
