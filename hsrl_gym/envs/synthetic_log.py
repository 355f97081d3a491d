"""Logs of a synthetic world: its sessions under two logging policies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from hsrl_gym.data.log import HISTORY_LENGTH, InteractionLog
from hsrl_gym.envs.core import SessionParams, SlateCore
from hsrl_gym.users.responses import by_profile
from hsrl_gym.users.synthetic import SyntheticWorld

_SESSIONS_AT_ONCE = 500
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
    guess = np.exp(1.5 * world.quality.numpy()[1:] + 0.5 * generator.normal(size=config.n_items))
    shown = (1.0 - exploration) * guess / guess.sum() + exploration / len(guess)
    appeal = world.appeal(profiles) * np.exp(0.5 * generator.normal(size=config.n_items))  # (users, N)
    session, ranked = np.arange(n_parallel), generator.random(n_parallel) < personal
    steps: list[tuple[NDArray[np.generic], ...]] = []
    while len(steps) * n_parallel < n_slates:
        chance = np.where(ranked[:, None], appeal[state.user], shown)
        race = generator.exponential(size=chance.shape) / chance
        slate = np.argpartition(race, config.slate_size)[:, : config.slate_size] + 1
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
