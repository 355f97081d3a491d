"""The log of slates: what it refuses, and its cuts in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_gym.data.log import InteractionLog, LoggedSlates, right_align, sort_by_time
from hsrl_gym.errors import HsrlError


def make_log(n_rows: int = 5, **changes: Any) -> InteractionLog:
    columns: dict[str, Any] = {
        "name": "toy",
        "source": "toy rows",
        "time": np.arange(n_rows, dtype=np.int64) * 10,
        "user": np.arange(n_rows, dtype=np.int64),
        "profile": np.ones((n_rows, 2), np.float32),
        "history": np.tile(np.array([0, 1, 3], np.int32), (n_rows, 1)),
        "slate": np.tile(np.array([1, 2], np.int32), (n_rows, 1)),
        "clicks": np.tile(np.array([0, 1], np.uint8), (n_rows, 1)),
        "item_features": np.vstack([np.zeros((1, 4)), np.ones((3, 4))]).astype(np.float32),
        "item_labels": ("", "a", "b", "c"),
    }
    return InteractionLog(**{**columns, **changes})


def test_sizes() -> None:
    log = make_log()
    assert (len(log), log.n_items, log.slate_size, log.n_categorical) == (5, 3, 2, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user": np.zeros(4, np.int64)}, "column 'user' has 4 rows, expected 5"),
        ({"clicks": np.zeros((5, 3), np.uint8)}, r"slates have shape \(5, 2\) but clicks \(5, 3\)"),
        ({"slate": np.array([[1, 2]] * 4 + [[1, 4]], np.int32)}, r"slate of row 4 holds item id 4, expected 1\.\.3"),
        ({"slate": np.array([[1, 0]] * 5, np.int32)}, r"slate of row 0 holds item id 0, expected 1\.\.3"),
        ({"history": np.array([[0, -1]] * 5, np.int32)}, r"history of row 0 holds item id -1, expected 0\.\.3"),
        ({"clicks": np.array([[0, 2]] * 5, np.uint8)}, r"clicks of row 0 are \[0, 2\], expected 0 or 1"),
        ({"profile": np.array([[1, np.nan]] * 5, np.float32)}, "profile of row 0 is nan in column 1"),
        ({"item_features": np.full((4, 4), np.inf, np.float32)}, "item_features of row 0 is inf in column 0"),
        ({"time": np.array([0, 1, 2, 1, 3])}, "not in time order; sort them"),
        ({"item_labels": ("", "a")}, "2 item labels for 3 items"),
    ],
)
def test_refuses_columns_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        make_log(**changes)


def test_refuses_an_empty_log() -> None:
    with pytest.raises(HsrlError, match="got 0 logged slates, expected at least 1; is the file empty"):
        make_log(0)


def test_split_by_time_keeps_every_row_once_and_in_order() -> None:
    early, late = make_log(5).split_by_time(0.8)
    assert early.time.tolist() == [0, 10, 20, 30]
    assert late.time.tolist() == [40]
    assert late.user.tolist() == [4]
    assert early.item_labels == late.item_labels == ("", "a", "b", "c")


@pytest.mark.parametrize("fraction", [0.0, 0.1, 1.0])
def test_split_refuses_an_empty_part(fraction: float) -> None:
    with pytest.raises(HsrlError, match=rf"5 rows cannot be split at {fraction}: one part would be empty"):
        make_log(5).split_by_time(fraction)


def test_times_at_both_ends_of_int64_are_in_order() -> None:
    ends = np.array([-(2**63), -1, 0, 1, 2**63 - 1])
    assert make_log(time=ends).time.tolist() == ends.tolist()
    with pytest.raises(HsrlError, match="not in time order"):
        make_log(time=ends[::-1])


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(HsrlError, match="not in time order"):
        make_log().rows(np.array([2, 1]))


def test_replace_checks_again() -> None:
    with pytest.raises(HsrlError, match="expected 0 or 1"):
        replace(make_log(), clicks=np.full((5, 2), 7, np.uint8))


def test_sort_by_time_is_stable() -> None:
    columns = sort_by_time({"time": np.array([3, 1, 3, 1, 2]), "row": np.arange(5)})
    assert columns["time"].tolist() == [1, 1, 2, 3, 3]
    assert columns["row"].tolist() == [1, 3, 4, 0, 2]


def test_right_align_keeps_the_latest_and_pads_before_them() -> None:
    table = right_align([[1, 2, 3, 4], [5], []], length=3)
    assert table.dtype == np.int32
    assert table.tolist() == [[2, 3, 4], [0, 0, 5], [0, 0, 0]]


def test_rows_of_logged_slates_as_tensors() -> None:
    slates = LoggedSlates(
        profile=np.ones((3, 2), np.float32),
        history=np.array([[0, 1], [2, 3], [4, 5]], np.int32),
        slate=np.array([[1], [2], [3]], np.int32),
        clicks=np.array([[0], [1], [0]], np.uint8),
        row=np.array([7, 9, 11]),
    )
    rows = slates.tensors().rows(torch.tensor([2, 1]))
    assert (len(slates), len(rows)) == (3, 2)
    assert (rows.history.tolist(), rows.slate.tolist(), rows.clicks.tolist()) == (
        [[4, 5], [2, 3]],
        [[3], [2]],
        [[0], [1]],
    )
    types = (rows.profile.dtype, rows.history.dtype, rows.slate.dtype, rows.clicks.dtype)
    assert types == (torch.float32, torch.int64, torch.int64, torch.float32)
    kept = slates.rows(np.array([2, 0])).row
    assert kept is not None
    assert kept.tolist() == [11, 7]


def test_rows_of_a_log_are_a_log_with_all_columns() -> None:
    log = make_log().rows(slice(2, 4))
    assert (log.time.tolist(), log.user.tolist(), len(log.clicks), log.name) == ([20, 30], [2, 3], 2, "toy")
