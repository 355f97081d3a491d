"""`ItemPolicy`: item space as a policy of SB3, for the item-level baselines."""

from __future__ import annotations

import torch
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.networks import ItemNetwork
from hsrl_agent.policies import SlatePolicy
from hsrl_gym.envs.actions import SlateSpace


class ItemPolicy(SlatePolicy):
    """One score per item and one value: the same encoder without semantic IDs.

    Of an observation with "candidates" (B, C), only these are shown; 0 is padding.
    """

    action_mode = "item"
    accepts_candidates = True
    network: ItemNetwork

    @staticmethod
    def _fits(action_space: SlateSpace) -> bool:
        n_items = len(action_space.codebook.codes) - 1
        return action_space.nvec.tolist() == [n_items] * action_space.slate_size

    def _build_network(self) -> None:
        self.network = ItemNetwork(self._encoder(), self._is_live(), self.width, self.critic_hidden)

    @property
    def critic(self) -> nn.Module:
        """See `SlatePolicy.critic`."""
        return self.network.value

    def score(self, obs: PyTorchObs) -> tuple[SlateDistribution, Tensor]:
        """See `SlatePolicy.score`."""
        assert isinstance(obs, dict)
        self.follow()
        scores, values = self.network(obs["profile"].float(), obs["history"].long())
        if "candidates" not in obs:
            return SlateDistribution(scores, self.likelihood), values
        items = obs["candidates"].long()
        theirs = scores.gather(1, (items - 1).clamp(min=0)).masked_fill(items == 0, -torch.inf)
        return SlateDistribution(theirs, self.likelihood, items), values

    def to_actions(self, items: Tensor) -> Tensor:
        """Return item numbers, counted from 0, (B, K)."""
        return items - 1

    def to_items(self, actions: Tensor) -> Tensor:
        """Return item ids, (B, K)."""
        return actions + 1
