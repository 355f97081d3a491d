"""The myopic ceiling: who knows the click probabilities of the user that scores, and shows the likeliest K items."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hsrl_agent.baselines.simple import item_space
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.users.responses import Respond

_PAIRS_AT_ONCE = 1 << 16  # of users and items: their vectors take some MB


class Oracle:
    """The K live items that a user is likeliest to click, asked of the user's model itself at each step.

    Of the `eval` user, as long as nobody says who scores (`asking`). It learns nothing and looks one step ahead: what
    clicks do to later clicks it does not know. It shows the likeliest items under every reward rule, under
    `sweet_point` too, which pays most for a slate with a miss in it.
    """

    action_mode = "item"

    def __init__(self, env: VecEnv, seed: int = 0, device: str = "cpu") -> None:
        space = item_space(env)
        self.slate_size = space.slate_size
        self.user = env.get_attr("bundle")[0].simulators["eval"]
        self.device = torch.device(device)
        self.live = torch.as_tensor(space.codebook.live_items, device=self.device)
        self.envs: SlateVectorEnv | None = None

    def asking(self, envs: SlateVectorEnv) -> Oracle:
        """Return an oracle of the users who play in `envs`, learned or true ones; for observations of `envs` alone."""
        asked = copy.copy(self)
        asked.envs, asked.device = envs, envs.sessions.device
        asked.live = torch.as_tensor(envs.bundle.codebook.live_items, device=asked.device)
        return asked

    def learn(self, total_timesteps: int) -> Oracle:
        """Do nothing."""
        return self

    @torch.no_grad()
    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0, the likeliest first."""
        respond, user, history = self._users(observation)
        slates, at_once = [], max(_PAIRS_AT_ONCE // len(self.live), 1)
        for some, theirs in zip(user.split(at_once), history.split(at_once), strict=True):
            probability = respond(some, theirs, self.live.expand(len(some), -1))  # (b, N_live)
            slates.append(self.live[probability.topk(self.slate_size, dim=1).indices])
        return (torch.cat(slates) - 1).cpu().numpy(), None

    def _users(self, observation: dict[str, NDArray[Any]]) -> tuple[Respond, Tensor, Tensor]:
        """Return how the users respond, which of those they are (B,), and their histories (B, H)."""
        if self.envs is not None:
            return self.envs.sessions.core.respond, self.envs.state.user, self.envs.state.history
        respond = self.user.prepared(torch.as_tensor(observation["profile"], device=self.device))
        history = torch.as_tensor(observation["history"], device=self.device).long()
        return respond, torch.arange(len(history), device=self.device), history
