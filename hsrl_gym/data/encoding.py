"""Columns of users and items as numbers for a network."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.data.text import TextColumn
from hsrl_gym.errors import listed

logger = logging.getLogger(__name__)

MOST_VALUES = 64  # of a categorical column that get a code or a column of their own


def codes_by_frequency(cells: Iterable[str], most: int | None = None) -> dict[str, int]:
    """Return codes 1, 2, ... for the `most` most frequent values in `cells`; ties are broken by name."""
    counts = Counter(cells)
    counts.pop("", None)
    return {value: place + 1 for place, value in enumerate(sorted(counts, key=lambda v: (-counts[v], v))[:most])}


def plain_name(name: str) -> str:
    """Return the name of a column in small letters and without signs."""
    return re.sub("[^a-z0-9]", "", name.lower())


def label_column(names: Iterable[str], path: Path) -> str | None:
    """Return and log which column of the item table `path` holds the readable names; None if none does.

    It is the first called `title`, else `name` or `item_name`, else one with `title`, else one with `name` in its name.
    """
    plain = {name: plain_name(name) for name in names}
    ranks = (
        [name for name, text in plain.items() if text == "title"],
        [name for name, text in plain.items() if text in ("name", "itemname")],
        [name for name, text in plain.items() if "title" in text],
        [name for name, text in plain.items() if "name" in text],
    )
    label = next((name for found in ranks for name in found), None)
    if label is not None:
        logger.info("%s: label from %s", path, listed([label]))
    return label


def multi_hot(rows: Sequence[Sequence[str]], values: Sequence[str]) -> NDArray[np.float32]:
    """Return (rows, values) float32: 1 where a row holds the value, 0 elsewhere."""
    table = np.zeros((len(rows), len(values)), dtype=np.float32)
    column = {value: place for place, value in enumerate(values)}
    for row, held in enumerate(rows):
        for value in held:
            if value in column:
                table[row, column[value]] = 1.0
    return table


def frequent_values(rows: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Return (rows, up to 64) of 0 and 1: which of the 64 most frequent values each row holds."""
    return multi_hot(rows, list(codes_by_frequency((value for row in rows for value in set(row)), MOST_VALUES)))


def whole_times(times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return times as whole numbers in the same order: themselves, or their ranks if one has a fraction or is huge."""
    if (times == np.floor(times)).all() and (np.abs(times) < 2.0**53).all():
        return times.astype(np.int64)
    return np.unique(times, return_inverse=True)[1].astype(np.int64)


def with_mean(column: TextColumn) -> NDArray[np.float32]:
    """Return a column of numbers as (rows, 1); empty cells become the mean of the others.

    Raises:
        HsrlError: for the first cell that is neither empty nor a number that float32 can hold.
    """
    return _filled(column)[:, None].astype(np.float32)


def _filled(column: TextColumn) -> NDArray[np.float64]:
    """Return a column of numbers (rows,), with the mean of the others in empty cells; see `with_mean`."""
    full = [cell != "" for cell in column.cells]
    filled = replace(column, cells=[cell or "0" for cell in column.cells])
    filled.numbers(np.float32)  # refuses what is too large
    values: NDArray[np.float64] = filled.numbers(np.float64)
    values[np.logical_not(full)] = values[full].mean() if any(full) else 0.0
    return values


def standardized(column: TextColumn) -> NDArray[np.float32]:
    """Return a column of numbers as (rows, 1) with mean 0 and deviation 1; empty cells become 0."""
    values = _filled(column)  # float64: of large numbers that differ little, float32 keeps no difference
    deviation = values.std()
    return ((values - values.mean()) / (deviation if deviation > 0 else 1.0))[:, None].astype(np.float32)
