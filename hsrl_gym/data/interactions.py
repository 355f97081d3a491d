"""Your own log: a CSV or parquet file with one row for each item that was shown or rated."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.data.encoding import frequent_values, label_column, plain_name, standardized, whole_times
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.data.ratings import CLICKED, LIKE_ABOVE, RATED, Ratings, slates_from_ratings
from hsrl_gym.data.tables import Table, open_table
from hsrl_gym.data.text import TextColumn, integer_ids, parsed
from hsrl_gym.errors import HsrlError, listed, shown

logger = logging.getLogger(__name__)

# The names that a column may have if none was given, in small letters and without signs.
USUAL = {
    "user": ("user", "userid"),
    "item": ("item", "itemid"),
    "time": ("time", "timestamp"),
    "click": ("click", "clicked", "label"),
    "rating": ("rating",),
    "slate": ("slate", "slateid"),
}
_TRUTH = {"true": "1", "false": "0"}


def load_interactions(
    path: str | Path,
    items: str | Path | None = None,
    slate_size: int | None = None,
    like_above: float | None = None,
    **names: str,
) -> InteractionLog:
    """Read a log with one row for each item that was shown or rated, and make slates of it.

    - Columns: user, item, time, and click (0 or 1, true or false) or rating (above `like_above` is a click). A column
      `slate` says which rows of a user were shown together. For slates, history and time, see `slates_from_ratings`.
    - Time: numbers, or dates as in ISO 8601. Only the order counts.
    - Item features come from `items` and are optional: columns of numbers are standardized; of other columns, the 64
      most frequent values become 0 or 1, with "|" between several values in a cell. A column in which every value is
      another is left out. The `label_column` becomes the label and is no feature.
    - Profiles are a single 0.

    Args:
        path: CSV with a header, in UTF-8, or parquet.
        items: table of the items; None for none, and features that are 0.
        slate_size: K; None for the most common size of the slates, or 10 where there are none.
        like_above: ratings above it are clicks; None for 3.
        names: names of the columns: user, item, time, click, rating or slate; those of `USUAL` need not be given.

    Raises:
        HsrlError: for columns that are missing, a cell that cannot be used (with file and line), an item twice in a
            slate, or a log without clicks or without misses.
    """
    table = open_table(Path(path))
    columns = find_columns(table, names)
    if like_above is not None and "rating" not in columns:
        raise HsrlError("got --like-above, expected it with --rating alone: a click is 0 or 1 already.")
    own = "" if "slate" in columns else "; without --slate, each user's rows are cut into slates in time order"
    read = ", ".join(f"{role} from {listed([columns[role]])}" for role in USUAL if role in columns)
    logger.info("%s: %s%s", table.path, read, own)
    rows = _read_rows(table, columns, LIKE_ABOVE if like_above is None else like_above)
    place, features, labels = _items_of(rows.names["item"], Path(items) if items else None)
    ratings = Ratings(
        name=table.path.stem,
        source=f"file {listed([table.path.name])}",
        user=rows.codes["user"],
        item=place[rows.codes["item"]],
        click=rows.click,
        time=rows.time,
        user_ids=integer_ids(rows.names["user"].cells),
        profile=np.zeros((len(rows.names["user"].cells), 1), dtype=np.float32),
        item_features=features,
        item_labels=labels,
        n_categorical=0,
        slate=_own_slates(rows),
        words=RATED if "rating" in columns else CLICKED,
    )
    return slates_from_ratings(ratings, slate_size)


def find_columns(table: Table, names: Mapping[str, str]) -> dict[str, str]:
    """Return the name of the column for each role: the given one, else one of `USUAL`.

    Raises:
        HsrlError: if a given name is not in the table, two roles have one column, a needed role has none, or both a
            click and a rating are given.
    """
    if "click" in names and "rating" in names:
        raise HsrlError("got --click and --rating, expected one of them: a click is 0 or 1, a rating is compared.")
    columns = dict(names)
    for role, name in names.items():
        if name not in table.header:
            raise _no_column(table, f"{shown(name)} (--{role})", [name], ())
    for role, usual in USUAL.items():
        found = [name for name in table.header if plain_name(name) in usual and name not in names.values()]
        if role not in names and found:
            columns[role] = found[0]
    if "click" in columns and "rating" in columns:
        columns.pop("click" if "rating" in names else "rating")
    for role in ("user", "item", "time"):
        if role not in columns:
            expected = f"one for --{role} (or called {' or '.join(USUAL[role])})"
            raise _no_column(table, expected, USUAL[role], columns.values())
    if "click" not in columns and "rating" not in columns:
        like = (*USUAL["click"], *USUAL["rating"])
        raise _no_column(table, "one for --click (0 or 1) or --rating", like, columns.values())
    for name in columns.values():
        roles = [f"--{role}" for role, other in columns.items() if other == name]
        if len(roles) > 1:
            raise HsrlError(f"got {shown(name)} for {' and '.join(roles)}, expected a column for each; name another.")
    return columns


def _no_column(table: Table, expected: str, like: Iterable[str], taken: Collection[str]) -> HsrlError:
    plain = {plain_name(name): name for name in table.header if name not in taken}
    near = [one for name in like for one in difflib.get_close_matches(plain_name(name), plain, n=2, cutoff=0.5)]
    hint = f"did you mean {listed([plain[name] for name in dict.fromkeys(near)])}?" if near else "name one of these."
    return HsrlError(f"{table.path}: got columns {listed(table.header)}, expected {expected}; {hint}")


@dataclass(frozen=True)
class _Rows:
    """The R rows of a log.

    Attributes:
        codes: per role (user, item and, if known, slate) the number of each row's name, (R,) int64.
        names: per role the names in the order of their numbers, as a column with the line where each stood first.
        click: (R,) bool.
        time: (R,) int64.
        line: (R,) int64.
    """

    codes: dict[str, NDArray[np.int64]]
    names: dict[str, TextColumn]
    click: NDArray[np.bool_]
    time: NDArray[np.int64]
    line: NDArray[np.int64]


@dataclass
class _Names:
    """Names and their numbers, while a log is read."""

    index: dict[str, int] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)
    codes: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, column: TextColumn) -> None:
        """Append the numbers of a block of rows."""
        index, n_known = self.index, len(self.index)
        codes = np.fromiter((index.setdefault(cell, len(index)) for cell in column.cells), np.int64, len(column.cells))
        if "" in index:
            raise column.error(column.cells.index(""), "a name", "fill it in or remove the row")
        new, first = np.unique(codes, return_index=True)
        self.lines += [column.lines[row] for row in first[new >= n_known]]
        self.codes.append(codes)


def _read_rows(table: Table, columns: Mapping[str, str], like_above: float) -> _Rows:
    """Return the rows, read in blocks."""
    known = {role: _Names() for role in ("user", "item", "slate") if role in columns}
    times: list[NDArray[Any]] = []
    clicks, lines = [], []
    for block in table.blocks(list(columns.values())):
        for role, names in known.items():
            names.add(block[columns[role]])
        times.append(_times(block[columns["time"]], times[0].dtype.kind if times else ""))
        clicks.append(_clicks(block, columns, like_above))
        lines.append(np.array(block[columns["item"]].lines))
        unit = block[columns["item"]].unit
    time = np.concatenate(times)
    return _Rows(
        codes={role: np.concatenate(names.codes) for role, names in known.items()},
        names={
            role: TextColumn(table.path, columns[role], names.lines, list(names.index), unit)
            for role, names in known.items()
        },
        click=np.concatenate(clicks),
        time=whole_times(time) if time.dtype.kind == "f" else time.astype(np.int64),
        line=np.concatenate(lines),
    )


def _times(column: TextColumn, kind: str) -> NDArray[Any]:
    """Return times as int64, float64 or datetime64; `kind` is NumPy's letter for those of the rows before."""
    for dtype in (np.int64, np.float64):
        numbers = parsed(column.cells, dtype)
        if numbers is not None and kind != "M":
            return numbers
    if kind in ("i", "f") or (not kind and parsed(column.cells[:1], np.float64) is not None):
        return column.numbers(np.float64)  # refuses
    import pandas as pd

    cells = [cell if cell[:1].isdigit() else "" for cell in column.cells]  # pandas takes "now" and "today" for dates
    dates = pd.to_datetime(cells, format="ISO8601", utc=True, errors="coerce")
    if dates.hasnans:
        row = int(np.argmax(dates.isna()))
        raise column.error(row, "a number, or a date as 2026-05-31 or 2026-05-31T12:30:00", "mend or remove this row")
    return dates.tz_localize(None).to_numpy().astype("datetime64[us]")


