"""Two lower bounds: uniformly random slates, and the same most clicked items for everybody."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hsrl_agent.baselines.item_agent import ItemAgent
from hsrl_agent.method import Look, Method
from hsrl_agent.vec_env import train_pool
from hsrl_gym.errors import HsrlError


class RandomSlates(ItemAgent):
    """K live items drawn uniformly, without repeats, at each step. See `ItemAgent` for the arguments."""

    def __init__(self, env: VecEnv, seed: int = 0, device: torch.device | str = "cpu") -> None:
        super().__init__(env, seed, device)
        self.generator = np.random.default_rng(seed)

    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0; random even if `deterministic`."""
        live = self.catalog.live_items
        race = self.generator.random((len(observation["profile"]), len(live)))
        return live[np.argpartition(race, self.slate_size - 1)[:, : self.slate_size]] - 1, None

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {}, {"seed": self.seed, "generator": self.generator.bit_generator.state}

    @classmethod
    def _restore(
        cls, env: VecEnv, device: torch.device | str, tensors: dict[str, Tensor], settings: dict[str, Any]
    ) -> RandomSlates:
        agent = cls(env, settings["seed"], device)
        agent.generator.bit_generator.state = settings["generator"]
        return agent


class Popularity(ItemAgent):
    """The K live items that were clicked most often in the train pool's log. See `ItemAgent` for the arguments."""

    def __init__(self, env: VecEnv, seed: int = 0, device: torch.device | str = "cpu") -> None:
        super().__init__(env, seed, device)
        self.users = train_pool(env)
        self.clicks: NDArray[np.float64] | None = None

    def learn(self, total_timesteps: int) -> Popularity:
        """Count the clicks in the logged slates of the train pool; `total_timesteps` is ignored.

        Items that are not on sale at the start have none.
        """
        slates, clicks = self.users.slate.ravel(), self.users.clicks.ravel()
        known = self.codebook.codes[:, 0] >= 0
        self.clicks = np.where(known, np.bincount(slates, weights=clicks, minlength=len(known)), 0.0)
        return self

    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0: the same slate for everybody.

        Raises:
            HsrlError: before `learn`.
        """
        if self.clicks is None:
            raise HsrlError("predict() came before learn(); call learn() first.")
        live = self.catalog.live_items
        slate = live[np.argsort(-self.clicks[live], kind="stable")][: self.slate_size] - 1
        return np.tile(slate, (len(observation["profile"]), 1)), None

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if self.clicks is None:
            raise HsrlError("save() came before learn(); call learn() first.")
        return {"clicks": torch.as_tensor(self.clicks)}, {}

    @classmethod
    def _restore(
        cls, env: VecEnv, device: torch.device | str, tensors: dict[str, Tensor], settings: dict[str, Any]
    ) -> Popularity:
        agent = cls(env, device=device)
        agent.clicks = tensors["clicks"].cpu().numpy()
        return agent


METHODS = [
    Method(
        name="random",
        label="Random",
        agent_class=RandomSlates,
        action_mode="item",
        rank=0,
        look=Look("#999999", "."),
        learns_online=False,
        cost=50,
    ),
    Method(
        name="popularity",
        label="Popularity",
        agent_class=Popularity,
        action_mode="item",
        rank=10,
        look=Look("#000000", "x"),
        learns_online=False,
        cost=50,
    ),
]
