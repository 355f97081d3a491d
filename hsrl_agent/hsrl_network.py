"""HSRL's whole network: encoder, policy and critic, and the scores of items that follow from them.

Letters: B users, H history length, C candidates, L levels, V_l tokens of level l, N items, R free vectors, d width,
P profile width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsrl_agent.encoder import SASRec
from hsrl_agent.networks import HierarchicalPolicyNetwork, MultiLevelCritic
from hsrl_agent.tower import TowerPolicyNetwork

_FEW_ROWS = 12_288  # free vectors; about where both ways are equally fast, with 256 x 512 candidates


class Plan(NamedTuple):
    """Result of one forward pass of `HSRLNetwork` for B states.

    Attributes:
        log_probs: L tensors (B, V_l), log p(z_l | c_{l-1}).
        value: (B,), the mixed value of eq. 17.
        level_values: (B, L + 1), V(s, l).
        contexts: (B, L + 1, d), c_0 to c_L.
        candidates: (B, C), ids of the only items that may be shown, 0 for padding; None if the observation has none.
    """

    log_probs: list[Tensor]
    value: Tensor
    level_values: Tensor
    contexts: Tensor
    candidates: Tensor | None = None


class Shares(NamedTuple):
    """How the live items are spread: L tensors (V_l,) of the shares of tokens, and the shares of free vectors, (R,)."""

    tokens: list[Tensor]
    rows: Tensor


class HSRLNetwork(nn.Module):
    """Encoder, HPN and MLC in a row: actor and critic share one encoder pass."""

    codes: Tensor
    is_live: Tensor

    def __init__(
        self,
        encoder: SASRec,
        policy: HierarchicalPolicyNetwork | TowerPolicyNetwork,
        critic: MultiLevelCritic,
        codes: Tensor,
        item_residual: bool = False,
    ) -> None:
        """Take the parts, and the codes of the items.

        Args:
            encoder: to c_0.
            policy: HPN.
            critic: MLC.
            codes: (N + 1, L) tokens of the items, -1 where an item is not live; row 0 is padding.
            item_residual: add <c_L, W f_i> + <w, f_i> to the score of item i, f_i being its free vector in the encoder.
                That is what the tokens of an item cannot express. W and w start at zero. Item features take no part,
                so what items have in common is left to their tokens.
        """
        super().__init__()
        self.encoder, self.policy, self.critic = encoder, policy, critic
        width = encoder.width
        self.residual = nn.Linear(width, width + 1, bias=False) if item_residual else None
        if self.residual is not None:
            nn.init.zeros_(self.residual.weight)
        self.register_buffer("codes", codes[1:].long())  # (N, L); item i stands in row i - 1
        self.register_buffer("is_live", (codes[1:] >= 0).all(1))  # (N,)
        self.tokens_are_items = policy.vocabulary == (len(codes) - 1,)

    def forward(self, profile: Tensor, history: Tensor, patience: Tensor | None = None) -> Plan:
        """Return the plan for profile (B, P) and history (B, H); patience (B,) is for a privileged critic."""
        log_probs, contexts = self.act(profile, history)
        value, level_values = self.critic(contexts, patience)
        return Plan(log_probs, value, level_values, contexts)

    def act(self, profile: Tensor, history: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return log p of the tokens, L tensors (B, V_l), and the contexts c_0 to c_L (B, L + 1, d)."""
        return self.policy(self.encoder(profile, history), self.is_live if self.tokens_are_items else None)

    def refresh(self, items: Tensor, inputs: Tensor, codes: Tensor) -> None:
        """Take the catalog's new inputs (M, F) and tokens (M, L) of items (M,); the first token is -1 if not live."""
        self.encoder.refresh(items, inputs, codes[:, 0] >= 0)
        self.codes[items - 1] = codes
        self.is_live[items - 1] = codes[:, 0] >= 0

    def item_scores(self, plan: Plan) -> Tensor:
        """Return sum_l log p(z_l(i) | c_{l-1}) of every item, (B, N), -inf where it is not live (eq. 14).

        The item residual, if there is one, is added.
        """
        tokens = self.codes.clamp(min=0).unbind(1)  # L of (N,)
        first, *others = (log_p.index_select(1, token) for log_p, token in zip(plan.log_probs, tokens, strict=True))
        scores = sum(others, first)
        if self.residual is not None:
            free, rows = self._free_vectors()
            left = self.residual(free)  # (N, d + 1)
            own = torch.addmm(left[:, -1], plan.contexts[:, -1], left[:, :-1].T)
            scores = scores + (own if rows is None else own.index_select(1, rows))
        return scores.masked_fill(~self.is_live, -torch.inf)

    def _free_vectors(self) -> tuple[Tensor, Tensor | None]:
        """Return the free vectors of the encoder but that of padding; and the one of each item, (N,), if shared."""
        assert self.encoder.item_free is not None
        items = torch.arange(1, len(self.codes) + 1, device=self.codes.device) if self.encoder.shares_rows else None
        return self.encoder.free_vectors()[1:], None if items is None else self.encoder.row_of(items) - 1

    def scores_of(self, plan: Plan, items: Tensor) -> Tensor:
        """Return the scores of some items, (B, C) for ids (B, C): what `item_scores` says, without a tensor of B x N.

        Padding, 0, has -inf as items that are not live.
        """
        codes = self.codes.index_select(0, (items - 1).clamp(min=0).flatten()).view(*items.shape, -1)  # (B, C, L)
        is_live = (codes[:, :, 0] >= 0) & (items > 0)
        tokens = codes.clamp_(min=0).unbind(2)  # L of (B, C)
        first, *others = (log_p.gather(1, token) for log_p, token in zip(plan.log_probs, tokens, strict=True))
        scores = sum(others, first)
        if self.residual is not None:
            scores = scores + self._residual_of(plan, items)
        return scores.masked_fill(~is_live, -torch.inf)

    def _residual_of(self, plan: Plan, items: Tensor) -> Tensor:
        """Return <c_L, W f_i> + <w, f_i> = <W^T c_L + w, f_i> of items (B, C), (B, C)."""
        assert self.residual is not None
        assert self.encoder.item_free is not None
        asked = plan.contexts[:, -1] @ self.residual.weight[:-1] + self.residual.weight[-1]  # (B, d)
        rows, free = self.encoder.row_of(items), self.encoder.free_vectors()
        if len(free) <= _FEW_ROWS:  # to ask all rows is faster than to gather B x C of them
            return (asked @ free.T).gather(1, rows)
        return torch.bmm(functional.embedding(rows, free), asked.unsqueeze(2)).squeeze(2)

    def mean_score(self, plan: Plan, shares: Shares) -> Tensor:
        """Return the mean score of all live items, (B,), from how they are spread over tokens and free vectors.

        A score is a sum over tokens, and linear in the free vector. So the mean over N items is one over the tokens of
        each level and over the rows of free vectors, and needs no N.
        """
        pairs = zip(plan.log_probs, shares.tokens, strict=True)
        mean = torch.stack([log_p @ share for log_p, share in pairs]).sum(0)
        if self.residual is None:
            return mean
        assert self.encoder.item_free is not None
        left = self.residual(shares.rows @ self.encoder.free_vectors())  # (d + 1,)
        return mean + plan.contexts[:, -1] @ left[:-1] + left[-1]

    def shares(self) -> Shares:
        """Return how the live items are spread over tokens and free vectors, as they are now."""
        items = self.is_live.nonzero().squeeze(1) + 1
        tokens = zip(self.codes[items - 1].unbind(1), self.policy.vocabulary, strict=True)
        free = self.encoder.item_free
        n_rows = len(self.encoder.item_features) if free is None else free.num_embeddings
        return Shares(
            [token.bincount(minlength=size) / len(items) for token, size in tokens],
            self.encoder.row_of(items).bincount(minlength=n_rows) / len(items),
        )
