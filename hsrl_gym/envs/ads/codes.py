"""Semantic IDs of ads, from what is known of an ad on its arrival."""

from __future__ import annotations

import numpy as np

from hsrl_gym.envs.ads.market import AdsMarket
from hsrl_gym.items.codebook import Codebook, fit_codebook

N_LEVELS = 3
VOCABULARY = 128


def ads_codebook(market: AdsMarket) -> Codebook:
    """Return the codebook of all ads that will ever be: N_LEVELS levels of at least VOCABULARY tokens.

    It quantizes features alone, and so has seen no click. Every ad keeps one SID, its own, for good: an ad that is off
    sale keeps it reserved, and no SID ever means another ad.
    """
    n_ads = market.config.n_ads
    vocabulary = VOCABULARY
    while vocabulary**N_LEVELS < n_ads:
        vocabulary *= 2
    return fit_codebook(market.features, N_LEVELS, vocabulary, market.seed, n_restarts=1, priority=np.zeros(n_ads + 1))
