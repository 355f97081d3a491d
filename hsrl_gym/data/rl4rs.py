"""RL4RS, logged slates of nine items from a game of NetEase: the preprocessed files and the raw release.

All of them are text with "@" between the fields and a header:

    timestamp@session_id@sequence_id@exposed_items@user_feedback@user_seqfeature@user_protrait@item_feature@behavior_policy_id

Evidence for the format of the raw files `rl4rs_dataset_{a,b}_{sl,rl}.csv`:

- Header and fields: certain. The authors' tutorial prints the head of `rl4rs_dataset_a_sl.csv`, and their scripts take
  exactly these nine fields. The printed lines end in CR LF; both endings are read. Lists have "," between numbers, item
  features ";" between items; a `user_seqfeature` may be longer than 50, and its last 50 are kept.
- One row is one slate of nine, in all four files: certain for a; for b it follows from the authors'
  `data_preprocess.py`, which takes up to four consecutive rows of nine as one session. That script joins the slates of
  a session into one row (its `b3` files, which are not read here); the release has one slate per row.
- `sl` was logged before and `rl` after a reinforcement-learning policy was deployed (the authors' README). It is
  unknown whether their session ids overlap; if they do, the ids of `rl` are shifted behind those of `sl`.
- HAC and later work read `rl4rs_b_train.csv` and `rl4rs_b_test.csv`: the same columns and, in the rows that we have
  seen, also one slate per row. The script that made them was not found.
- In those real rows `user_seqfeature` stays the same within a session: clicks on a session's first slate are not yet in
  the history of its second. It is read unchanged.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.data.log import InteractionLog, sort_by_time
from hsrl_gym.data.ratings import windows
from hsrl_gym.data.text import TextColumn, check_text, existing_folder, file_names, read_columns
from hsrl_gym.errors import HsrlError, shown

logger = logging.getLogger(__name__)

PROFILE_SIZE = 42
N_CATEGORICAL = 10
ITEM_VECTOR_SIZE = 40
ITEM_COLUMNS = ("item_id", "item_vec", "price", "location", "special_item")

# The first pair with an existing file is read. The paper and its predecessors use dataset b.
_PREPROCESSED = (("train.csv", "test.csv"), *((f"rl4rs_{x}_train.csv", f"rl4rs_{x}_test.csv") for x in "ba"))
_RAW = tuple((f"rl4rs_dataset_{x}_sl.csv", f"rl4rs_dataset_{x}_rl.csv") for x in "ba")
_COLUMNS = ("timestamp", "session_id", "exposed_items", "user_feedback", "user_seqfeature", "user_protrait")
_ROWS_AT_ONCE = 20_000  # a raw file has 2.7 GB, mostly item features, which are skipped
_Columns = dict[str, NDArray[Any]]


def load_rl4rs(folder: str | Path) -> InteractionLog:
    """Read the RL4RS log in `folder`.

    The folder holds `item_info.csv` and one pair of log files, or one file of a pair: `train.csv` and `test.csv`,
    `rl4rs_b_train.csv` and `rl4rs_b_test.csv` (or `a`), or the raw `rl4rs_dataset_b_sl.csv` and `..._rl.csv` (or `a`).
    If there are several pairs, the first in this order is read, and the others are named in a warning.

    Returns:
        The rows of both files in time order (seconds from an unknown start), ties in the order of the files. `user` is
        the session, `profile` the 42 numbers of `user_protrait`, of which the first ten are hashed categories,
        `item_features` the 40 numbers of `item_vec` in `item_info.csv`; the column `item_feature` repeats them and is
        ignored. The other item columns (price, location, special_item) are not used.

    Raises:
        HsrlError: for a missing or empty file, a row that cannot be used, or ids that `item_info.csv` does not list;
            the message names the file and the line.
    """
    path = existing_folder(folder, "item_info.csv and train.csv, test.csv or another pair of RL4RS files")
    files = _log_files(path)
    features = _read_items(path / "item_info.csv")
    parts: list[_Columns] = []
    for file in files:
        slate_size = parts[0]["slate"].shape[1] if parts else 0
        parts.append(_read_log(file, len(features) - 1, slate_size))
    if len(parts) == 2 and files[0].name in {name for pair in _RAW for name in pair}:
        _separate_sessions(parts[0], parts[1], files[1])
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    labels = ("", *(f"item {item}" for item in range(1, len(features))))
    return InteractionLog(
        name="rl4rs",
        source=f"RL4RS, {' and '.join(file.name for file in files)} in folder {path.name!r}",
        **sort_by_time(columns),
        item_features=features,
        item_labels=labels,
        n_categorical=N_CATEGORICAL,
    )


def _log_files(folder: Path) -> list[Path]:
    """Return the existing files of the first pair with at least one file in `folder`."""
    pairs = [[folder / name for name in pair if (folder / name).is_file()] for pair in (*_PREPROCESSED, *_RAW)]
    found = [pair for pair in pairs if pair]
    if not found:
        expected = " or ".join(", ".join(pair) for pair in (*_PREPROCESSED, *_RAW))
        raise HsrlError(f"{folder}: got {file_names(folder)}, expected {expected}; put the log files there.")
    for pair in found[1:]:
        logger.warning("%s: %s not read, as %s is there", folder, pair[0].name, found[0][0].name)
    return found[0]


def _read_items(path: Path) -> NDArray[np.float32]:
    """Return the item vectors by item id, (N + 1, 40) float32, row 0 zero."""
    if not path.is_file():
        raise HsrlError(
            f"{path}: got no such file, expected the features of the items, {' '.join(ITEM_COLUMNS)}; it comes with "
            "the RL4RS data and stands in its repository under dataset/."
        )
    columns = read_columns(path, " ")
    if tuple(columns) != ITEM_COLUMNS:
        got, expected = shown(" ".join(columns)), shown(" ".join(ITEM_COLUMNS))
        raise HsrlError(f"{path}, line 1: got header {got}, expected {expected} with spaces between; restore the file.")
    ids = columns["item_id"].numbers(np.int64)
    vectors = columns["item_vec"].table(ITEM_VECTOR_SIZE, np.float32, "restore the file")
    seen = np.zeros(len(ids) + 1, dtype=bool)
    for row, item in enumerate(ids):
        if not 1 <= item <= len(ids) or seen[item]:
            raise columns["item_id"].error(row, f"each of 1..{len(ids)} once", "restore the file")
        seen[item] = True
    features = np.zeros((len(ids) + 1, ITEM_VECTOR_SIZE), dtype=np.float32)
    features[ids] = vectors
    return features


def _read_log(path: Path, n_items: int, slate_size: int) -> _Columns:
    """Return the rows of one log file; `slate_size` is that of the previous file, 0 for the first."""
    blocks: list[_Columns] = []
    check_text(path)
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        header = _header(path, file.readline())
        first_line = 2
        while rows := list(islice(file, _ROWS_AT_ONCE)):
            n_rows = len(rows)
            while rows and not rows[-1].strip():  # empty lines at the end
                rows.pop()
            if rows:
                columns = _split(path, header, first_line, rows)
                slate_size = slate_size or columns["exposed_items"].cells[0].count(",") + 1
                blocks.append(_convert(columns, n_items, slate_size))
            first_line += n_rows
    if not blocks:
        raise HsrlError(
            f"{path}: got a header without rows, expected logged slates; fill the file, or remove it to read the "
            "other of its pair alone."
        )
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _header(path: Path, line: str) -> list[str]:
    """Return the names of the columns; `user_portrait` becomes `user_protrait`, the spelling of the real files."""
    if not line.strip():
        raise HsrlError(f"{path}: got an empty file, expected a header and logged slates; fetch or write it again.")
    names = ["user_protrait" if name == "user_portrait" else name for name in line.strip("\ufeff\r\n").split("@")]
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise HsrlError(
            f"{path}, line 1: got header {shown(line.strip())}, expected the columns {', '.join(missing)} in it, "
            "with '@' between columns; is it an RL4RS log, and was the separator kept?"
        )
    return names


def _split(path: Path, header: list[str], first_line: int, rows: list[str]) -> dict[str, TextColumn]:
    """Return the needed columns of a block of rows as text."""
    fields = [row.rstrip("\r\n").split("@") for row in rows]
    for row, cells in enumerate(fields):
        if len(cells) != len(header):
            raise HsrlError(
                f"{path}, line {first_line + row}: got {len(cells)} fields in {shown('@'.join(cells))}, expected "
                f"{len(header)} between '@'; the line is cut off: fetch the file again or remove the line."
            )
    index = {name: header.index(name) for name in _COLUMNS}
    lines = range(first_line, first_line + len(rows))
    return {name: TextColumn(path, name, lines, [cells[i] for cells in fields]) for name, i in index.items()}


def _convert(columns: dict[str, TextColumn], n_items: int, slate_size: int) -> _Columns:
    """Return a block of rows as arrays."""
    slates, feedback = columns["exposed_items"], columns["user_feedback"]
    slate = slates.table(slate_size, np.int64, "every slate needs as many items as the first: remove the row")
    clicks = feedback.table(slate_size, np.int64, "one for each item of the slate: mend or remove the row")
    _refuse(slates, (slate < 1) | (slate > n_items), _ids_expected(n_items), _ITEMS_ADVICE)
    _refuse(feedback, (clicks < 0) | (clicks > 1), "clicks, 0 or 1", "say what counts as a click and write 0 or 1")
    return {
        "time": columns["timestamp"].numbers(np.int64),
        "user": columns["session_id"].numbers(np.int64),
        "profile": columns["user_protrait"].table(PROFILE_SIZE, np.float32, "mend or remove the row"),
        "history": _history(columns["user_seqfeature"], n_items),
        "slate": slate.astype(np.int32),
        "clicks": clicks.astype(np.uint8),
    }


_ITEMS_ADVICE = "does item_info.csv belong to this log?"


def _ids_expected(n_items: int) -> str:
    return f"item ids 1..{n_items} as in item_info.csv"


def _refuse(column: TextColumn, wrong: NDArray[np.bool_], expected: str, advice: str) -> None:
    """Raise for the first row of `wrong`, (rows, K), that holds a True."""
    if wrong.any():
        raise column.error(int(np.argwhere(wrong)[0, 0]), expected, advice)


def _history(column: TextColumn, n_items: int) -> NDArray[np.int32]:
    """Return earlier clicks, (rows, 50), right-aligned; the files have "0" or "" for an empty history."""
    filled = replace(column, cells=[cell or "0" for cell in column.cells])
    ids, lengths = filled.lists(np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    outside = (ids < 0) | (ids > n_items)
    if outside.any():
        raise filled.error(int(row[np.argmax(outside)]), _ids_expected(n_items), _ITEMS_ADVICE)
    clicked = ids > 0
    end = np.cumsum(np.bincount(row[clicked], minlength=len(lengths)))
    return windows(ids[clicked], np.concatenate([[0], end[:-1]]), end)


def _separate_sessions(first: _Columns, second: _Columns, path: Path) -> None:
    """Shift the session ids of `second` behind those of `first` if the two overlap."""
    if len(np.intersect1d(first["user"], second["user"])):
        shift = int(first["user"].max()) + 1 - int(second["user"].min())
        largest = int(second["user"].max()) + shift
        if largest > np.iinfo(np.int64).max:
            raise HsrlError(
                f"{path}: got session_id {second['user'].max()}, expected smaller ones, as both files share some; "
                "number the sessions from 1 on."
            )
        second["user"] = second["user"] + shift
