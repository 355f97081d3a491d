"""The days of the advertising market: what is on sale, and what is recalled, moves at the end of a day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.envs.ads.market import AdsMarket
from hsrl_gym.envs.ads.recall import Recall
from hsrl_gym.envs.settings import whole_number
from hsrl_gym.items.catalog import Catalog


class AdsDays:
    """Counts steps, and opens the next day of market, catalog and recall after the last step of a day.

    Every environment of a batch takes the same steps, so the day is the same for all of them.

    Attributes:
        day: today; counted on after the end of the calendar.
    """

    def __init__(self, market: AdsMarket, catalog: Catalog, recall: Recall, steps: int, first: int) -> None:
        """Open day `first`; a day has a number of `steps`.

        Raises:
            HsrlError: for a day without a step, or before day 0.
        """
        self.steps, self.first = whole_number("steps_per_day", steps, 1), whole_number("start_day", first, 0)
        self.market, self.catalog, self.recall = market, catalog, recall
        self.day, self._n_steps = -1, 0  # no day is open yet
        self._open(self.first)

    def restart(self) -> None:
        """Return to the first day."""
        self._n_steps = 0
        if self.day != self.first:
            self.catalog.restart()
            self._open(self.first)

    def snapshot(self) -> dict[str, NDArray[np.int64]]:
        """Return the day and the steps since the first one, as arrays for `restore`."""
        return {"day": np.array(self.day), "n_steps": np.array(self._n_steps)}

    def restore(self, arrays: dict[str, NDArray[np.int64]]) -> None:
        """Return to the day of a `snapshot`; the catalog has a snapshot of its own."""
        self.day, self._n_steps = int(arrays["day"]), int(arrays["n_steps"])
        self.recall.open_day(self.day)

    def pass_step(self) -> dict[str, NDArray[np.intp]]:
        """Count a step; after the last one of a day, open the next and return what came and went, else nothing.

        See `AdsMarket.changes`.
        """
        self._n_steps += 1
        return {} if self._n_steps % self.steps else self.end()

    def end(self) -> dict[str, NDArray[np.intp]]:
        """Open the next day, and return what came and went."""
        self._open(self.day + 1)
        return self.market.changes(self.day)

    def _open(self, day: int) -> None:
        before, now = self.catalog.live_items, self.market.live(day)
        gone, new = np.setdiff1d(before, now, assume_unique=True), np.setdiff1d(now, before, assume_unique=True)
        if len(gone) or len(new):
            self.catalog.change(retire=gone, arrive=new)
        self.recall.open_day(day)
        self.day = day
