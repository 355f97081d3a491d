"""`HSRLPolicy`: HPN and MLC as a policy of SB3, in SID space (paper 3.3, 3.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from hsrl_agent.candidates import SidIndex, with_shown
from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.encoder import SASRec
from hsrl_agent.hsrl_network import HSRLNetwork, Plan, Shares
from hsrl_agent.networks import HierarchicalPolicyNetwork, MultiLevelCritic, TiedHead
from hsrl_agent.policies import SlatePolicy
from hsrl_agent.tower import TowerPolicyNetwork
from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.errors import HsrlError, unknown_name

HEADS = ("tied", "free", "tower")


class HSRLPolicy(SlatePolicy):
    """HPN and MLC with an SB3 interface: the paper's policy, in SID space (3.3, 3.4).

    The arguments below are given as `policy_kwargs` of an algorithm, beside those of `SlatePolicy` (`width`,
    `likelihood`, `dropout`, ..). This is the only place where they are declared.

    Args:
        hierarchical: False puts every head on c_0, without residual (Table 3, w/o hierarchical policy).
        multi_level_critic: False uses V(c_0) alone (Table 3, w/o multi-level critic).
        heads: "tied" to the codebook's centroids (see `TiedHead`), "free" (eq. 11 as written), or without semantic IDs
            "tower": scores from content alone, with nothing learned per item (see `TowerPolicyNetwork`).
        item_residual: whether an item's score has a part of its own beside its tokens' (see `HSRLNetwork`). None means
            yes with semantic IDs, no without: there the token is the item.
        privileged_critic: whether the critic takes the user's patience, which the algorithm must supply. `HSRL` does;
            SB3's A2C and PPO cannot.
        semantic_ids: False gives each item one token of its own, tied to the item's vector. This is the same network
            in item space; actions are still SIDs.
        n_candidates: C; None scores all live items. Otherwise a beam search recalls C items by their tokens' scores
            (see `SidIndex.recall`), and the policy is the Plackett-Luce distribution over these, by their exact scores.
            So no tensor has B x N elements. In updates the items that were shown are candidates, too.

    Where the observation holds "candidates" (B, C), ids of different items and 0 for padding, these take the place of
    the recall: only they are scored, and shown.

    Attributes:
        target_network: slowly updated copy that eq. 18 bootstraps from. Only `PaperHSRL` and `HSRL` update it.

    Raises:
        HsrlError: for unknown `heads`; for an item residual with the unnormalised likelihood, whose scores could then
            grow without bound; without semantic IDs, if items share a SID; for `n_candidates` without semantic IDs, or
            too few for a slate; for a tower with semantic IDs or an item residual.
    """

    action_mode = "sid"
    keeps_target = True
    network: HSRLNetwork
    target_network: HSRLNetwork
    sids: Tensor
    sid_index: SidIndex
    accepts_candidates = True

    def __init__(
        self,
        *args: Any,
        hierarchical: bool = True,
        multi_level_critic: bool = True,
        heads: str = "tied",
        item_residual: bool | None = None,
        privileged_critic: bool = False,
        semantic_ids: bool = True,
        n_candidates: int | None = None,
        **kwargs: Any,
    ) -> None:
        item_residual = semantic_ids if item_residual is None else item_residual
        if heads not in HEADS:
            raise unknown_name("heads", heads, HEADS)
        if heads == "tower" and (semantic_ids or item_residual):
            raise HsrlError('got heads="tower" with weights per token or item, expected semantic_ids=False with it.')
        if n_candidates is not None and not semantic_ids:
            raise HsrlError(
                f"got n_candidates={n_candidates} without semantic_ids, expected None: the recall needs them."
            )
        if item_residual and kwargs.get("likelihood") == "unnormalised":
            raise HsrlError(
                'got likelihood="unnormalised" with an item residual, expected item_residual=False with it.'
            )
        self.hierarchical, self.multi_level_critic, self.heads = hierarchical, multi_level_critic, heads
        self.item_residual, self.privileged_critic, self.semantic_ids = item_residual, privileged_critic, semantic_ids
        self.n_candidates = n_candidates
        self._shares: Shares | None = None
        super().__init__(*args, **kwargs)
        if n_candidates is not None and n_candidates < self.slate_size:
            raise HsrlError(f"got n_candidates={n_candidates}, expected at least the {self.slate_size} of a slate.")

    @staticmethod
    def _fits(action_space: SlateSpace) -> bool:
        vocabulary = action_space.codebook.vocabulary
        return action_space.nvec.tolist() == list(vocabulary) * action_space.slate_size

    def _get_constructor_parameters(self) -> dict[str, Any]:
        names = (
            "hierarchical",
            "multi_level_critic",
            "heads",
            "item_residual",
            "privileged_critic",
            "semantic_ids",
            "n_candidates",
        )
        return {**super()._get_constructor_parameters(), **{name: getattr(self, name) for name in names}}

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        # Codes and features of a large catalog are kept once, not once more for the target network.
        for module, target in zip(self.network.modules(), self.target_network.modules(), strict=True):
            target._buffers.update(module._buffers)

    def _build_network(self) -> None:
        sids = torch.as_tensor(self.codebook.codes).long()
        codes = self._tokens_of(torch.arange(len(sids)), sids)
        encoder = self._encoder(per_item=self.heads != "tower")
        encoder.looks_up = encoder.looks_up or self.n_candidates is not None
        policy = self._policy_network(encoder)
        critic = MultiLevelCritic(
            self.width, codes.shape[1], self.critic_hidden, self.multi_level_critic, self.privileged_critic
        )
        self.network = HSRLNetwork(encoder, policy, critic, codes, self.item_residual)
        self.register_buffer("sids", sids[1:], persistent=False)
        # Items by SID, for the recall and for algorithms that store actions only.
        self.sid_index = SidIndex(sids, self.codebook.vocabulary)

    def _policy_network(self, encoder: SASRec) -> HierarchicalPolicyNetwork | TowerPolicyNetwork:
        tables = self._token_vectors()
        if self.heads == "tower":
            return TowerPolicyNetwork(self.width, encoder)
        vocabulary = [len(table) for table in tables]
        return HierarchicalPolicyNetwork(
            self.width, vocabulary, self.hierarchical, tables if self.heads == "tied" else None
        )

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
        ids = torch.as_tensor(items, device=self.device)
        sids, rows = torch.as_tensor(self.catalog.codes[items], device=self.device).long(), ids - 1
        self.sids[rows] = sids
        self.sid_index.refresh(ids, sids)
        self._shares = None
        if not self.semantic_ids:
            vectors = torch.as_tensor(self.catalog.vectors[items], device=self.device)
            for network in self._networks():
                for head in network.policy.modules():  # type: ignore[union-attr]
                    if isinstance(head, TiedHead):
                        head.centroids[rows] = vectors

    @property
    def critic(self) -> nn.Module:
        """See `SlatePolicy.critic`."""
        return self.network.critic

    def plan(self, obs: PyTorchObs, target: bool = False, patience: Tensor | None = None) -> Plan:
        """Return the plan for observations, of the target network if `target`; patience (B,) is for the critic."""
        assert isinstance(obs, dict)
        self.follow()
        network = self.target_network if target else self.network
        plan = network(obs["profile"].float(), obs["history"].long(), patience)
        return plan._replace(candidates=obs["candidates"].long()) if "candidates" in obs else plan

    def distribution_of(self, plan: Plan, shown: Tensor | None = None) -> SlateDistribution:
        """Return the distribution over slates of a plan.

        With candidates, the items `shown` (B, K) are among them, so that the likelihood of a stored slate is finite.
        """
        candidates = plan.candidates
        if candidates is None and self.n_candidates is not None:
            candidates = self.sid_index.recall(plan.log_probs, self.n_candidates)
        if candidates is None:
            return SlateDistribution(self.network.item_scores(plan), self.likelihood)
        items = candidates if shown is None else with_shown(candidates, shown)
        return SlateDistribution(self.network.scores_of(plan, items), self.likelihood, items)

    def score(self, obs: PyTorchObs) -> tuple[SlateDistribution, Tensor]:
        """See `SlatePolicy.score`."""
        plan = self.plan(obs)
        return self.distribution_of(plan), plan.value

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values (B,), log-likelihoods (B,) and entropies (B,) of actions (B, n)."""
        plan, items = self.plan(obs), self.to_items(actions.long())
        distribution = self.distribution_of(plan, items)
        return plan.value, distribution.log_prob(items), distribution.entropy()

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Return values (B, 1)."""
        return self.plan(obs).value.unsqueeze(1)

    def scores_above_mean(self, obs: PyTorchObs, items: Tensor) -> tuple[Tensor, Tensor]:
        """See `SlatePolicy.scores_above_mean`. With candidates, the mean is still that of all live items."""
        assert isinstance(self.observation_space, spaces.Dict)
        if self.n_candidates is None and "candidates" not in self.observation_space.spaces:
            return super().scores_above_mean(obs, items)
        plan = self.plan(obs)
        if self._shares is None:
            self._shares = self.network.shares()
        mean = self.network.mean_score(plan, self._shares)
        return self.network.scores_of(plan, items) - mean.unsqueeze(1), plan.value

    def to_actions(self, items: Tensor) -> Tensor:
        """Return the SIDs of items (B, K), (B, K * L)."""
        return self.sids[items - 1].flatten(1)

    def to_items(self, actions: Tensor) -> Tensor:
        """Return the first item of each SID, (B, K); the SIDs must be those of live items.

        SIDs stored before a change of the catalog may have lost their item since; then it is the one with the next SID.
        """
        return self.sid_index.items_of(actions.view(len(actions), self.slate_size, -1))
