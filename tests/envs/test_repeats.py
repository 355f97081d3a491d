"""Repeats in a slate: each slot in turn takes its own item, or the first of its leaf that no earlier slot has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hsrl_gym.envs import actions
from hsrl_gym.envs.actions import without_repeats


def repeats_removed(choices: torch.Tensor) -> list[list[int]]:
    """Return the slates of choices (B, K, W), each slot of which prefers its first one."""
    n_rows, slate_size = choices.shape[:2]
    leaf = torch.arange(n_rows * slate_size).view(n_rows, slate_size)
    rest = choices[:, :, 1:].flatten(0, 1).numpy()
    return without_repeats(choices[:, :, 0], leaf, lambda leaves: rest[leaves]).tolist()


def test_without_repeats_by_hand() -> None:
    choices = torch.tensor(
        [
            [[1, 2, 3], [1, 2, 3], [1, 2, 3]],  # one list three times
            [[1, 2, 3], [4, 5, 6], [7, 8, 9]],  # nothing to do
            [[1, 2, 3], [1, 4, 5], [4, 6, 7]],  # giving way takes what a later slot wanted
        ]
    )
    before = choices.clone()
    assert repeats_removed(choices) == [[1, 2, 3], [1, 4, 7], [1, 4, 6]]
    assert torch.equal(choices, before)


def test_only_slates_with_repeats_ask_for_neighbours() -> None:
    asked = []

    def leaf_items(leaves: NDArray[np.int64]) -> NDArray[np.int64]:
        asked.append(leaves.tolist())
        return np.array([[7, 8, 9]])[leaves]

    slates = torch.tensor([[1, 2], [7, 7], [3, 4]])
    assert without_repeats(slates, torch.zeros_like(slates), leaf_items).tolist() == [[1, 2], [7, 8], [3, 4]]
    assert asked == [[0, 0]]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), slate_size=st.integers(1, 4), spare=st.integers(0, 2), n_rows=st.integers(1, 3))
def test_without_repeats_is_greedy(data: st.DataObject, slate_size: int, spare: int, n_rows: int) -> None:
    ranking = st.permutations(range(slate_size + spare + 2)).map(lambda order: order[: slate_size + spare])
    slots = st.lists(ranking, min_size=slate_size, max_size=slate_size)
    choices = data.draw(st.lists(slots, min_size=n_rows, max_size=n_rows))
    expected = []
    for row in choices:
        slate: list[int] = []
        for options in row:
            slate.append(next(item for item in options if item not in slate))
        expected.append(slate)
    assert repeats_removed(torch.tensor(choices)) == expected


@pytest.mark.parametrize("n_rows", [1, 2, 1 << 20])
def test_without_repeats_some_rows_at_a_time(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "_ROWS_AT_ONCE", n_rows)
    options = np.array([[1, 2, 3], [3, 1, 2]])
    leaf = torch.tensor([[0, 0, 0], [1, 1, 0], [0, 1, 0]] * 7)
    slates = without_repeats(torch.as_tensor(options[leaf, 0]), leaf, lambda leaves: options[leaves])
    assert slates.tolist() == [[1, 2, 3], [3, 1, 2], [1, 3, 2]] * 7
