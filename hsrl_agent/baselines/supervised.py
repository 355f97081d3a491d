"""SL: SASRec fitted to the logged clicks; it shows the K items that are most likely to be clicked (4.1.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hsrl_agent.baselines.item_agent import ItemAgent
from hsrl_agent.encoder import SASRec
from hsrl_agent.method import Look, Method
from hsrl_agent.networks import ItemNetwork, copy_shared_weights
from hsrl_agent.pretraining import click_loss, fit
from hsrl_agent.vec_env import train_pool
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError


class Supervised(ItemAgent):
    """Binary cross-entropy on every shown item of the train pool's logged slates.

    It never acts to learn. Training stops two epochs after the one with the lowest log-loss on the latest 10% of the
    rows, whose weights are kept.

    Args:
        env, seed, device: see `ItemAgent`.
        learning_rate, weight_decay, batch_size, max_epochs: of AdamW.
        dropout: of the encoder.
    """

    def __init__(
        self,
        env: VecEnv,
        seed: int = 0,
        device: torch.device | str = "cpu",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        batch_size: int = 256,
        max_epochs: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(env, seed, device)
        self.users = train_pool(env)
        self.settings: dict[str, Any] = {
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "batch_size": batch_size,
            "max_epochs": max_epochs,
        }
        self.dropout = dropout
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            n_profile, history_length = self.users.profile.shape[1], self.users.history.shape[1]
            features = torch.as_tensor(self.codebook.item_inputs)
            encoder = SASRec(features, n_profile, history_length, dropout=dropout)
            is_live = torch.as_tensor(self.codebook.codes[1:, 0] >= 0)
            encoder.hold_back((~is_live).nonzero().squeeze(1) + 1)
            self.network = ItemNetwork(encoder, is_live).to(self.device)
        self.fitted = False

    def learn(self, total_timesteps: int) -> Supervised:
        """Fit the network to the logged slates of the train pool; `total_timesteps` is ignored."""
        fit(self.network, self._loss, self.users.tensors(self.device), seed=self.seed, **self.settings)
        self.fitted = True
        return self

    def transfer_from(self, learned: Supervised) -> None:
        """Take the weights of an agent that learned on another state of the catalog; see `copy_shared_weights`.

        Raises:
            HsrlError: if the networks differ in more than the items.
        """
        copy_shared_weights(self.network, learned.network)
        self.network.eval()  # as `fit` leaves it: without dropout
        self.fitted = learned.fitted

    def _refresh(self, items: NDArray[np.integer]) -> None:
        rows = torch.as_tensor(items, device=self.device)
        inputs, codes = self.catalog.inputs(items), self.catalog.codes[items]
        self.network.refresh(rows, *(torch.as_tensor(part, device=self.device) for part in (inputs, codes)))

    def _loss(self, log: LoggedSlates) -> Tensor:
        scores, _ = self.network(log.profile, log.history)
        return click_loss(scores.gather(1, log.slate - 1), log.clicks)

    @torch.no_grad()
    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0, the likeliest first.

        Raises:
            HsrlError: before `learn`.
        """
        if not self.fitted:
            raise HsrlError("predict() came before learn(); call learn() first.")
        self.follow()
        profile = torch.as_tensor(observation["profile"], device=self.device).float()
        history = torch.as_tensor(observation["history"], device=self.device).long()
        scores, _ = self.network(profile, history)
        return scores.topk(self.slate_size, dim=1).indices.cpu().numpy(), None

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if not self.fitted:
            raise HsrlError("save() came before learn(); call learn() first.")
        settings = {**self.settings, "dropout": self.dropout, "seed": self.seed}
        return {name: value.contiguous() for name, value in self.network.state_dict().items()}, settings

    @classmethod
    def _restore(
        cls, env: VecEnv, device: torch.device | str, tensors: dict[str, Tensor], settings: dict[str, Any]
    ) -> Supervised:
        agent = cls(env, device=device, **settings)
        copied = agent.network.state_dict()
        shapes = [{name: value.shape for name, value in state.items()} for state in (copied, tensors)]
        if shapes[0] != shapes[1]:
            raise HsrlError("got the weights of another network; give an environment with the bundle the agent had.")
        agent.network.load_state_dict(tensors)
        agent.network.eval()
        agent.fitted = True
        return agent


METHODS = [
    Method(
        name="sl",
        label="SL",
        agent_class=Supervised,
        action_mode="item",
        rank=30,
        look=Look("#CC79A7", "^"),
        learns_online=False,
        cost=4_500,
        paper={"rl4rs": (6.721, 8.163), "ml1m": (16.666, 16.953)},
    )
]
