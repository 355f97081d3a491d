"""The learned user: click probabilities of a slate from profile and history (Psi, Appendix B)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class ClickModel(Protocol):
    """Anything that can play the user: the learned one here, or a known one (`data/synthetic.py`)."""

    def __call__(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K) of profile (B, P), history (B, H) and slate (B, K) of item ids."""
        ...


@dataclass(frozen=True)
class SimulatorConfig:
    """Sizes of a `UserResponseModel`.

    Attributes:
        n_items: N.
        n_item_features: F.
        n_profile: P.
        history_length: H.
        width: d of items, users and attention.
        n_heads: attention heads; divides `width`.
        dropout: share of the user's and the items' units dropped in training.
    """

    n_items: int
    n_item_features: int
    n_profile: int
    history_length: int = 50
    width: int = 32
    n_heads: int = 2
    dropout: float = 0.1

    def to_dict(self) -> dict[str, int | float]:
        """Return the settings as plain numbers, to be written to YAML."""
        return asdict(self)


class UserResponseModel(nn.Module):
    """Profile -> query; history -> self-attention -> user attention -> inner product with the item.

    Padding is masked, and the length of the history is an input of its own. There are no positions and no layer
    between the item table and the attention, so that all projections are properties of an item.
    """

    def __init__(self, config: SimulatorConfig, item_features: Tensor) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("item_features", item_features.float())  # (N + 1, F), row 0 zero
        self.item_map = nn.Linear(config.n_item_features, width)
        self.item_free = nn.Embedding(config.n_items + 1, width, padding_idx=0)
        self.item_target = nn.Linear(width, width)
        self.item_bias = nn.Linear(width, 1)
        self.item_free_bias = nn.Embedding(config.n_items + 1, 1, padding_idx=0)
        self.self_query, self.self_key, self.self_value = (nn.Linear(width, width) for _ in range(3))
        self.profile_map = nn.Sequential(nn.Linear(config.n_profile, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.user_query, self.user_key, self.user_value = (nn.Linear(width, width) for _ in range(3))
        self.user_map = nn.Sequential(
            nn.Linear(3 * width + 2, 2 * width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(2 * width, width)
        )
        self.bounds = nn.Parameter(torch.tensor([-1.0, 1.0]))  # of the click probability, before the sigmoid
        nn.init.normal_(self.item_free.weight, std=0.01)
        nn.init.zeros_(self.item_free_bias.weight)

    def item_table(self) -> Tensor:
        """Return all item vectors, (N + 1, d)."""
        return self.item_map(self.item_features) + self.item_free.weight

    def user_state(self, profile: Tensor, history: Tensor, items: Tensor) -> Tensor:
        """Return (B, d) users from profile (B, P) and history (B, H); `items` is the item table."""
        padding = history == 0  # (B, H)
        length = (~padding).sum(1, keepdim=True)
        clicked = self._attend_to_history(history, padding, items)  # (B, H, d)
        user = self.profile_map(profile)  # (B, d)
        query = self._heads(self.user_query(user).unsqueeze(1))
        key, value = self._heads(self.user_key(clicked)), self._heads(self.user_value(clicked))
        # A user without history attends to padding alone: let it see all of it, then blank the result.
        empty = length == 0
        visible = (~padding | empty)[:, None, None, :]
        pooled = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        pooled = pooled.transpose(1, 2).flatten(1)  # (B, d)
        share = torch.where(empty, 0.0, 1.0 / length.clamp(min=1)).to(clicked.dtype)
        mean = (functional.embedding(history, items) * (~padding).unsqueeze(-1)).sum(1) * share
        filled = length / self.config.history_length
        amount = torch.cat([filled, filled.sqrt()], dim=1).to(clicked.dtype)
        return self.user_map(torch.cat([user, pooled.masked_fill(empty, 0.0), mean, amount], dim=1)) + user

    def forward(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K); see `ClickModel`."""
        items = self.item_table()
        user = self.user_state(profile, history, items)  # (B, d)
        target = functional.embedding(slate, self.item_target(items))  # (B, K, d)
        bias = functional.embedding(slate, self.item_bias(items) + self.item_free_bias.weight).squeeze(-1)
        return self._within_bounds(torch.einsum("bd,bkd->bk", user, target) + bias)

    def _within_bounds(self, affinity: Tensor) -> Tensor:
        """Return the logit of p = lowest + (highest - lowest) sigmoid(affinity).

        Nobody clicks with certainty and some click on anything: the lower and upper asymptotes of item response
        theory's four-parameter model, learned. Both logarithms are of sums of positive terms, so nothing cancels.
        """
        lowest, above_highest = 0.5 * torch.sigmoid(self.bounds[0]), 0.5 * torch.sigmoid(-self.bounds[1])
        span = 1.0 - above_highest - lowest
        click = lowest + span * torch.sigmoid(affinity)
        no_click = above_highest + span * torch.sigmoid(-affinity)
        return click.log() - no_click.log()

    def _attend_to_history(self, history: Tensor, padding: Tensor, items: Tensor) -> Tensor:
        query, key, value = (
            self._heads(functional.embedding(history, project(items)))
            for project in (self.self_query, self.self_key, self.self_value)
        )
        visible = (~padding | padding.all(1, keepdim=True))[:, None, None, :]
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return attended.transpose(1, 2).flatten(2) + functional.embedding(history, items)

    def _heads(self, vectors: Tensor) -> Tensor:
        """Return (B, T, d) as (B, heads, T, d / heads)."""
        return vectors.unflatten(-1, (self.config.n_heads, -1)).transpose(1, 2)
