"""Data sets in RecBole's atomic files: `.inter`, `.item` and optionally `.user`.

They are tab-separated text; the header gives each field a name and a kind, for instance `rating:float`. The kinds are
`token` (one category), `token_seq` (several, separated by spaces), `float` and `float_seq` (several numbers).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.data.encoding import (
    MOST_VALUES,
    codes_by_frequency,
    frequent_values,
    label_column,
    standardized,
    whole_times,
    with_mean,
)
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.data.ratings import CLICKED, LIKE_ABOVE, RATED, SLATE_SIZE, Ratings, slates_from_ratings
from hsrl_gym.data.text import TextColumn, existing_folder, file_names, integer_ids, read_columns
from hsrl_gym.errors import HsrlError, listed, shown

logger = logging.getLogger(__name__)

KINDS = ("token", "token_seq", "float", "float_seq")


@dataclass(frozen=True)
class AtomicField:
    """One field of an atomic file: its kind and its cells as text."""

    kind: str
    column: TextColumn

    @property
    def cells(self) -> Sequence[str]:
        """The cells as text."""
        return self.column.cells


def load_atomic(folder: str | Path, slate_size: int = SLATE_SIZE, like_above: float = LIKE_ABOVE) -> InteractionLog:
    """Read the atomic files in `folder` and cut each user's interactions into slates (Appendix A).

    - Clicks: the field `label` (0 or 1) if there is one, else `rating` > `like_above`. A data set with neither has no
      negative examples and is refused.
    - Time: `timestamp`. Only the order counts; times with fractions are replaced by their ranks. Without the field, the
      order of the file is used, with a warning.
    - Profiles: first a code for each `token` (1 to 64 for the most frequent values, 0 for others and for none); then
      each `float`, each value of a `token_seq` as 0 or 1, and each number of a `float_seq`. Without a `.user` file: a
      single 0.
    - Item features: the 64 most frequent values of each `token` and `token_seq` as 0 or 1, each `float` standardized,
      each number of a `float_seq` unchanged. An empty `float` becomes the mean. The `label_column` becomes the item's
      label and is no feature. Without a feature, or an `.item` file: a single 0.
    - For slates, history, time and left-out items, see `slates_from_ratings`.

    Args:
        folder: contains one `.inter`, and at most one `.item` and one `.user` file.
        slate_size: K, items per slate.
        like_above: ratings above it are clicks.

    Raises:
        HsrlError: for missing files or fields, a cell that cannot be used (with file and line), or a log without clicks
            or without misses.
    """
    path = existing_folder(folder, "RecBole atomic files (.inter, .item, .user)")
    inter, item, user = atomic_files(path)
    interactions, items = read_atomic(inter), read_atomic(item) if item else {}
    item_column = _field(interactions, "item_id", inter).column
    item_ids = (items.pop("item_id", None) or _missing(item, "item_id")) if item else None
    item_names = item_ids.column.unique() if item_ids else tuple(dict.fromkeys(item_column.cells))
    users = read_atomic(user) if user else {}
    user_ids = (users.pop("user_id", None) or _missing(user, "user_id")) if user else None
    user_column = _field(interactions, "user_id", inter).column
    user_names = user_ids.column.unique() if user_ids else tuple(dict.fromkeys(user_column.cells))
    profile, n_categorical = _profile(users, len(user_names))
    label_name = label_column(items, item) if item else None
    labels = items.pop(label_name).cells if label_name else [f"item {name}" for name in item_names]
    ratings = Ratings(
        name=inter.stem,
        source=f"atomic files {inter.stem} in folder {path.name!r}",
        user=user_column.positions(user_names, user or inter),
        item=item_column.positions(item_names, item or inter),
        click=_clicks(interactions, like_above, inter),
        time=interaction_time(interactions),
        user_ids=integer_ids(user_names),
        profile=profile,
        item_features=_item_features(items, len(item_names)),
        item_labels=labels,
        n_categorical=n_categorical,
        words=CLICKED if "label" in interactions else RATED,
    )
    return slates_from_ratings(ratings, slate_size)


def atomic_files(folder: Path) -> tuple[Path, Path | None, Path | None]:
    """Return the `.inter`, `.item` and `.user` file in `folder`; None for the second or third if it is not there.

    Raises:
        HsrlError: unless there is exactly one `.inter`, and at most one `.item` and one `.user` file.
    """
    found = {suffix: sorted(folder.glob(f"*{suffix}")) for suffix in (".inter", ".item", ".user")}
    for suffix, paths in found.items():
        if len(paths) > 1 or not (paths or suffix != ".inter"):
            raise HsrlError(
                f"{folder}: got {len(paths)} {suffix} files among {file_names(folder)}, expected one; give the folder "
                "of one data set in RecBole's atomic form."
            )
    item, user = (next(iter(found[suffix]), None) for suffix in (".item", ".user"))
    return found[".inter"][0], item, user


def read_atomic(path: Path) -> dict[str, AtomicField]:
    """Return the fields of an atomic file by name.

    Raises:
        HsrlError: if the header is not of the form `name:kind` or a line has another number of fields.
    """
    fields = {}
    for header, column in read_columns(path, "\t").items():
        name, _, kind = header.rpartition(":")
        if not name or kind not in KINDS:
            raise HsrlError(
                f"{path}, line 1: got field {shown(header)}, expected name:kind with a kind of {', '.join(KINDS)} and "
                "tabs between fields; write the header as RecBole does."
            )
        fields[name] = AtomicField(kind, replace(column, name=name))
    return fields


def interaction_time(interactions: dict[str, AtomicField]) -> NDArray[np.int64]:
    """Return the time of each interaction, (R,) int64: its timestamp, or numbers in the same order."""
    field = interactions.get("timestamp")
    if field is None:
        column = next(iter(interactions.values())).column
        logger.warning("%s has no field 'timestamp': the order of the file is used as the order in time", column.path)
        return np.arange(len(column.cells))
    return whole_times(field.column.numbers(np.float64))


def _missing(path: Path | None, name: str) -> AtomicField:
    raise HsrlError(f"{path}, line 1: got no field {name!r}, expected it; name the fields as RecBole's data sets do.")


def _field(fields: dict[str, AtomicField], name: str, path: Path) -> AtomicField:
    return fields.get(name) or _missing(path, name)


def _clicks(interactions: dict[str, AtomicField], like_above: float, path: Path) -> NDArray[np.bool_]:
    """Return which interactions are clicks, (R,)."""
    if "label" in interactions:
        column = interactions["label"].column
        label: NDArray[np.float64] = column.numbers(np.float64)
        wrong = (label != 0) & (label != 1)
        if wrong.any():
            raise column.error(int(np.argmax(wrong)), "0 or 1", "write 1 for a click, or name the field 'rating'")
        return label == 1
    if "rating" in interactions:
        rating: NDArray[np.float64] = interactions["rating"].column.numbers(np.float64)
        return rating > like_above
    raise HsrlError(
        f"{path}, line 1: got the fields {listed(interactions)}, expected 'rating' or 'label' among them: without "
        "one every interaction is a click, and a user model cannot be learned from clicks alone; add what was shown "
        "and not taken, with label:float 0 or 1."
    )


def _lists_or_several(field: AtomicField) -> NDArray[np.float32]:
    return _number_lists(field) if field.kind == "float_seq" else _several(field)


def _number_lists(field: AtomicField) -> NDArray[np.float32]:
    """Return a `float_seq` field as (rows, its length)."""
    width = field.cells[0].count(" ") + 1
    advice = "every list needs as many numbers as the first"
    table: NDArray[np.float32] = field.column.table(width, np.float32, advice, separator=" ")
    return table


def _several(field: AtomicField) -> NDArray[np.float32]:
    """Return a `token` or `token_seq` field as (rows, up to 64) of 0 and 1."""
    return frequent_values([cell.split() if field.kind == "token_seq" else [cell] for cell in field.cells])


def _profile(fields: dict[str, AtomicField], n_users: int) -> tuple[NDArray[np.float32], int]:
    """Return the profiles, (U, P), and how many of their columns are category codes; those come first."""
    codes, rest = [], []
    for field in fields.values():
        if field.kind == "token":
            code = codes_by_frequency(field.cells, MOST_VALUES)
            codes.append(np.array([[code.get(cell, 0)] for cell in field.cells], dtype=np.float32))
        else:
            rest.append(with_mean(field.column) if field.kind == "float" else _lists_or_several(field))
    if not fields:
        rest.append(np.zeros((n_users, 1), dtype=np.float32))
    return np.concatenate([*codes, *rest], axis=1), len(codes)


def _item_features(fields: dict[str, AtomicField], n_items: int) -> NDArray[np.float32]:
    """Return the item features, (N, F); a single 0 if there is no field."""
    if not fields:
        return np.zeros((n_items, 1), dtype=np.float32)
    columns = []
    for field in fields.values():
        columns.append(standardized(field.column) if field.kind == "float" else _lists_or_several(field))
    return np.concatenate(columns, axis=1).astype(np.float32)
