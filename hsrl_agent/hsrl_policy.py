"""`HSRLPolicy`: HPN and MLC as a policy of SB3, in SID space (paper 3.3, 3.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.networks import HierarchicalPolicyNetwork, HSRLNetwork, MultiLevelCritic, Plan, TiedHead
from hsrl_agent.policies import SlatePolicy
from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.errors import HsrlError, unknown_name

HEADS = ("tied", "free")


class HSRLPolicy(SlatePolicy):
    """HPN and MLC with an SB3 interface: the paper's policy, in SID space (3.3, 3.4).

    The arguments below are given as `policy_kwargs` of an algorithm, beside those of `SlatePolicy` (`width`,
    `likelihood`, `dropout`, ..). This is the only place where they are declared.

    Args:
        hierarchical: False puts every head on c_0, without residual (Table 3, w/o hierarchical policy).
        multi_level_critic: False uses V(c_0) alone (Table 3, w/o multi-level critic).
        heads: "tied" to the codebook's centroids (see `TiedHead`), or "free" (eq. 11 as written).
        item_residual: whether an item's score has a part of its own beside its tokens' (see `HSRLNetwork`). None means
            yes with semantic IDs, no without: there the token is the item.
        privileged_critic: whether the critic takes the user's patience, which the algorithm must supply. `HSRL` does;
            SB3's A2C and PPO cannot.
        semantic_ids: False gives each item one token of its own, tied to the item's vector. This is the same network
            in item space; actions are still SIDs.

    Attributes:
        target_network: slowly updated copy that eq. 18 bootstraps from. Only `PaperHSRL` and `HSRL` update it.

    Raises:
        HsrlError: for unknown `heads`; for an item residual with the unnormalised likelihood, whose scores could then
            grow without bound; without semantic IDs, if items share a SID.
    """

    action_mode = "sid"
    keeps_target = True
    network: HSRLNetwork
    target_network: HSRLNetwork
    sids: Tensor
    item_of_code: Tensor | None

    def __init__(
        self,
        *args: Any,
        hierarchical: bool = True,
        multi_level_critic: bool = True,
        heads: str = "tied",
        item_residual: bool | None = None,
        privileged_critic: bool = False,
        semantic_ids: bool = True,
        **kwargs: Any,
    ) -> None:
        item_residual = semantic_ids if item_residual is None else item_residual
        if heads not in HEADS:
            raise unknown_name("heads", heads, HEADS)
        if item_residual and kwargs.get("likelihood") == "unnormalised":
            raise HsrlError(
                'got likelihood="unnormalised" with an item residual, expected item_residual=False with it.'
            )
        self.hierarchical, self.multi_level_critic, self.heads = hierarchical, multi_level_critic, heads
        self.item_residual, self.privileged_critic, self.semantic_ids = item_residual, privileged_critic, semantic_ids
        super().__init__(*args, **kwargs)

    @staticmethod
    def _fits(action_space: SlateSpace) -> bool:
        vocabulary = action_space.codebook.vocabulary
        return action_space.nvec.tolist() == list(vocabulary) * action_space.slate_size

    def _get_constructor_parameters(self) -> dict[str, Any]:
        names = ("hierarchical", "multi_level_critic", "heads", "item_residual", "privileged_critic", "semantic_ids")
        return {**super()._get_constructor_parameters(), **{name: getattr(self, name) for name in names}}

    def _build_network(self) -> None:
        sids = torch.as_tensor(self.codebook.codes).long()
        codes, tables = self._tokens_of(torch.arange(len(sids)), sids), self._token_vectors()
        vocabulary = [len(table) for table in tables]
        self.network = HSRLNetwork(
            self._encoder(),
            HierarchicalPolicyNetwork(
                self.width, vocabulary, self.hierarchical, tables if self.heads == "tied" else None
            ),
            MultiLevelCritic(
                self.width, len(vocabulary), self.critic_hidden, self.multi_level_critic, self.privileged_critic
            ),
            codes,
            self.item_residual,
        )
        self.register_buffer("sids", sids[1:], persistent=False)
        # Tokens back to items, for algorithms that store actions only; made when one asks.
        self.register_buffer("item_of_code", None, persistent=False)

    def _tokens_of(self, items: Tensor, sids: Tensor) -> Tensor:
        """Return the SIDs; without semantic IDs the item itself is the token, (M, 1)."""
        return sids if self.semantic_ids else (items - 1).unsqueeze(1).where(sids[:, :1] >= 0, -1)

    def _token_vectors(self) -> list[Tensor]:
        """Return L tables (V_l, D) of token vectors.

        Raises:
            HsrlError: without semantic IDs, if items share a SID.
        """
        if self.semantic_ids:
            return [torch.as_tensor(table) for table in self.codebook.centroids]
        live = self.codebook.codes[self.codebook.live_items]
        n_sids = len(np.unique(live, axis=0))
        if n_sids < len(live):
            raise HsrlError(
                f"got {len(live)} items on {n_sids} SIDs without semantic_ids, expected a SID for each item; "
                "build the bundle with a larger vocabulary."
            )
        return [torch.as_tensor(self.codebook.vectors[1:])]

    def _refresh(self, items: NDArray[np.integer]) -> None:
        super()._refresh(items)
        rows = torch.as_tensor(items - 1, device=self.device)
        self.sids[rows] = torch.as_tensor(self.catalog.codes[items], device=self.device).long()
        self.item_of_code = None
        if not self.semantic_ids:
            vectors = torch.as_tensor(self.catalog.vectors[items], device=self.device)
            for network in self._networks():
                for head in network.policy.heads:  # type: ignore[union-attr]
                    if isinstance(head, TiedHead):
                        head.centroids[rows] = vectors

    def _radix(self) -> list[int]:
        radix = [1]
        for size in reversed(self.codebook.vocabulary[1:]):
            radix.insert(0, radix[0] * size)
        return radix

    def _lookup(self) -> Tensor:
        """Return the sorted flat codes of live items and their ids, (2, N_live)."""
        live = (self.sids[:, 0] >= 0).nonzero().squeeze(1)
        flat = (self.sids[live] * torch.tensor(self._radix(), device=live.device)).sum(1)
        flat, order = flat.sort()
        return torch.stack([flat, live[order] + 1])

    @property
    def critic(self) -> nn.Module:
        """See `SlatePolicy.critic`."""
        return self.network.critic

    def plan(self, obs: PyTorchObs, target: bool = False, patience: Tensor | None = None) -> Plan:
        """Return the plan for observations, of the target network if `target`; patience (B,) is for the critic."""
        assert isinstance(obs, dict)
        self.follow()
        network = self.target_network if target else self.network
        return network(obs["profile"].float(), obs["history"].long(), patience)

    def distribution_of(self, plan: Plan) -> SlateDistribution:
        """Return the distribution over slates of a plan."""
        return SlateDistribution(self.network.item_scores(plan), self.likelihood)

    def score(self, obs: PyTorchObs) -> tuple[SlateDistribution, Tensor]:
        """See `SlatePolicy.score`."""
        plan = self.plan(obs)
        return self.distribution_of(plan), plan.value

    def to_actions(self, items: Tensor) -> Tensor:
        """Return the SIDs of items (B, K), (B, K * L)."""
        return self.sids[items - 1].flatten(1)

    def to_items(self, actions: Tensor) -> Tensor:
        """Return the first item of each SID, (B, K); the SIDs must be those of live items.

        SIDs stored before a change of the catalog may have lost their item since; then it is the one with the next
        SID. SIDs are unique except in shared buckets.
        """
        tokens = actions.view(len(actions), self.slate_size, -1)
        flat = (tokens * torch.tensor(self._radix(), device=tokens.device)).sum(-1)
        if self.item_of_code is None:
            self.item_of_code = self._lookup()
        known, items = self.item_of_code
        return items[torch.searchsorted(known, flat).clamp(max=len(items) - 1)]
