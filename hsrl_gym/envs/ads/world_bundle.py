"""The advertising world as a bundle: codebook and user pools, made on first use and kept while the process lives."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.data.log import HISTORY_LENGTH, LoggedSlates
from hsrl_gym.envs.ads.codes import ads_codebook
from hsrl_gym.envs.ads.config import AdsConfig
from hsrl_gym.envs.ads.core import AdsCore
from hsrl_gym.envs.ads.market import AdsMarket
from hsrl_gym.envs.ads.recall import Recall
from hsrl_gym.envs.ads.world import AdsUsers, AdsWorld
from hsrl_gym.envs.core import SessionParams, SessionState
from hsrl_gym.progress import progress_bar
from hsrl_gym.users.profile import ProfileEncoder

_LOGGED_STEPS = 25  # requests of each user before day 0
_KEPT = 5  # of these are in the log
_GUESSES = 4  # candidates of which the logging policy shows the one it thinks best
_LONG = 50_000  # ads from which on making the world takes seconds


@dataclass(frozen=True)
class AdsWorldBundle:
    """Everything about an advertising world that does not move: market, users, and the bundle that agents read."""

    market: AdsMarket
    world: AdsWorld
    bundle: Bundle


@lru_cache(maxsize=4)
def open_ads(config: AdsConfig, seed: int) -> AdsWorldBundle:
    """Return the advertising world of these settings; the second call in a process returns the same object."""
    with progress_bar(f"make the advertising world of {config.n_ads} ads", 3, shown=config.n_ads >= _LONG) as bar:
        market = AdsMarket(config, seed)
        world = AdsWorld(market)
        bar.update()
        log = write_ads_log(market, world)
        bar.update()
        codebook = ads_codebook(market)
        bar.update()
    cut = _KEPT * (config.n_users - config.n_users // 5)  # rows come by users
    width = config.n_profile
    bundle = Bundle(
        name="ads",
        source=f"AdsWorld(seed={seed})",
        codebook=codebook,
        simulators={},  # the true users play; none were fitted
        users={"train": log.rows(slice(cut)), "eval": log.rows(slice(cut, None))},
        item_labels=_labels(market),
        profile_encoder=ProfileEncoder((), (False,) * width, (0.0,) * width, (1.0,) * width),
        provenance={"ads": asdict(config), "seed": seed},
    )
    return AdsWorldBundle(market, world, bundle)


def write_ads_log(market: AdsMarket, world: AdsWorld) -> LoggedSlates:
    """Return 5 logged requests of each user, from the last day before day 0; rows (5 M) come by users.

    The logging policy shows, of 4 random candidates, the one whose content and quality it guesses to be best; the guess
    is noisy. Each user makes 25 requests without a pause. What was clicked before a request is its history.
    """
    config = market.config
    profiles = torch.as_tensor(world.profiles)
    recall = Recall(market, world, profiles)
    recall.open_day(config.n_days - 1)
    params = SessionParams(1, max_steps=_LOGGED_STEPS + 1, initial_patience=10.0 * _LOGGED_STEPS)
    empty = torch.zeros(config.n_users, HISTORY_LENGTH, dtype=torch.int64)
    core = AdsCore(AdsUsers(world, profiles), empty, params, "mean_with_cost", market)
    generator = torch.Generator().manual_seed(market.seed)
    kept = torch.rand(config.n_users, _LOGGED_STEPS, generator=generator).argsort(1) < _KEPT
    everyone = torch.arange(config.n_users)
    state = replace(core.initial(everyone, torch.zeros_like(everyone)), user=everyone)
    rows: list[tuple[Tensor, ...]] = []
    for step in range(_LOGGED_STEPS):
        slate = _guess(world, recall, state, generator)
        after, outcome = core.transition(state, slate)
        user = kept[:, step].nonzero().squeeze(1)
        rows.append((user, state.history[user].to(torch.int32), slate[user].to(torch.int32), outcome.clicks[user]))
        state = after
    user, history, slates, clicks = (torch.cat(column) for column in zip(*rows, strict=True))
    order = user.argsort(stable=True)
    return LoggedSlates(
        profile=world.profiles[user[order].numpy()],
        history=history[order].numpy(),
        slate=slates[order].numpy(),
        clicks=clicks[order].to(torch.uint8).numpy(),
        row=np.arange(len(order)),
    )


def _guess(world: AdsWorld, recall: Recall, state: SessionState, generator: torch.Generator) -> Tensor:
    """Return the ads (B, 1) that the logging policy shows to all users of the world."""
    some = recall.candidates(state.user, state.stream, state.step, _GUESSES)
    guess = world(torch.as_tensor(world.profiles), torch.zeros_like(state.history[:, :1]), some)
    guess = guess + torch.randn(guess.shape, generator=generator)
    return some.gather(1, guess.argmax(1, keepdim=True))


def _labels(market: AdsMarket) -> tuple[str, ...]:
    """Return a name for each ad, by campaign and category."""
    campaigns, categories = market.campaign[1:].tolist(), market.category[1:].tolist()
    rows = enumerate(zip(campaigns, categories, strict=True), start=1)
    return ("", *(f"ad {ad}, campaign {campaign}, category {category}" for ad, (campaign, category) in rows))
