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

    The day is the same for all environments of a batch. A step counts by the share of them that take it, which is all
    but those that are being reset (`autoreset_mode="NextStep"`).

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
        self.day, self._elapsed = -1, 0  # no day is open yet
        self._open(self.first)

    def restart(self) -> None:
        """Return to the first day."""
        self._elapsed = 0
        if self.day != self.first:
            self.catalog.restart()
            self._open(self.first)

    def pass_step(self, n_environments: int = 1, n_playing: int | None = None) -> dict[str, NDArray[np.intp]]:
        """Count a step that `n_playing` of the environments took, None for all of them.

        After the last one of a day, open the next and return what came and went, else nothing. See
        `AdsMarket.changes`.
        """
        self._elapsed += n_environments if n_playing is None else n_playing
        if self._elapsed < self.steps * n_environments:
            return {}
        self._elapsed -= self.steps * n_environments
        return self.end()

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
