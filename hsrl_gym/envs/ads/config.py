"""Sizes and behaviour of an advertising market, as settings that may come from JSON."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from hsrl_gym.envs.settings import whole_number
from hsrl_gym.errors import HsrlError


@dataclass(frozen=True)
class AdsConfig:
    """Settings of an `AdsMarket` and its `AdsWorld`. The defaults have about 100,000 ads on sale a day (Table 1).

    Attributes:
        n_ads: N, ads that will ever be, about twice as many as on sale on one day.
        n_campaigns: G; the ads of a campaign resemble each other, and start and end together.
        n_categories: C, branches of business.
        n_users: M, users that sessions are drawn from; the last fifth plays `simulator="eval"`.
        n_candidates: R, ads that recall hands to each request.
        n_days: length of the calendar, which then begins again.
        n_segments: S, groups of users with a recall table of their own.
        n_latent: D, dimension of content and interest.
        n_features: F, what is known of an ad on arrival; the first D + 2 mix content, sweetness and bid, the others
            are noise.
        n_profile: P, numeric.
        base: logit of a click on an average ad by an indifferent user.
        taste: weight of the match between interest and content.
        quality: standard deviation of the quality of ads, which all users share.
        sweetness: correlation of quality with sweetness, how much an ad looks like clickbait.
        weariness: logit lost on every ad per unit of the history's mean sweetness.
        drift: how far interest moves towards the clicked ads.
        satiation: logit lost on ads of a category that fills the whole window of H clicks.
        tolerated: share of the window that one category may fill before satiation begins.
        sale: logit of a conversion after a click on an average ad by an indifferent user.
        budget: median budget of a campaign, as a multiple of what it would spend until its planned end.

    Raises:
        HsrlError: for sizes that do not fit each other.
    """

    n_ads: int = 200_000
    n_campaigns: int = 25_000
    n_categories: int = 40
    n_users: int = 20_000
    n_candidates: int = 500
    n_days: int = 28
    n_segments: int = 64
    n_latent: int = 8
    n_features: int = 16
    n_profile: int = 16
    base: float = -4.0
    taste: float = 1.0
    quality: float = 1.0
    sweetness: float = 0.8
    weariness: float = 4.0
    drift: float = 1.0
    satiation: float = 8.0
    tolerated: float = 0.15
    sale: float = -4.0
    budget: float = 1.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.startswith("n_"):
                value = whole_number(f"market {field.name}", value, 1)
                object.__setattr__(self, field.name, value)
            if type(value) not in (int, float) or not isfinite(value):
                raise HsrlError(f"got {field.name}={value!r} of the advertising market, expected a finite number.")
        if self.budget <= 0.0 or abs(self.sweetness) > 1.0:
            raise HsrlError(
                f"got budget={self.budget}, sweetness={self.sweetness} of the advertising market, expected a budget "
                "above 0 and a correlation in -1..1."
            )
        if self.n_campaigns > self.n_ads or self.n_features < self.n_latent + 2 or self.n_users < 5:
            raise HsrlError(
                f"got {self.n_campaigns} campaigns of {self.n_ads} ads, {self.n_features} features of content in "
                f"{self.n_latent} dimensions, {self.n_users} users, expected an ad for each campaign, 2 features more "
                "than dimensions, and at least 5 users."
            )
        if self.n_days < 2:
            raise HsrlError(f"got n_days={self.n_days} of the advertising market, expected at least 2.")
