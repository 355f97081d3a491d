"""The true users of the advertising market: who clicks and who buys, by a formula."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from hsrl_gym.envs.ads.market import AdsMarket
from hsrl_gym.users.clicked import Items, effects_of_clicks

_BAIT = 0.5  # logit of a conversion lost per unit of sweetness: clickbait sells badly
_TABLES = ("content", "sweet", "quality", "offer", "category", "to_interest")


class AdsWorld:
    """Users with interests that drift with the clicks. They tire of a repeated category and of clickbait.

    With z_i the content of ad i, q_i its quality, s_i its sweetness, c(i) its category, o_i the campaign's offer, h the
    history (at most H clicked ads), n its length and m = n / (n + 10), the logit of a click is

        base + taste <u(profile) + drift m mean_h z, z_i> + q_i - weariness m mean_h s
             - satiation max(0, share of c(i) in the window of H - tolerated),

    and after a click, the logit of a conversion is

        sale + taste <u(profile), z_i> + o_i - s_i / 2.

    The first is the formula of `SyntheticWorld`. Sweet ads are clicked more, sell less and lower all later clicks.

    The world is a `ClickModel` of the market's users and ads.

    Attributes:
        profiles: (M, P) float32, numpy.
        to_interest: (P, D) float32, u(profile) = profile @ to_interest.
    """

    def __init__(self, market: AdsMarket) -> None:
        """Draw the users of a market, from its seed."""
        config = market.config
        generator = np.random.default_rng([market.seed, 1])
        self.config = config
        self.profiles = generator.normal(size=(config.n_users, config.n_profile)).clip(-5.0, 5.0).astype(np.float32)
        to_interest = generator.normal(size=(config.n_profile, config.n_latent)) / np.sqrt(config.n_profile)
        self.to_interest = torch.as_tensor(to_interest, dtype=torch.float32)
        self.content = torch.as_tensor(market.content)  # (N + 1, D)
        self.sweet = torch.as_tensor(market.sweet)  # (N + 1,)
        self.quality = torch.as_tensor(market.quality)  # (N + 1,)
        self.offer = torch.as_tensor(market.offer)  # (N + 1,)
        self.category = torch.as_tensor(market.category)  # (N + 1,)

    def __call__(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K); see `ClickModel`."""
        config = self.config
        ads = Items(self.content, self.sweet, self.category, config.n_categories)
        drift, mood, fatigue = effects_of_clicks(config, ads, history, slate)
        match = self._match(profile @ self.to_interest + drift, slate)
        return config.base + config.taste * match + self.quality[slate] + mood - fatigue

    def conversion(self, profile: Tensor, slate: Tensor) -> Tensor:
        """Return the logits (B, K) of a conversion of users with profiles (B, P) who clicked on ads (B, K)."""
        match = self._match(profile @ self.to_interest, slate)
        return self.config.sale + self.config.taste * match + self.offer[slate] - _BAIT * self.sweet[slate]

    def _match(self, interest: Tensor, slate: Tensor) -> Tensor:
        """Return <interest (B, D), content of slate (B, K)>, (B, K), summed in the same order for any B and K."""
        return (interest.unsqueeze(1) * self.content[slate]).sum(2)

    def to(self, device: torch.device) -> AdsWorld:
        """Return the same world with its tables on `device`."""
        other = copy.copy(self)
        for name in _TABLES:
            setattr(other, name, getattr(self, name).to(device))
        return other


class AdsUsers:
    """How the users of a pool respond; a `Respond` that can be pickled, and knows conversions."""

    def __init__(self, world: AdsWorld, profiles: Tensor) -> None:
        """Take the world and the profiles (M, P) of the pool, whose device both will use."""
        self.world, self.profiles = world.to(profiles.device), profiles

    def __call__(self, user: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click probabilities (B, K) of rows `user` (B,), with histories (B, H), for slates (B, K)."""
        return torch.sigmoid(self.world(self.profiles[user], history, slate))

    def conversion(self, user: Tensor, slate: Tensor) -> Tensor:
        """Return the probabilities (B, K) of a conversion after a click."""
        return torch.sigmoid(self.world.conversion(self.profiles[user], slate))
