"""Recall: the few hundred ads that each request may show.

Letters: B users, R candidates, S segments of users, W ads in the table of a segment.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hsrl_gym.envs.ads.market import AdsMarket
from hsrl_gym.envs.ads.world import AdsWorld
from hsrl_gym.envs.core import _noise
from hsrl_gym.errors import HsrlError

_TABLE = 4  # ads in a segment's table, in units of R, at least where so many are on sale
_EXPLORED = 0.25  # share of the table that is drawn from all ads on sale
_OFFSET, _STRIDE = 3, 4  # slots of the noise; 1 is for the click, 2 for the conversion


class Recall:
    """Candidates of a day, by content and popularity.

    Each morning, every segment of users gets a table of W ads on sale. Three quarters of it have the largest

        taste <u of the segment, z_i> + age / (age + 1) q_i,

    where the age in days says how well the ad's quality is known: an ad that came today has no popularity yet. The
    last quarter is drawn uniformly from all ads on sale, so that every ad has a chance. A segment is the users whose
    interest on arrival is nearest to that of one of S users.

    A request takes every t-th ad of its segment's table from a random place on, t random and odd. W is a power of two,
    so no ad comes twice, and requests cost two random numbers instead of a ranking.

    Attributes:
        segment: (M,) int64, of each user of the pool.
        table: (S, W) int64, ads on sale today.
    """

    def __init__(self, market: AdsMarket, world: AdsWorld, profiles: Tensor) -> None:
        """Sort the pool's users, with `profiles` (M, P), into segments; `open_day` must follow.

        Raises:
            HsrlError: if too few ads are on sale on some day.
        """
        config, device = market.config, profiles.device
        n_live = min(len(market.live(day)) for day in range(config.n_days))
        if n_live < _power_of_two(config.n_candidates):
            raise HsrlError(
                f"got {n_live} ads on sale on some day, expected at least {_power_of_two(config.n_candidates)} for "
                f"{config.n_candidates} candidates; raise n_ads or n_campaigns."
            )
        self.market = market
        everyone = torch.as_tensor(world.profiles) @ world.to_interest.cpu()
        self._centres = everyone[: config.n_segments]  # (S, D); users are in random order
        interest = profiles.cpu() @ world.to_interest.cpu()
        self.segment = torch.cdist(interest, self._centres).argmin(1).to(device)
        self._content = torch.as_tensor(market.content)
        self._places = torch.arange(config.n_candidates, device=device)
        self.table = torch.empty(0, dtype=torch.int64, device=device)

    def open_day(self, day: int) -> None:
        """Make the tables of a day."""
        config, market = self.market.config, self.market
        live = market.live(day)
        width = _power_of_two(_TABLE * config.n_candidates)
        while width > len(live):
            width //= 2
        age = market.age(day)[live]
        known = age / (age + 1.0) * market.quality[live]
        generator = np.random.default_rng([market.seed, 2, day % config.n_days])
        # Explored ads come first in every segment's ranking: so no ad is in a table twice.
        known[generator.permutation(len(live))[: int(_EXPLORED * width)]] = np.inf
        scores = config.taste * self._centres @ self._content[live].T + torch.as_tensor(known, dtype=torch.float32)
        best = scores.topk(width, dim=1, sorted=False).indices  # (S, W)
        self.table = torch.as_tensor(live)[best].to(self.table.device)

    def candidates(self, user: Tensor, stream: Tensor, step: Tensor, most: int | None = None) -> Tensor:
        """Return the candidates (B, R) int64, all different, of requests (B,); see `SessionState`.

        Only the first `most` of them, if given.
        """
        slots = torch.tensor([_OFFSET, _STRIDE], device=user.device)
        offset, stride = _noise(stream, step, slots).unsqueeze(2).unbind(1)  # (B, 1)
        at = (offset + (stride | 1) * self._places[:most]) & (self.table.shape[1] - 1)  # (B, R)
        return self.table[self.segment[user].unsqueeze(1), at]


def _power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()
