"""Semantic IDs of ads, from what is known of an ad on its arrival."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hsrl_gym.envs.ads.market import AdsMarket
from hsrl_gym.items.codebook import Codebook, fit_codebook

N_LEVELS = 3
VOCABULARY = 128


def ads_codebook(market: AdsMarket) -> Codebook:
    """Return the codebook of all ads that will ever be, with those of day 0 on sale: 3 levels of 128 tokens.

    Centroids and scales are fitted to the ads of day 0 and to their features alone: no ad's SID has seen a click on it,
    and no token has seen an ad of a later day. The others get their SIDs from the `Catalog` on the day they arrive.
    """
    live, n_rows = market.live(0), market.config.n_ads + 1
    known = market.features[np.concatenate([[0], live])]  # row 0 is padding
    fitted = fit_codebook(known, N_LEVELS, VOCABULARY, market.seed, n_restarts=1)
    codes = np.full((n_rows, N_LEVELS), -1, dtype=np.int32)
    codes[live] = fitted.codes[1:]
    features = ((market.features - fitted.mean) / fitted.scale).astype(np.float32)
    features[0] = 0.0
    return replace(fitted, codes=codes, features=features, vectors=features, priority=np.zeros(n_rows, np.float32))
