"""The methods of the tables by name: which action mode each needs and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from stable_baselines3.common.vec_env import VecEnv

from hsrl_agent.baselines import (
    HAC,
    PGRA,
    Oracle,
    Popularity,
    RandomSlates,
    Supervised,
    make_a2c,
    make_ddpg,
    make_hac_from_log,
    make_ppo,
    make_td3,
)
from hsrl_agent.hsrl import HSRL
from hsrl_gym.errors import unknown_name


class Agent(Protocol):
    """What a table needs of an agent."""

    def learn(self, total_timesteps: int) -> Any:
        """Learn from `total_timesteps` user-steps."""
        ...

    def predict(self, observation: Any, *, deterministic: bool = True) -> Any:
        """Return actions (B, n) of observations, and a state that is not used."""
        ...


@dataclass(frozen=True)
class Method:
    """A row of a table.

    Attributes:
        action_mode: of the environment it acts in.
        make: from (env, seed, device, settings) to an agent; settings are keyword arguments of the method.
        learns_online: whether it learns by acting, so that a learning curve says something.
    """

    action_mode: str
    make: Callable[[VecEnv, int, str, dict[str, Any]], Agent]
    learns_online: bool = True


METHODS: dict[str, Method] = {
    "random": Method("item", lambda env, seed, device, settings: RandomSlates(env, seed, **settings), False),
    "popularity": Method("item", lambda env, seed, device, settings: Popularity(env, seed, **settings), False),
    "oracle": Method("item", lambda env, seed, device, settings: Oracle(env, seed, device, **settings), False),
    "sl": Method("item", lambda env, seed, device, settings: Supervised(env, seed, device, **settings), False),
    "a2c": Method("item", lambda env, seed, device, settings: make_a2c(env, seed, device, **settings)),
    "a2c-log": Method(
        "item", lambda env, seed, device, settings: make_a2c(env, seed, device, from_log=True, **settings)
    ),
    "ddpg": Method("hyper", lambda env, seed, device, settings: make_ddpg(env, seed, device, **settings)),
    "td3": Method("hyper", lambda env, seed, device, settings: make_td3(env, seed, device, **settings)),
    "pgra": Method(
        "item", lambda env, seed, device, settings: PGRA("PGRAPolicy", env, seed=seed, device=device, **settings)
    ),
    "hac": Method(
        "item", lambda env, seed, device, settings: HAC("HACPolicy", env, seed=seed, device=device, **settings)
    ),
    "hac-log": Method("item", lambda env, seed, device, settings: make_hac_from_log(env, seed, device, **settings)),
    "ppo": Method("sid", lambda env, seed, device, settings: make_ppo(env, seed, device, **settings)),
    "hsrl-scratch": Method(  # as A2C without a warm start is to A2C with one
        "sid",
        lambda env, seed, device, settings: HSRL(
            "HSRLPolicy", env, seed=seed, device=device, **{"warm_start": 0, **settings}
        ),
    ),
    "hsrl-items": Method(  # the same algorithm in item space, what an honest actor-critic without SIDs gets
        "sid",
        lambda env, seed, device, settings: HSRL(
            "HSRLPolicy", env, seed=seed, device=device, **{"semantic_ids": False, **settings}
        ),
    ),
    "hsrl": Method(
        "sid", lambda env, seed, device, settings: HSRL("HSRLPolicy", env, seed=seed, device=device, **settings)
    ),
    "hsrl-paper": Method(
        "sid", lambda env, seed, device, settings: HSRL.paper("HSRLPolicy", env, seed=seed, device=device, **settings)
    ),
}


def find_method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        HsrlError: with the nearest known names.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]
