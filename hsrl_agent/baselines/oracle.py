"""Greedy oracle: shows the K items that the scoring user is most likely to click."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hsrl_agent.baselines.item_agent import ItemAgent
from hsrl_agent.method import Look, Method
from hsrl_agent.vec_env import bundle_of
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.users.responses import Respond

_PAIRS_AT_ONCE = 1 << 16  # of users and items; their vectors take a few MB


class GreedyOracle(ItemAgent):
    """The K live items with the highest click probability, taken from the user's model itself at each step.

    The user is the bundle's `eval` user unless `bind` names others. The oracle learns nothing and looks one step ahead:
    it does not know how clicks change later clicks. It shows the likeliest items under every reward rule, also under
    `sweet_point`, which pays most for a slate with one miss.

    See `ItemAgent` for the arguments.
    """

    def __init__(self, env: VecEnv, seed: int = 0, device: torch.device | str = "cpu") -> None:
        super().__init__(env, seed, device)
        self.user = bundle_of(env).simulators["eval"]
        self.envs: SlateVectorEnv | None = None

    def bind(self, envs: SlateVectorEnv) -> GreedyOracle:
        """Return an oracle of the users in `envs`, learned or true. It takes observations of `envs` only."""
        bound = copy.copy(self)
        bound.envs, bound.device = envs, envs.sessions.device
        bound.follow(envs.sessions.catalog)
        return bound

    @torch.no_grad()
    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0, the likeliest first."""
        respond, user, history = self._users(observation)
        live = torch.as_tensor(self.catalog.live_items, device=self.device)
        slates, at_once = [], max(_PAIRS_AT_ONCE // len(live), 1)
        for some, theirs in zip(user.split(at_once), history.split(at_once), strict=True):
            probability = respond(some, theirs, live.expand(len(some), -1))  # (b, N_live)
            slates.append(live[probability.topk(self.slate_size, dim=1).indices])
        return (torch.cat(slates) - 1).cpu().numpy(), None

    def _users(self, observation: dict[str, NDArray[Any]]) -> tuple[Respond, Tensor, Tensor]:
        """Return how the users respond, their numbers (B,) and their histories (B, H)."""
        if self.envs is not None:
            return self.envs.sessions.core.respond, self.envs.state.user, self.envs.state.history
        respond = self.user.prepared(torch.as_tensor(observation["profile"], device=self.device))
        history = torch.as_tensor(observation["history"], device=self.device).long()
        return respond, torch.arange(len(history), device=self.device), history


METHODS = [
    Method(
        name="oracle",
        label="Greedy oracle",
        agent_class=GreedyOracle,
        action_mode="item",
        rank=20,
        look=Look("#A3245B", "+"),
        learns_online=False,
        cost=300,
    )
]
