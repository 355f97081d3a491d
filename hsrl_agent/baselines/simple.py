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
        self.live = self.codebook.live_items
        self.generator = np.random.default_rng(seed)

    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0; random even if `deterministic`."""
        race = self.generator.random((len(observation["profile"]), len(self.live)))
        return self.live[np.argpartition(race, self.slate_size - 1)[:, : self.slate_size]] - 1, None

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
        self.slate: NDArray[np.int64] | None = None

    def learn(self, total_timesteps: int) -> Popularity:
        """Count the clicks in the logged slates of the train pool; `total_timesteps` is ignored."""
        clicks = np.bincount(
            self.users.slate.ravel(), weights=self.users.clicks.ravel(), minlength=len(self.codebook.codes)
        )
        live = self.codebook.live_items
        self.slate = live[np.argsort(-clicks[live], kind="stable")][: self.slate_size] - 1
        return self

    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0: the same slate for everybody.

        Raises:
            HsrlError: before `learn`.
        """
        if self.slate is None:
            raise HsrlError("predict() came before learn(); call learn() first.")
        return np.tile(self.slate, (len(observation["profile"]), 1)), None

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if self.slate is None:
            raise HsrlError("save() came before learn(); call learn() first.")
        return {"slate": torch.as_tensor(self.slate)}, {}

    @classmethod
    def _restore(
        cls, env: VecEnv, device: torch.device | str, tensors: dict[str, Tensor], settings: dict[str, Any]
    ) -> Popularity:
        agent = cls(env, device=device)
        agent.slate = tensors["slate"].cpu().numpy()
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