def _clicks(block: Mapping[str, TextColumn], columns: Mapping[str, str], like_above: float) -> NDArray[np.bool_]:
    """Return which rows are clicks, (rows,)."""
    if "rating" in columns:
        rating: NDArray[np.float64] = block[columns["rating"]].numbers(np.float64)
        return rating > like_above
    column = block[columns["click"]]
    click: NDArray[np.float64] = replace(
        column, cells=[_TRUTH.get(cell.lower(), cell) for cell in column.cells]
    ).numbers(np.float64)
    wrong = (click != 0) & (click != 1)
    if wrong.any():
        raise column.error(int(np.argmax(wrong)), "0 or 1", "write 1 for a click, or name the column with --rating")
    return click == 1


def _own_slates(rows: _Rows) -> NDArray[np.int64] | None:
    """Return the number of each row's slate, (R,), another one for each user; None if the log has no slates."""
    if "slate" not in rows.codes:
        return None
    n_slates, n_items = len(rows.names["slate"].cells), len(rows.names["item"].cells)
    _, slate = np.unique(rows.codes["user"] * n_slates + rows.codes["slate"], return_inverse=True)
    pair, first, count = np.unique(slate * n_items + rows.codes["item"], return_index=True, return_counts=True)
    if (count > 1).any():
        one = int(np.argmax(count > 1))
        again = int(np.flatnonzero(slate * n_items + rows.codes["item"] == pair[one])[1])
        names = rows.names["item"]
        raise replace(names, lines=[int(rows.line[again])], cells=[names.cells[rows.codes["item"][first[one]]]]).error(
            0, "each item once in a slate", "keep one row for each item that was shown, with the click in it"
        )
    return slate


