"""From ratings, one row each, to logged slates: those that were shown together, or those of Appendix A of the paper."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.data.log import HISTORY_LENGTH, InteractionLog, sort_by_time
from hsrl_gym.errors import HsrlError

logger = logging.getLogger(__name__)

SLATE_SIZE = 10  # where the log does not say what was shown together
LIKE_ABOVE = 3.0  # ratings above it are clicks
# What messages call a row of the log, and a click in it.
RATED, CLICKED = ("rating", "like"), ("row", "click")


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
        slate: (R,) int64, number of the slate that a rating belongs to, never that of another user's; None if unknown.
        words: what messages call a row and a click, `RATED` or `CLICKED`.
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
    slate: NDArray[np.int64] | None = None
    words: tuple[str, str] = RATED


@dataclass(frozen=True)
class _Cut:
    """R ratings cut into M slates of K.

    Attributes:
        slate_size: K.
        order: (R,) int64, the ratings by user, then in time; those of a slate stand together.
        kept: (R,) bool, in this order: whether a rating is in a slate, M * K times True.
        first: (M,) int64, in this order: where each slate begins, with a rating that is kept.
        time: (M,) int64, when each slate was shown.
        words: how many slates there are and what was left out.
    """

    slate_size: int
    order: NDArray[np.int64]
    kept: NDArray[np.bool_]
    first: NDArray[np.int64]
    time: NDArray[np.int64]
    words: str


def slates_from_ratings(ratings: Ratings, slate_size: int | None = None) -> InteractionLog:
    """Return the ratings as logged slates of one size.

    - If `ratings.slate` says what was shown together, that is a slate, its items in the order of the file. Slates with
      fewer items than `slate_size` are dropped; of longer ones the first items are kept. The default size is the most
      common one.
    - Otherwise each user's ratings in time order are cut into slates (Appendix A), by default of 10. Ratings with equal
      times keep the order of the file. A user's last, incomplete slate is dropped.
    - The history of a slate is the last 50 items that the user liked before its first rating, in dropped slates too.
    - The time of a slate is the time of its first rating, when it is shown. So a history never holds a like that is
      later than its row, on either side of a split by time. Responses to a slate may come later: with MovieLens-100K
      split at 80%, 76 of the 7,676 early slates have ratings after the split.
    - Items without a rating are left out. The ids of the others count from 1, in their order.

    Raises:
        HsrlError: if every rating is a like or none is, or if there are not enough ratings for one slate.
    """
    _check(ratings, slate_size)
    cut = _as_shown(ratings, ratings.slate, slate_size) if ratings.slate is not None else _by_user(ratings, slate_size)
    rated = np.unique(ratings.item)
    user, click = ratings.user[cut.order], ratings.click[cut.order]
    item = np.searchsorted(rated, ratings.item[cut.order]) + 1
    n_left_out = len(ratings.item_features) - len(rated)
    logger.info("%s: %s and %d items without a %s", ratings.source, cut.words, n_left_out, ratings.words[0])
    liked_before: NDArray[np.int64] = np.cumsum(click) - click
    first_of_user = np.searchsorted(user, user[cut.first], side="left")
    columns: dict[str, NDArray[Any]] = {
        "time": cut.time,
        "user": ratings.user_ids[user[cut.first]],
        "profile": ratings.profile[user[cut.first]],
        "history": windows(item[click], liked_before[first_of_user], liked_before[cut.first]),
        "slate": item[cut.kept].reshape(-1, cut.slate_size).astype(np.int32),
        "clicks": click[cut.kept].reshape(-1, cut.slate_size).astype(np.uint8),
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


def _by_user(ratings: Ratings, slate_size: int | None) -> _Cut:
    """Return each user's ratings in time order, cut into slates."""
    size = slate_size or SLATE_SIZE
    order = np.lexsort((ratings.time, ratings.user))  # stable: ratings of one user and time stay in order
    user = ratings.user[order]
    first_of_user = np.searchsorted(user, user, side="left")
    size_of_user = np.searchsorted(user, user, side="right") - first_of_user
    place = np.arange(len(user)) - first_of_user
    kept = place < size_of_user // size * size
    first = np.flatnonzero(kept & (place % size == 0))
    if len(first) == 0:
        raise HsrlError(
            f"{ratings.source}: got at most {size_of_user.max()} {ratings.words[0]}s of one user, expected {size} "
            "or more, enough for one slate; give a smaller slate_size."
        )
    slates = np.sort(ratings.item[order[kept]].reshape(-1, size), axis=1)
    if n_twice := int((np.diff(slates, axis=1) == 0).any(1).sum()):
        logger.warning(
            "%s: %d slates hold an item twice (several visits of one user); a column of slates, which the format csv "
            "reads (--slate), says what was shown together",
            ratings.source,
            n_twice,
        )
    dropped = int((~kept).sum())
    left_out = f"left out {dropped} of {len(user)} {ratings.words[0]}s (last, incomplete slates)"
    words = f"{len(first)} slates of {size}; {left_out}"
    return _Cut(size, order, kept, first, ratings.time[order[first]], words)


def _as_shown(ratings: Ratings, shown: NDArray[np.int64], slate_size: int | None) -> _Cut:
    """Return the slates whose numbers `shown` (R,) gives, those of one user in the order of their times."""
    _, earliest, slate, size = np.unique(shown, return_index=True, return_inverse=True, return_counts=True)
    time = np.full(len(size), np.iinfo(np.int64).max)
    np.minimum.at(time, slate, ratings.time)
    place_in_file = np.arange(len(slate))
    order = np.lexsort((place_in_file, earliest[slate], time[slate], ratings.user))
    wanted = slate_size or int(np.bincount(size).argmax())
    begin = np.flatnonzero(np.diff(slate[order], prepend=-1))
    length = size[slate[order[begin]]]
    place = np.arange(len(slate)) - np.repeat(begin, length)
    kept = (place < wanted) & (np.repeat(length, length) >= wanted)
    first = begin[length >= wanted]
    if len(first) == 0:
        raise HsrlError(
            f"{ratings.source}: got slates of at most {size.max()} items, expected {wanted}; give a smaller slate_size."
        )
    shorter, longer = int((length < wanted).sum()), int((length > wanted).sum())
    words = f"{len(first)} slates of {wanted}; left out {shorter} shorter ones, the ends of {longer} longer ones"
    return _Cut(wanted, order, kept, first, time[slate[order[first]]], words)


def _check(ratings: Ratings, slate_size: int | None) -> None:
    if slate_size is not None and slate_size < 1:
        raise HsrlError(f"slate_size is {slate_size}, expected at least 1.")
    if ratings.click.all() or not ratings.click.any():
        row, like = ratings.words
        advice = "keep the rows that were clicked and those that were not"
        if ratings.words == RATED:
            advice = "change what counts as a like, or add items that were shown and not liked"
        raise HsrlError(
            f"{ratings.source}: every one of the {len(ratings.click)} {row}s is {'a' if ratings.click.all() else 'no'} "
            f"{like}, expected both: a user model is learned from clicks and misses; {advice}."
        )
