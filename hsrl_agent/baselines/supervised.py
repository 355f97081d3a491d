"""SL: SASRec fitted to the logged clicks, showing the K items it holds most likely to be clicked (4.1.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hsrl_agent.baselines.simple import item_space
from hsrl_agent.encoder import SASRec
from hsrl_agent.from_log import click_loss, fit
from hsrl_agent.networks import ItemNetwork, take_weights
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError


class Supervised:
    """Binary cross-entropy on every shown item of the logged slates that the bundle's train pool keeps.

    It never acts to learn. Stopped where the log-loss on the latest 10% of the pool is lowest, after two epochs without
    a better one. `total_timesteps` does not matter to it.
    """

    action_mode = "item"

    def __init__(
        self,
        env: VecEnv,
        seed: int = 0,
        device: str = "cpu",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        batch_size: int = 256,
        max_epochs: int = 8,
        dropout: float = 0.1,
    ) -> None:
        space = item_space(env)
        self.slate_size = space.slate_size
        self.users = env.get_attr("bundle")[0].users["train"]
        self.settings: dict[str, Any] = {
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "batch_size": batch_size,
            "max_epochs": max_epochs,
        }
        self.device = torch.device(device)
        self.seed = seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            n_profile, history_length = self.users.profile.shape[1], self.users.history.shape[1]
            features = torch.as_tensor(space.codebook.item_inputs)
            encoder = SASRec(features, n_profile, history_length, dropout=dropout)
            is_live = torch.as_tensor(space.codebook.codes[1:, 0] >= 0)
            self.network = ItemNetwork(encoder, is_live).to(self.device)
        self.fitted = False

    def learn(self, total_timesteps: int) -> Supervised:
        """Fit the network to the logged slates of the train pool."""
        log = self.users.tensors(self.device)
        fit(self.network, self._loss, log, seed=self.seed, **self.settings)
        self.fitted = True
        return self

    def take_over(self, learned: Supervised) -> None:
        """See `SlatePolicy.take_over`."""
        take_weights(self.network, learned.network)
        self.fitted = learned.fitted

    def _loss(self, log: LoggedSlates) -> Tensor:
        scores, _ = self.network(log.profile, log.history)
        return click_loss(scores.gather(1, log.slate - 1), log.clicks)

    @torch.no_grad()
    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0, the likeliest first."""
        if not self.fitted:
            raise HsrlError("predict() came before learn(); call learn() first.")
        profile = torch.as_tensor(observation["profile"], device=self.device).float()
        history = torch.as_tensor(observation["history"], device=self.device).long()
        scores, _ = self.network(profile, history)
        return scores.topk(self.slate_size, dim=1).indices.cpu().numpy(), None
