"""The two floors: uniformly random slates, and the same most clicked items for everybody."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.errors import HsrlError


def item_space(env: VecEnv) -> SlateSpace:
    """Return the item space of `env`.

    Raises:
        HsrlError: if the environment has another action mode.
    """
    space = env.action_space
    n_items = len(space.codebook.codes) - 1 if isinstance(space, SlateSpace) else 0
    if not isinstance(space, SlateSpace) or space.nvec.tolist() != [n_items] * space.slate_size:
        raise HsrlError(f'got the action space {space}, expected an hsrl_gym environment with action_mode="item".')
    return space


class RandomSlates:
    """K live items drawn uniformly, without repeats, at each step."""

    action_mode = "item"

    def __init__(self, env: VecEnv, seed: int = 0) -> None:
        space = item_space(env)
        self.slate_size, self.live = space.slate_size, space.codebook.live_items
        self.generator = np.random.default_rng(seed)

    def learn(self, total_timesteps: int) -> RandomSlates:
        """Do nothing."""
        return self

    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0."""
        race = self.generator.random((len(observation["profile"]), len(self.live)))
        return self.live[np.argpartition(race, self.slate_size - 1)[:, : self.slate_size]] - 1, None


class Popularity:
    """The K items that the logged slates of the bundle's train pool clicked most often."""

    action_mode = "item"

    def __init__(self, env: VecEnv, seed: int = 0) -> None:
        space = item_space(env)
        self.slate_size, self.codebook = space.slate_size, space.codebook
        self.users = env.get_attr("bundle")[0].users["train"]
        self.slate: NDArray[np.int64] | None = None

    def learn(self, total_timesteps: int) -> Popularity:
        """Count clicks in the logged slates of the train pool."""
        clicks = np.bincount(
            self.users.slate.ravel(), weights=self.users.clicks.ravel(), minlength=len(self.codebook.codes)
        )
        live = self.codebook.live_items
        self.slate = live[np.argsort(-clicks[live], kind="stable")][: self.slate_size] - 1
        return self

    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0: the same slate for everybody."""
        if self.slate is None:
            raise HsrlError("predict() came before learn(); call learn() first.")
        return np.tile(self.slate, (len(observation["profile"]), 1)), None
