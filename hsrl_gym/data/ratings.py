"""From text tables of ratings to logged slates.

The first half reads delimited text and names the line of every wrong cell. The second half cuts each user's ratings
into slates (Appendix A of the paper).
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.data.log import HISTORY_LENGTH, InteractionLog, sort_by_time
from hsrl_gym.errors import HsrlError

logger = logging.getLogger(__name__)

_SHOWN = 60


def shown(text: str) -> str:
    """Return `text` quoted and short enough for a one-line message."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


def existing_folder(folder: str | Path, expected: str) -> Path:
    """Return `folder` as a path.

    Raises:
        HsrlError: if there is no such folder; `expected` says what it should hold.
    """
    path = Path(folder)
    if not path.is_dir():
        kind = "a file" if path.exists() else "nothing"
        raise HsrlError(f"{path}: got {kind}, expected a folder with {expected}; check the path, or fetch the data.")
    return path


def file_names(folder: Path) -> str:
    """Return the names of the first few files in `folder`, for a message."""
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "no files"


@dataclass(frozen=True)
class TextColumn:
    """One column of a text file; row 0 is on line `first_line` of `path`."""

    path: Path
    name: str
    first_line: int
    cells: Sequence[str]

    def error(self, row: int, expected: str, advice: str) -> HsrlError:
        """Return the error for the cell in `row`, with file, line, the cell, `expected` and `advice`."""
        line, got = self.first_line + row, shown(self.cells[row])
        return HsrlError(f"{self.path}, line {line}: got {self.name} {got}, expected {expected}; {advice}.")

    def numbers(self, dtype: type[np.generic]) -> NDArray[Any]:
        """Return the cells as (rows,) finite numbers of `dtype`.

        Raises:
            HsrlError: for the first cell that is not such a number.
        """
        values = _parsed(self.cells, dtype)
        return self._refuse(dtype, None) if values is None else values

    def lists(self, dtype: type[np.generic], separator: str = ",") -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the numbers of all cells, concatenated, and the number of them in each cell, (rows,).

        Raises:
            HsrlError: for the first cell that is not a list of such numbers.
        """
        lengths = np.fromiter((cell.count(separator) + 1 for cell in self.cells), np.int64, len(self.cells))
        # One conversion of all numbers is much faster than one per cell.
        values = _parsed(separator.join(self.cells).split(separator) if self.cells else [], dtype)
        return (self._refuse(dtype, separator) if values is None else values), lengths

    def table(self, width: int, dtype: type[np.generic], advice: str, separator: str = ",") -> NDArray[Any]:
        """Return the lists as a table (rows, `width`); `advice` is for a list of another length.

        Raises:
            HsrlError: for the first list of another length, or the first cell that is not a list of such numbers.
        """
        for row, cell in enumerate(self.cells):
            if cell.count(separator) + 1 != width:
                raise self.error(row, f"{width} numbers and not {cell.count(separator) + 1}", advice)
        return self.lists(dtype, separator)[0].reshape(-1, width)

    def _refuse(self, dtype: type[np.generic], separator: str | None) -> NDArray[Any]:
        """Raise for the first cell that cannot be converted."""
        kind = "whole numbers" if np.issubdtype(dtype, np.integer) else "finite numbers"
        for row, cell in enumerate(self.cells):
            if _parsed(cell.split(separator) if separator else [cell], dtype) is None:
                raise self.error(row, kind, "mend or remove this row")
        raise AssertionError("every cell converts by itself, so all of them do together")


def _parsed(cells: Sequence[str], dtype: type[np.generic]) -> NDArray[Any] | None:
    """Return the cells as an array of `dtype`, or None if one is not a finite number of that kind."""
    try:
        with np.errstate(over="ignore"):
            values = np.array(cells, dtype=dtype)
    except (ValueError, OverflowError):
        return None
    return values if np.isfinite(values).all() else None


def read_columns(
    path: Path, separator: str, names: Sequence[str] | None = None, encoding: str = "utf-8", quoted: bool = False
) -> dict[str, TextColumn]:
    """Return the columns of a delimited text file by name.

    Args:
        path: the file.
        separator: string between two fields.
        names: names of the columns; None if the first line holds them.
        encoding: of the text; invalid bytes are replaced, so a number that holds one is refused later.
        quoted: whether double quotes may enclose a field that holds the separator.

    Raises:
        HsrlError: if the file is missing or empty, or a line has another number of fields than it should.
    """
    if not path.is_file():
        raise HsrlError(
            f"{path}: got no such file; expected it beside {file_names(path.parent)}; fetch the data again."
        )
    # Not splitlines(): it also splits at characters that occur in latin-1 titles.
    lines = path.read_bytes().decode(encoding, errors="replace").replace("\r\n", "\n").rstrip("\n").split("\n")
    rows = list(csv.reader(lines, delimiter=separator)) if quoted else [line.split(separator) for line in lines]
    header = list(names) if names is not None else rows.pop(0)
    first_line = 1 if names is not None else 2
    if not rows or lines == [""]:
        raise HsrlError(f"{path}: got an empty file, expected rows of {', '.join(header)}; fetch it again.")
    for row, fields in enumerate(rows):
        if len(fields) != len(header):
            line = shown(separator.join(fields))
            raise HsrlError(
                f"{path}, line {first_line + row}: got {len(fields)} fields in {line}, expected {len(header)} between "
                f"{separator!r}; the line is cut off or the separator differs: fetch the file again or mend the line."
            )
    cells = zip(*rows, strict=True)
    return {name: TextColumn(path, name, first_line, column) for name, column in zip(header, cells, strict=True)}


def positions(column: TextColumn, known: Sequence[str], known_path: Path) -> NDArray[np.int64]:
    """Return the position of each cell of `column` in `known`, (rows,).

    Raises:
        HsrlError: for the first cell that is not in `known`, which was read from `known_path`.
    """
    index = {name: place for place, name in enumerate(known)}
    places = np.fromiter((index.get(cell, -1) for cell in column.cells), np.int64, len(column.cells))
    if (places < 0).any():
        row = int(np.argmax(places < 0))
        raise column.error(row, f"one that {known_path.name} lists", "do the two files belong together?")
    return places


def windows(
    values: NDArray[Any], start: NDArray[np.int64], end: NDArray[np.int64], length: int = HISTORY_LENGTH
) -> NDArray[np.int32]:
    """Return the last `length` values of each `values[start:end]`, right-aligned, 0-padded: (rows, length)."""
    if len(values) == 0:
        return np.zeros((len(end), length), dtype=np.int32)
    index = end[:, None] + np.arange(-length, 0)
    inside = index >= start[:, None]
    return np.where(inside, values[np.where(inside, index, 0)], 0).astype(np.int32)


@dataclass(frozen=True)
class Ratings:
    """R ratings of N items by U users, in the order of the file.

    Attributes:
        name: data set they come from.
        source: where they were read, in words.
        user: (R,) int64, rows of `profile`.
        item: (R,) int64, rows of `item_features`.
        click: (R,) bool, whether the user liked the item.
        time: (R,) int64; only the order counts.
        user_ids: (U,) int64.
        profile: (U, P) float32; the first `n_categorical` columns are category codes.
        item_features: (N, F) float32, without a row for padding.
        item_labels: N readable names.
        n_categorical: number of leading profile columns that are category codes.
    """

    name: str
    source: str
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    click: NDArray[np.bool_]
    time: NDArray[np.int64]
    user_ids: NDArray[np.int64]
    profile: NDArray[np.float32]
    item_features: NDArray[np.float32]
    item_labels: Sequence[str]
    n_categorical: int


def slates_from_ratings(ratings: Ratings, slate_size: int) -> InteractionLog:
    """Return the log of Appendix A: each user's ratings in time order, cut into slates of `slate_size`.

    - Ratings with equal times keep the order of the file. A user's last, incomplete slate is dropped.
    - The history of a slate is the last 50 items that the user liked before its first rating.
    - The time of a slate is the time of its first rating, when it is shown. So a history never holds a like that is
      later than its row, on either side of a split by time. Responses to a slate may come later: with MovieLens-100K
      split at 80%, 76 of the 7,676 early slates have ratings after the split.
    - Items without a rating are left out. The ids of the others count from 1, in their order.

    Raises:
        HsrlError: if every rating is a like or none is, or if no user has enough ratings for one slate.
    """
    _check(ratings, slate_size)
    rated = np.unique(ratings.item)
    order = np.lexsort((ratings.time, ratings.user))  # stable: ratings of one user and time stay in order
    user, click, time = ratings.user[order], ratings.click[order], ratings.time[order]
    item = np.searchsorted(rated, ratings.item[order]) + 1
    first_of_user = np.searchsorted(user, user, side="left")
    size_of_user = np.searchsorted(user, user, side="right") - first_of_user
    place = np.arange(len(user)) - first_of_user
    kept = place < size_of_user // slate_size * slate_size
    first = np.flatnonzero(kept & (place % slate_size == 0))
    if len(first) == 0:
        raise HsrlError(
            f"{ratings.source}: got at most {size_of_user.max()} ratings of one user, expected {slate_size} or more, "
            "enough for one slate; give a smaller slate_size."
        )
    n_dropped, n_unrated = int((~kept).sum()), len(ratings.item_features) - len(rated)
    logger.info(
        "%s: %d slates of %d; left out %d of %d ratings (last, incomplete slates) and %d items without a rating",
        *(ratings.source, len(first), slate_size, n_dropped, len(user), n_unrated),
    )
    liked_before: NDArray[np.int64] = np.cumsum(click) - click
    columns: dict[str, NDArray[Any]] = {
        "time": time[first],
        "user": ratings.user_ids[user[first]],
        "profile": ratings.profile[user[first]],
        "history": windows(item[click], liked_before[first_of_user[first]], liked_before[first]),
        "slate": item[kept].reshape(-1, slate_size).astype(np.int32),
        "clicks": click[kept].reshape(-1, slate_size).astype(np.uint8),
    }
    features = ratings.item_features[rated]
    return InteractionLog(
        name=ratings.name,
        source=ratings.source,
        **sort_by_time(columns),
        item_features=np.concatenate([np.zeros_like(features[:1]), features]),
        item_labels=("", *(ratings.item_labels[row] for row in rated)),
        n_categorical=ratings.n_categorical,
    )


def _check(ratings: Ratings, slate_size: int) -> None:
    if slate_size < 1:
        raise HsrlError(f"slate_size is {slate_size}, expected at least 1.")
    if ratings.click.all() or not ratings.click.any():
        got = "a like" if ratings.click.all() else "no like"
        raise HsrlError(
            f"{ratings.source}: every one of the {len(ratings.click)} ratings is {got}, expected both: a user model is "
            "learned from clicks and misses; change what counts as a like, or add items that were shown and not "
            "liked."
        )


def integer_ids(names: Sequence[str]) -> NDArray[np.int64]:
    """Return the names as integers if all of them are, else 1, 2, ... in their order: (len(names),) int64."""
    values = _parsed(names, np.int64)
    return np.arange(1, len(names) + 1) if values is None else values
