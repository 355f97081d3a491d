"""Logs of a synthetic world: its sessions under two logging policies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from hsrl_gym.data.log import HISTORY_LENGTH, InteractionLog
from hsrl_gym.envs.core import SessionParams, SlateCore
from hsrl_gym.users.large import is_large
from hsrl_gym.users.responses import by_profile
from hsrl_gym.users.synthetic import SyntheticWorld

_SESSIONS_AT_ONCE = 500
_DRAWS_AT_ONCE = 80  # slates' worth of a user's draws; half of them are spare, against repeats
_RETURNS = 0.7  # probability that a user who left comes back


def write_log(
    world: SyntheticWorld, n_slates: int = 60_000, exploration: float = 0.5, personal: float = 0.5
) -> InteractionLog:
    """Return logged sessions of the world's users, in time order; no slate repeats an item.

    Two logging policies choose the slates. The first has one distribution over items for everybody: a noisy guess of
    their quality, mixed with the uniform distribution. The second ranks items by a noisy guess of what the user likes
    on arrival; it does not see the session. A user who leaves comes back with probability 0.7 and remembers some of the
    latest clicks; otherwise a new user arrives.

    Args:
        world: who clicks.
        n_slates: rows of the log, M.
        exploration: share of uniform items under the first policy.
        personal: share of the sessions under the second policy. It fills histories with one topic, as good policies do,
            so a user model learned from the log has seen what that leads to.
    """
    generator = np.random.default_rng([world.seed, 1])
    config = world.config
    n_parallel = min(_SESSIONS_AT_ONCE, n_slates)
    profiles = torch.as_tensor(world.profiles)
    core = SlateCore(
        by_profile(world, profiles),
        profiles,
        torch.zeros(config.n_users, HISTORY_LENGTH, dtype=torch.long),
        SessionParams(config.slate_size),
    )
    state = core.initial(torch.arange(n_parallel), torch.zeros(n_parallel, dtype=torch.long))
    policies = _Draws if is_large(config.n_items) else _Race
    choose = policies(world, exploration, generator)
    session, ranked = np.arange(n_parallel), generator.random(n_parallel) < personal
    steps: list[tuple[NDArray[np.generic], ...]] = []
    while len(steps) * n_parallel < n_slates:
        slate = choose(state.user.numpy(), ranked)
        after, outcome = core.transition(state, torch.as_tensor(slate))
        steps.append((session.copy(), state.user.numpy(), state.history.numpy(), slate, outcome.clicks.numpy()))
        leaves = outcome.terminated | outcome.truncated
        session[leaves.numpy()] += n_parallel
        ranked = np.where(leaves, generator.random(n_parallel) < personal, ranked)
        arrived = core.replace_finished(after, leaves)
        returns = leaves & torch.as_tensor(generator.random(n_parallel) < _RETURNS)
        remembered = torch.as_tensor(generator.integers(0, HISTORY_LENGTH, size=(n_parallel, 1)))
        recent = torch.arange(HISTORY_LENGTH) >= HISTORY_LENGTH - remembered
        history = torch.where(returns.unsqueeze(1), after.history * recent, arrived.history)
        state = replace(arrived, user=torch.where(returns, after.user, arrived.user), history=history)
    columns = [np.concatenate(column)[:n_slates] for column in zip(*steps, strict=True)]
    return _as_log(world, *columns)


class _Race:
    """The two logging policies, of a small catalog: each item of each session draws a time, the first K are shown."""

    def __init__(self, world: SyntheticWorld, exploration: float, generator: np.random.Generator) -> None:
        self.generator, self.slate_size = generator, world.config.slate_size
        self.shown = _chances_for_all(world, exploration, generator)
        noise = np.exp(0.5 * generator.normal(size=world.config.n_items))
        self.appeal = world.appeal(torch.as_tensor(world.profiles)) * noise  # (users, N)

    def __call__(self, user: NDArray[np.int64], ranked: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return slates (B, K) for users (B,), by the second policy where `ranked` (B,)."""
        chance = np.where(ranked[:, None], self.appeal[user], self.shown)
        race = self.generator.exponential(size=chance.shape) / chance
        return np.argpartition(race, self.slate_size)[:, : self.slate_size] + 1


class _Draws:
    """The two logging policies, of a large catalog: the same slates in distribution as those of `_Race`.

    Items are drawn with replacement, repeats are left out. A user's draws are made many at a time, because their
    cumulative chances take a pass over the catalog.
    """

    def __init__(self, world: SyntheticWorld, exploration: float, generator: np.random.Generator) -> None:
        self.world, self.generator, self.slate_size = world, generator, world.config.slate_size
        self.shown = np.cumsum(_chances_for_all(world, exploration, generator))
        self.noise = np.exp(0.5 * generator.normal(size=world.config.n_items))
        self.waiting: dict[int, NDArray[np.int64]] = {}  # draws of a user that were not shown yet

    def __call__(self, user: NDArray[np.int64], ranked: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return slates (B, K) for users (B,), by the second policy where `ranked` (B,)."""
        slates = np.empty((len(user), self.slate_size), dtype=np.int64)
        for row, who in enumerate(user.tolist()):
            slate: NDArray[np.int64] = np.empty(0, dtype=np.int64)
            while len(slate) < self.slate_size:
                drawn = self._next(who) if ranked[row] else self._draw(self.shown, 2 * self.slate_size)
                slate = _first_of_each(np.append(slate, drawn))
            slates[row] = slate[: self.slate_size]
        return slates

    def _next(self, user: int) -> NDArray[np.int64]:
        """Return the next 2 K draws of a user by what the user likes on arrival."""
        waiting = self.waiting.get(user)
        if waiting is None or not len(waiting):
            appeal = self.world.appeal(torch.as_tensor(self.world.profiles[user : user + 1]))[0]
            waiting = self._draw(np.cumsum(appeal * self.noise), _DRAWS_AT_ONCE * self.slate_size)
        self.waiting[user] = waiting[2 * self.slate_size :]
        return waiting[: 2 * self.slate_size]

    def _draw(self, cumulative: NDArray[np.float64], n: int) -> NDArray[np.int64]:
        """Return n item ids, drawn with replacement."""
        place = np.searchsorted(cumulative, self.generator.random(n) * cumulative[-1], side="right")
        return np.minimum(place, len(cumulative) - 1) + 1  # the product may round up to the last sum


def _first_of_each(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct values in the order of their first appearance."""
    return drawn[np.sort(np.unique(drawn, return_index=True)[1])]


def _chances_for_all(world: SyntheticWorld, exploration: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the first policy's chances of the items (N,)."""
    guess = np.exp(1.5 * world.quality.numpy()[1:] + 0.5 * generator.normal(size=world.config.n_items))
    return (1.0 - exploration) * guess / guess.sum() + exploration / len(guess)


def _as_log(
    world: SyntheticWorld,
    session: NDArray[np.generic],
    user: NDArray[np.generic],
    history: NDArray[np.generic],
    slate: NDArray[np.generic],
    clicks: NDArray[np.generic],
) -> InteractionLog:
    topics = world.cluster.tolist()
    return InteractionLog(
        name=world.config.name,
        source=world.source,
        time=np.arange(len(slate)),
        user=session.astype(np.int64),
        profile=world.profiles[user],
        history=history.astype(np.int32),
        slate=slate.astype(np.int32),
        clicks=clicks.astype(np.uint8),
        item_features=world.item_features,
        item_labels=("", *(f"item {item}, topic {topics[item]}" for item in range(1, world.config.n_items + 1))),
    )
