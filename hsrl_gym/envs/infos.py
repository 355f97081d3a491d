"""Infos of a vector environment in Gymnasium's form: a column for each key, and a mask `_key` of who has it.

Letters: B environments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]


def with_masks(columns: Columns, present: NDArray[np.bool_]) -> dict[str, Any]:
    """Return columns (B, ..) with the masks of environments that have them, which are `present` (B,)."""
    return {**columns, **{f"_{name}": present.copy() for name in columns}}


def only(present: NDArray[np.bool_], columns: Columns) -> dict[str, Any]:
    """Return the rows of `present` (B,) environments and zeros elsewhere, with masks."""
    return with_masks({name: _masked(values, present) for name, values in columns.items()}, present)


def merged(played: Columns, playing: NDArray[np.bool_], arrived: Columns) -> dict[str, Any]:
    """Return the infos of a step in which some environments played and the others were reset.

    Args:
        played: columns (P, ..) of those that played.
        playing: (B,), which ones these are.
        arrived: columns (B, ..) of all, as after a reset. A key that is not among them holds for who played.
    """
    info = with_masks(arrived, np.ones(len(playing), dtype=bool))
    for name, values in played.items():
        if name not in arrived:
            info[name] = np.zeros((len(playing), *values.shape[1:]), values.dtype)
            info[f"_{name}"] = playing.copy()
        info[name][playing] = values
    return info


def copies(columns: Columns) -> Columns:
    """Return columns that share no memory with these."""
    return {name: values.copy() for name, values in columns.items()}


def rows_of(columns: Columns, present: NDArray[np.bool_]) -> NDArray[Any]:
    """Return (B,) objects: a dict for each `present` (B,) environment, None elsewhere (Gymnasium's `final_obs`).

    The results are views of `columns`, which the caller must not use otherwise.
    """
    found = np.full(len(present), None, dtype=object)
    rows = np.flatnonzero(present)
    names, values = list(columns), zip(*(column[rows] for column in columns.values()), strict=True)
    for row, one in zip(rows, values, strict=True):  # only the present ones
        found[row] = dict(zip(names, one, strict=True))
    return found


def _masked(values: NDArray[Any], present: NDArray[np.bool_]) -> NDArray[Any]:
    kept = np.zeros_like(values)
    kept[present] = values[present]
    return kept
