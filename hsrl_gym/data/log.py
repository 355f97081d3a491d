"""Logged slates as columns: what every reader returns and everything offline starts from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.errors import HsrlError

if TYPE_CHECKING:
    from typing_extensions import Self

HISTORY_LENGTH = 50

Column = TypeVar("Column", bound="NDArray[Any] | Tensor")


@dataclass(frozen=True)
class LoggedSlates(Generic[Column]):
    """M logged slates: who saw what, and what was clicked of it. NumPy arrays, or tensors after `tensors`.

    Row m says: a user with `profile[m]`, who had clicked `history[m]` before, was shown `slate[m]` and clicked where
    `clicks[m]` is 1.

    Attributes:
        profile: (M, P) float32.
        history: (M, H) int32 (int64 as tensors), item ids clicked before, latest last, right-aligned, 0 for padding.
        slate: (M, K) int32 (int64 as tensors), item ids 1..N, in slate order.
        clicks: (M, K) uint8 (float32 as tensors), 0 or 1.
        row: (M,) int64, numbers of these rows in the log they were taken from; None if unknown.
    """

    profile: Column
    history: Column
    slate: Column
    clicks: Column
    row: Column | None = field(default=None, kw_only=True)

    _columns: ClassVar[tuple[str, ...]] = ("profile", "history", "slate", "clicks")

    def __len__(self) -> int:
        return len(self.profile)

    def rows(self, index: Any) -> Self:
        """Return the rows at `index`: an integer array or tensor of shape (m,), or a slice."""
        columns: dict[str, Any] = {name: getattr(self, name)[index] for name in self._columns}
        columns["row"] = None if self.row is None else self.row[index]
        return replace(self, **columns)

    def tensors(self, device: torch.device | str = "cpu") -> LoggedSlates[Tensor]:
        """Return profile, history, slate and clicks as tensors on `device`: float32, int64, int64, float32."""
        return LoggedSlates(
            profile=torch.as_tensor(self.profile, device=device).float(),
            history=torch.as_tensor(self.history, device=device).long(),
            slate=torch.as_tensor(self.slate, device=device).long(),
            clicks=torch.as_tensor(self.clicks, device=device).float(),
        )


@dataclass(frozen=True)
class InteractionLog(LoggedSlates[NDArray[Any]]):
    """Logged slates in time order, with the catalog they were drawn from.

    Attributes:
        name: data set the rows come from, for instance "rl4rs".
        source: where they were read, in words; it ends up in a bundle's provenance.
        time: (M,) int64, not decreasing; only the order counts.
        user: (M,) int64, user or session id.
        profile: (M, P) float32, raw; the first `n_categorical` columns are category codes.
        item_features: (N + 1, F) float32; row 0 is padding, all zero.
        item_labels: N + 1 readable names; the first is "".
        n_categorical: number of leading profile columns that are category codes.

    Raises:
        HsrlError: for no rows, columns that do not fit each other, item ids out of range, clicks other than 0 and 1,
            values that are not finite, or rows out of time order.
    """

    name: str
    source: str
    time: NDArray[np.int64]
    user: NDArray[np.int64]
    item_features: NDArray[np.float32]
    item_labels: tuple[str, ...]
    n_categorical: int = 0

    _columns = ("time", "user", *LoggedSlates._columns)

    def __post_init__(self) -> None:
        n_rows = len(self.time)
        if n_rows == 0:
            raise HsrlError(f"{self.source}: got 0 logged slates, expected at least 1; is the file empty?")
        for column in ("user", "profile", "history", "slate", "clicks"):
            if len(getattr(self, column)) != n_rows:
                raise HsrlError(
                    f"{self.source}: column {column!r} has {len(getattr(self, column))} rows, expected {n_rows}."
                )
        if self.slate.shape != self.clicks.shape:
            raise HsrlError(f"{self.source}: slates have shape {self.slate.shape} but clicks {self.clicks.shape}.")
        self._check_ids("slate", smallest=1)
        self._check_ids("history", smallest=0)
        self._check_values()

    def _check_ids(self, column: str, smallest: int) -> None:
        ids = getattr(self, column)
        wrong = np.argwhere((ids < smallest) | (ids > self.n_items))
        if len(wrong):
            row, slot = wrong[0]
            raise HsrlError(
                f"{self.source}: {column} of row {row} holds item id {ids[row, slot]}, expected {smallest}.."
                f"{self.n_items}; does the item file belong to this log?"
            )

    def _check_values(self) -> None:
        if not np.isin(self.clicks, (0, 1)).all():
            row = int(np.argwhere(~np.isin(self.clicks, (0, 1)))[0][0])
            raise HsrlError(f"{self.source}: clicks of row {row} are {self.clicks[row].tolist()}, expected 0 or 1.")
        for column in ("profile", "item_features"):
            values = getattr(self, column)
            if not np.isfinite(values).all():
                row, index = np.argwhere(~np.isfinite(values))[0]
                raise HsrlError(
                    f"{self.source}: {column} of row {row} is {values[row, index]} in column {index}, expected a "
                    "finite number; fill or drop it."
                )
        if (self.time[1:] < self.time[:-1]).any():  # a difference would overflow between the ends of int64
            raise HsrlError(f"{self.source}: rows are not in time order; sort them by time first.")
        if len(self.item_labels) != self.n_items + 1:
            raise HsrlError(f"{self.source}: {len(self.item_labels)} item labels for {self.n_items} items and padding.")

    @property
    def n_items(self) -> int:
        """Number of items N; ids run from 1 to N."""
        return len(self.item_features) - 1

    @property
    def slate_size(self) -> int:
        """Number of items in a slate, K."""
        return int(self.slate.shape[1])

    def split_by_time(self, fraction: float = 0.8) -> tuple[InteractionLog, InteractionLog]:
        """Return the earliest `fraction` of the rows and the rest.

        Raises:
            HsrlError: if one part would be empty.
        """
        cut = int(len(self) * fraction)
        if not 0 < cut < len(self):
            raise HsrlError(
                f"{self.source}: {len(self)} rows cannot be split at {fraction}: one part would be empty; "
                "give more rows or another fraction."
            )
        return self.rows(slice(None, cut)), self.rows(slice(cut, None))


def sort_by_time(columns: dict[str, NDArray], time_column: str = "time") -> dict[str, NDArray]:
    """Return the columns with their rows in time order; rows of one time keep their order."""
    order = np.argsort(columns[time_column], kind="stable")
    return {name: values[order] for name, values in columns.items()}


def right_align(sequences: list[list[int]], length: int = HISTORY_LENGTH) -> NDArray[np.int32]:
    """Return (M, `length`) ids with the last `length` of each sequence at the right, 0 before them."""
    table = np.zeros((len(sequences), length), dtype=np.int32)
    for row, sequence in enumerate(sequences):
        kept = sequence[-length:]
        if kept:
            table[row, length - len(kept) :] = kept
    return table
