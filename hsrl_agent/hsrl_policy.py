"""`HSRLPolicy`: HPN and MLC as a policy of SB3, in SID space (3.3, 3.4)."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.networks import HSRLNetwork, Plan
from hsrl_agent.policies import SlatePolicy
from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.errors import HsrlError, unknown_name

HEADS = ("tied", "free")


class HSRLPolicy(SlatePolicy):
    """HPN and MLC: the policy of the paper, in SID space (3.3, 3.4).

    `target_network` is the slowly following copy that eq. 18 bootstraps from; only `HSRL` updates it.
    """

    action_mode = "sid"
    keeps_target = True
    network: HSRLNetwork
    target_network: HSRLNetwork
    sids: Tensor
    item_of_code: Tensor

    def __init__(
        self,
        *args: Any,
        hierarchical: bool = True,
        multi_level_critic: bool = True,
        heads: str = "tied",
        sees_patience: bool = False,
        item_residual: bool | None = None,
        semantic_ids: bool = True,
        **kwargs: Any,
    ) -> None:
        """See `SlatePolicy`; the two switches are Table 3's ablations, `heads` are "tied" to the codebook or "free".

        With `item_residual` items have a part of their score to themselves (see `HSRLNetwork`); None for so, if they
        share tokens. With `sees_patience` the critic is given the patience by whoever trains it; SB3's own algorithms
        cannot. Without `semantic_ids` the policy has one level with a token for each item, tied to the item's own
        vector: item space, the actions being SIDs as before.

        Raises:
            HsrlError: for heads of another kind; for an item residual with the bare likelihood: a score that nothing
                normalises can grow without end; for item space where items share a SID, which then says not which.
        """
        item_residual = semantic_ids if item_residual is None else item_residual
        if heads not in HEADS:
            raise unknown_name("heads", heads, HEADS)
        if item_residual and kwargs.get("likelihood") == "bare":
            raise HsrlError('got likelihood="bare" with an item residual, expected item_residual=False with it.')
        self.hierarchical, self.multi_level_critic, self.heads = hierarchical, multi_level_critic, heads
        self.sees_patience, self.item_residual, self.semantic_ids = sees_patience, item_residual, semantic_ids
        super().__init__(*args, **kwargs)

    @staticmethod
    def _fits(action_space: SlateSpace) -> bool:
        vocabulary = action_space.codebook.vocabulary
        return action_space.nvec.tolist() == list(vocabulary) * action_space.slate_size

    def _get_constructor_parameters(self) -> dict[str, Any]:
        names = ("hierarchical", "multi_level_critic", "heads", "sees_patience", "item_residual", "semantic_ids")
        return {**super()._get_constructor_parameters(), **{name: getattr(self, name) for name in names}}

    def _build_network(self) -> None:
        sids = torch.as_tensor(self.codebook.codes).long()
        codes, centroids = self._tokens(sids)
        self.network = HSRLNetwork(
            self._encoder(),
            codes,
            [len(table) for table in centroids],
            self.width,
            self.critic_hidden,
            self.hierarchical,
            self.multi_level_critic,
            centroids if self.heads == "tied" else None,
            self.sees_patience,
            self.item_residual,
        )
        self.register_buffer("sids", sids[1:], persistent=False)
        # Tokens back to items, for algorithms that keep actions only: codes are unique but for shared buckets.
        self.register_buffer("item_of_code", self._lookup(sids), persistent=False)

    def _tokens(self, sids: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the tokens that the policy chooses, (N + 1, L), -1 where not live; and the levels' tables."""
        if self.semantic_ids:
            return sids, [torch.as_tensor(table) for table in self.codebook.centroids]
        live = sids[sids[:, 0] >= 0]
        n_sids = len(live.unique(dim=0))
        if n_sids < len(live):
            raise HsrlError(
                f"got {len(live)} items on {n_sids} SIDs without semantic_ids, expected a SID for each item; "
                "build the bundle with a larger vocabulary."
            )
        each = torch.arange(-1, len(sids) - 1).unsqueeze(1)
        return each.where(sids[:, :1] >= 0, -1), [torch.as_tensor(self.codebook.vectors[1:])]

    def _radix(self) -> list[int]:
        radix = [1]
        for size in reversed(self.codebook.vocabulary[1:]):
            radix.insert(0, radix[0] * size)
        return radix

    def _lookup(self, codes: Tensor) -> Tensor:
        """Return the sorted flat codes of live items and their ids, (2, N_live)."""
        live = (codes[:, 0] >= 0).nonzero().squeeze(1)
        flat = (codes[live] * torch.tensor(self._radix())).sum(1)
        flat, order = flat.sort()
        return torch.stack([flat, live[order]])

    @property
    def critic(self) -> nn.Module:
        """See `SlatePolicy.critic`."""
        return self.network.critic

    def plan(self, obs: PyTorchObs, target: bool = False, patience: Tensor | None = None) -> Plan:
        """Return the plan of observations, of the target network if asked for; the critic may see the patience."""
        assert isinstance(obs, dict)
        network = self.target_network if target else self.network
        return network(obs["profile"].float(), obs["history"].long(), patience)

    def distribution_of(self, plan: Plan) -> SlateDistribution:
        """Return the distribution over slates that a plan means."""
        return SlateDistribution(self.network.item_scores(plan), self.likelihood)

    def score(self, obs: PyTorchObs) -> tuple[SlateDistribution, Tensor]:
        """See `SlatePolicy.score`."""
        plan = self.plan(obs)
        return self.distribution_of(plan), plan.value

    def to_actions(self, items: Tensor) -> Tensor:
        """Return the SIDs of the items, (B, K * L)."""
        return self.sids[items - 1].flatten(1)

    def to_items(self, actions: Tensor) -> Tensor:
        """Return the first item of each SID; only meant for SIDs of live items."""
        tokens = actions.view(len(actions), self.slate_size, -1)
        flat = (tokens * torch.tensor(self._radix(), device=tokens.device)).sum(-1)
        known, items = self.item_of_code
        return items[torch.searchsorted(known, flat).clamp(max=len(items) - 1)]
