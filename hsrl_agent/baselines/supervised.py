"""SL: SASRec fitted to the logged clicks, showing the K items it holds most likely to be clicked (4.1.3)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.nn import functional

from hsrl_agent.baselines.simple import item_space
from hsrl_agent.encoder import SASRec
from hsrl_agent.networks import ItemNetwork
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
        self.settings = (learning_rate, weight_decay, batch_size, max_epochs)
        self.device = torch.device(device)
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            n_profile, history_length = self.users.profile.shape[1], self.users.history.shape[1]
            features = torch.as_tensor(space.codebook.features)
            encoder = SASRec(features, n_profile, history_length, dropout=dropout)
            is_live = torch.as_tensor(space.codebook.codes[1:, 0] >= 0)
            self.network = ItemNetwork(encoder, is_live).to(self.device)
        self.fitted = False

    def learn(self, total_timesteps: int) -> Supervised:
        """Fit the network to the logged slates of the train pool."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seed)  # dropout draws from the global generator
            self._fit()
        self.network.eval()
        self.fitted = True
        return self

    def _fit(self) -> None:
        learning_rate, weight_decay, batch_size, max_epochs = self.settings
        columns = self._columns()
        cut = int(0.9 * len(self.users))
        optimizer = torch.optim.AdamW(self.network.parameters(), learning_rate, weight_decay=weight_decay)
        best, since_best, best_state = float("inf"), 0, copy.deepcopy(self.network.state_dict())
        for _ in range(max_epochs):
            self.network.train()
            for rows in torch.randperm(cut, generator=self.generator).split(batch_size):
                loss = self._loss(columns, rows.to(self.device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            held_out = self._held_out(columns, cut)
            if held_out < best:
                best, best_state, since_best = held_out, copy.deepcopy(self.network.state_dict()), 0
            else:
                since_best += 1
                if since_best == 2:
                    break
        self.network.load_state_dict(best_state)

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

    def _columns(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        users = self.users
        return (
            torch.as_tensor(users.profile, device=self.device),
            torch.as_tensor(users.history, device=self.device).long(),
            torch.as_tensor(users.slate, device=self.device).long(),
            torch.as_tensor(users.clicks, device=self.device).float(),
        )

    def _loss(self, columns: tuple[Tensor, ...], rows: Tensor) -> Tensor:
        profile, history, slate, clicks = (column[rows] for column in columns)
        scores, _ = self.network(profile, history)
        return functional.binary_cross_entropy_with_logits(scores.gather(1, slate - 1), clicks)

    @torch.no_grad()
    def _held_out(self, columns: tuple[Tensor, ...], cut: int) -> float:
        self.network.eval()
        rows = torch.arange(cut, len(self.users), device=self.device)
        return float(
            torch.stack([self._loss(columns, part) * len(part) for part in rows.split(1024)]).sum() / len(rows)
        )
