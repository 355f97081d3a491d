"""The values in the arrays of a bundle: finite, and within the ranges on which an environment relies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook
from hsrl_gym.users.click_model import UserResponseModel
from hsrl_gym.users.ensemble import LearnedUser, members_of
from hsrl_gym.users.large import is_large
from hsrl_gym.users.network import UserTables
from hsrl_gym.users.profile import PROFILE_LIMIT

_LARGEST_INPUT = 1e6  # of standardized features, vectors and centroids
_LARGEST_WEIGHT = 1e4  # of a user model; fitted ones stay below 10
_LARGEST_TABLE = 8e5  # of the items' tables, times the length of a history; fitted ones stay below 1,000
_FEW = 8  # logged slates that a user model is tried on


def check_codebook(path: Path, codebook: Codebook) -> None:
    """Raise HsrlError for values that are not finite, tokens out of their vocabulary, or no live item."""
    tables = {"features": codebook.features, "vectors": codebook.vectors}
    tables.update({f"centroids_{level}": table for level, table in enumerate(codebook.centroids)})
    if codebook.to_vector is not None:
        tables["to_vector"] = codebook.to_vector
    for name, table in tables.items():
        _within(path, name, table, -_LARGEST_INPUT, _LARGEST_INPUT)
    largest = float(np.finfo(np.float32).max)
    for name, table in {"mean": codebook.mean, "priority": codebook.priority}.items():
        _within(path, name, table, -largest, largest)
    _within(path, "scale", codebook.scale, float(np.finfo(np.float32).tiny), largest)
    codes = codebook.codes
    live = codes[:, 0] >= 0
    dead_end = (codes < 0) == live[:, None]  # a token of -1 in a live SID, or a token in one that is not
    if live[0] or not live.any() or dead_end.any() or (codes < -1).any() or (codes >= codebook.vocabulary).any():
        raise HsrlError(
            f"{path}: got codes outside the vocabulary {list(codebook.vocabulary)[:10]}, expected tokens from 0, or -1 "
            "in a whole row for padding and for items that are not on sale; build the bundle again."
        )


def check_users(path: Path, users: LoggedSlates[NDArray], n_items: int) -> None:
    """Raise HsrlError for profiles out of the observation space, ids out of the catalog, or clicks but 0 and 1."""
    _within(path, "profile", users.profile, -PROFILE_LIMIT, PROFILE_LIMIT)
    _within(path, "history", users.history, 0, n_items)
    _within(path, "slate", users.slate, 1, n_items)
    _within(path, "clicks", users.clicks, 0, 1)
    if ((users.history[:, :-1] > 0) & (users.history[:, 1:] == 0)).any():
        raise HsrlError(f"{path}: got a history with padding behind an item, expected padding on the left only.")


@torch.no_grad()
def check_simulator(path: Path, user: LearnedUser, pool: LoggedSlates[NDArray]) -> None:
    """Raise HsrlError for weights that are not finite, or give a user no finite click probabilities.

    Of a large catalog only the items of a few slates are looked up; `check_tables` does the rest when the tables of all
    items are made.
    """
    rows = pool.rows(slice(0, _FEW)).tensors()
    for model in members_of(user):
        for name, weight in model.state_dict().items():
            _within(path, name, weight, -_LARGEST_WEIGHT, _LARGEST_WEIGHT)
        if is_large(model.config.n_items):
            affinity = model.appeal(rows.profile, rows.history, rows.slate)
        else:
            tables = model.tables()
            check_tables(path, model, tables)
            length = (rows.history > 0).sum(1)
            affinity = model.affinity(tables, model.arrive(tables, rows.profile), rows.history, length, rows.slate)
        if not affinity.isfinite().all():
            raise _wild(path)


def check_tables(where: object, model: UserResponseModel, tables: UserTables) -> None:
    """Raise HsrlError for item tables with which sums over a history could leave the range of float32."""
    largest = _LARGEST_TABLE / model.config.history_length
    for table in (tables.parts, tables.target):
        low, high = table.aminmax()
        if not (-largest <= float(low) and float(high) <= largest):
            raise _wild(where)


def _wild(where: object) -> HsrlError:
    return HsrlError(
        f"{where}: the weights give no finite click probabilities, expected those of a fitted user; build the bundle "
        "again."
    )


def _within(path: Path, name: str, table: NDArray | Tensor, lowest: float, highest: float) -> None:
    """Raise HsrlError for a value that is not in [lowest, highest], or no number."""
    low, high = float(table.min()), float(table.max())
    if not (lowest <= low and high <= highest):
        got = low if not lowest <= low else high
        raise HsrlError(f"{path}: got {got:g} in {name}, expected {lowest:g} to {highest:g}; build the bundle again.")
