"""The advertising market: campaigns with ads, bids, budgets, and the days on which they run.

Letters: N ads, G campaigns, C categories, D content dimensions, F features, T days of the calendar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.envs.ads.config import AdsConfig

_SHORTEST = 0.25  # planned length of a campaign, as a share of the calendar; the longest is nearly all of it
_SPREAD = 0.6  # of log budgets
_WEEKEND = 0.3  # how much busier the busiest day of a week is than the average one


class AdsMarket:
    """Who advertises what, for how much, and when. Row 0 of every table of ads is padding.

    A campaign starts on a day of the calendar and ends on its planned last day, or on the day when its budget is spent.
    What it spends on a day is expected, not simulated: bid x clicks that all users of the platform make on its ads.
    One environment plays a handful of these users, whose clicks do not move a budget. So the calendar depends on the
    seed alone: environments of any number, single or in a batch, and every policy see the same market.

    The calendar is a circle: T days after its start a campaign runs again, with a fresh budget.

    Attributes:
        content: (N + 1, D) float32, z; near that of the campaign, which is near that of the category.
        sweet: (N + 1,) float32, s.
        quality: (N + 1,) float32, q.
        offer: (N + 1,) float32, o, how well the campaign's offer sells.
        category: (N + 1,) int64.
        campaign: (N + 1,) int64; -1 for padding.
        bid: (N + 1,) float32, price of a click, 1 on average.
        value: (N + 1,) float32, worth of a conversion to the advertiser, 1 on average.
        features: (N + 1, F) float32, raw; what is known on arrival.
        start: (N + 1,) int64, first day.
        n_days_live: (N + 1,) int64, days until the ad is taken off, at least 1 and below T; 0 for padding.
        spent: (N + 1,) bool, whether the campaign ends because its budget is spent.
    """

    def __init__(self, config: AdsConfig, seed: int = 0) -> None:
        """Draw the market from `seed`."""
        self.config, self.seed = config, seed
        generator = np.random.default_rng(seed)
        n_ads, n_campaigns, width = config.n_ads, config.n_campaigns, config.n_latent
        centres = generator.normal(size=(config.n_categories, width))
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        crowd = generator.dirichlet(np.full(config.n_categories, 3.0))
        category = generator.choice(config.n_categories, size=n_campaigns, p=crowd)
        about = centres[category] + 0.3 * generator.normal(size=(n_campaigns, width))  # (G, D)
        # Campaigns differ much in size; each has at least one ad.
        share = generator.dirichlet(np.full(n_campaigns, 1.0))
        more = generator.choice(n_campaigns, size=n_ads - n_campaigns, p=share)
        campaign = np.sort(np.concatenate([np.arange(n_campaigns), more]))
        self.campaign = np.concatenate([[-1], campaign])
        self.category = category[self.campaign]
        content = about[campaign] + 0.15 * generator.normal(size=(n_ads, width))
        sweet = (generator.normal(size=n_campaigns)[campaign] + generator.normal(size=n_ads)) / np.sqrt(2.0)
        plain = generator.normal(size=n_ads)
        quality = config.quality * (config.sweetness * sweet + np.sqrt(1.0 - config.sweetness**2) * plain)
        offer = 0.7 * generator.normal(size=n_campaigns)
        value = np.exp(0.5 * generator.normal(size=n_campaigns))
        # Advertisers bid about what a click is worth to them: value x conversion rate.
        bid = value * _logistic(config.sale + offer) * np.exp(0.2 * generator.normal(size=n_campaigns))
        bid, value = bid / bid[campaign].mean(), value / value[campaign].mean()
        self.content, self.sweet, self.quality = (_padded(table) for table in (content, sweet, quality))
        self.offer, self.bid, self.value = (_padded(table[campaign]) for table in (offer, bid, value))
        visible = np.column_stack([content, sweet, np.log(bid)[campaign]])
        mixing = generator.normal(size=(visible.shape[1], visible.shape[1]))
        features = generator.normal(size=(n_ads, config.n_features)).astype(np.float32)
        features[:, : visible.shape[1]] = visible @ mixing + 0.05 * generator.normal(size=visible.shape)
        self.features = _padded(features)
        start = generator.integers(config.n_days, size=n_campaigns)
        planned = generator.integers(
            max(round(_SHORTEST * config.n_days), 1), config.n_days, size=n_campaigns
        )  # days, below T
        budget = config.budget * planned * np.exp(_SPREAD * generator.normal(size=n_campaigns))  # in average days
        lasts = days_of_budget(start, budget, config.n_days)
        self.start = start[self.campaign]
        self.n_days_live = np.minimum(planned, lasts)[self.campaign]
        self.n_days_live[0] = 0
        self.spent = (lasts < planned)[self.campaign]
        self.spent[0] = False

    def live(self, day: int) -> NDArray[np.intp]:
        """Return the ids of the ads that run on a day, ascending; days are counted on after the end of the calendar."""
        return np.flatnonzero(self.age(day) < self.n_days_live)

    def age(self, day: int) -> NDArray[np.int64]:
        """Return for each ad the days since its campaign last started, (N + 1,) in 0..T - 1."""
        return (day - self.start) % self.config.n_days

    def changes(self, day: int) -> dict[str, NDArray[np.intp]]:
        """Return the ids that came and went on the way from the day before: arrived, retired, and of these spent."""
        before, now = self.live(day - 1), self.live(day)
        retired = np.setdiff1d(before, now, assume_unique=True)
        return {
            "arrived": np.setdiff1d(now, before, assume_unique=True),
            "retired": retired,
            "spent": retired[self.spent[retired]],
        }


def days_of_budget(start: NDArray[np.int64], budget: NDArray[np.floating], n_days: int) -> NDArray[np.int64]:
    """Return the days (G,) that budgets last; the day on which the budget runs out is the last one.

    A campaign spends pace(t) on day t, in units of its average day; the pace has the rhythm of a week.

    Args:
        start: (G,) first days.
        budget: (G,) in average days.
        n_days: T. A budget that lasts longer gives T.
    """
    pace = 1.0 + _WEEKEND * np.sin(2.0 * np.pi * np.arange(2 * n_days) / 7.0)
    total = np.concatenate([[0.0], pace.cumsum()])
    wanted = total[start] + budget  # total spending at which it is spent
    return np.clip(np.searchsorted(total, wanted) - start, 1, n_days)


def _padded(table: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a table of N ads with a row of zeros before it."""
    return np.concatenate([np.zeros((1, *table.shape[1:])), table]).astype(np.float32)


def _logistic(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-logit))