def _items_of(names: TextColumn, path: Path | None) -> tuple[NDArray[np.int64], NDArray[np.float32], Sequence[str]]:
    """Return the place of each named item in the catalog, and features (N, F) and labels of the catalog's items."""
    if path is None:
        features = np.zeros((len(names.cells), 1), dtype=np.float32)
        return np.arange(len(names.cells)), features, [f"item {name}" for name in names.cells]
    columns = open_table(path).whole()
    usual = [name for name in columns if plain_name(name) in (*USUAL["item"], "id")]
    own = names.name if names.name in columns else next(iter(usual), None)
    if own is None:
        raise HsrlError(
            f"{path}: got columns {listed(columns)}, expected {shown(names.name)} with the ids of the items; rename it."
        )
    ids = columns.pop(own)
    title = label_column(columns, path)
    titles = columns.pop(title).cells if title else [""] * len(ids.cells)
    place = names.positions(ids.unique(), path)
    parts = [part for part in map(_feature, columns.values()) if part is not None]
    features = np.concatenate(parts, axis=1) if parts else np.zeros((len(ids.cells), 1), dtype=np.float32)
    return place, features, [text or f"item {name}" for text, name in zip(titles, ids.cells, strict=True)]


def _feature(column: TextColumn) -> NDArray[np.float32] | None:
    """Return a column of the item table as features (N, f); None if every item has another value."""
    filled = [cell for cell in column.cells if cell]
    if parsed(filled, np.float64) is not None:
        return standardized(column)
    if len(set(filled)) == len(filled) > 1:
        logger.info(
            "%s: column %s has another value in every row and is no feature", column.path, listed([column.name])
        )
        return None
    return frequent_values([cell.split("|") for cell in column.cells])
