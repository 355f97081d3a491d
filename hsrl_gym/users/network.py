"""The layers of the learned user, and the tables that depend on its weights alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsrl_gym.errors import HsrlError
from hsrl_gym.users.large import is_large

_LARGEST_SCORE = 75.0  # largest score of the self-attention; exp of more comes near the end of float32
_ITEMS_AT_ONCE = 50_000  # whose tables are computed at once, of a large catalog
_KNEES = (0.05, 0.1, 0.2, 0.4)  # initial positions of the knees, as shares of the history
_NEVER = -87.0  # score of padding: exp of it is almost 0, but not yet denormal, which would be slow


@dataclass(frozen=True)
class SimulatorConfig:
    """Sizes of a `UserResponseModel`.

    Attributes:
        n_items: N.
        n_item_features: F.
        n_profile: P.
        history_length: H.
        width: d of items, users and attention.
        n_heads: attention heads; divides `width` and `n_topics`.
        n_topics: C, groups of items that a user can tire of.
        dropout: dropout rate of the last hidden layer in training.

    Raises:
        HsrlError: if `n_heads` divides `width` or `n_topics` with a remainder.
    """

    n_items: int
    n_item_features: int
    n_profile: int
    history_length: int = 50
    width: int = 32
    n_heads: int = 2
    n_topics: int = 24
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.n_heads or self.n_topics % self.n_heads:
            raise HsrlError(
                f"got width {self.width}, {self.n_topics} topics and {self.n_heads} heads, expected heads that divide "
                "both."
            )

    def to_dict(self) -> dict[str, int | float]:
        """Return the settings as plain numbers, to be written to YAML."""
        return asdict(self)


class UserTables(NamedTuple):
    """The parts of a `UserResponseModel` that depend on no user. Sessions compute them once, training once per batch.

    Letters: h heads of width w = d / h. A vector of width d is split into h parts of width w, one for each head of the
    self-attention. All heads of all users are then one batched product of B * h matrices.

    Attributes:
        parts: (h * (N + 1), 4w + C / h + 2), for each head and item: query, 1, key, score (0 for items, `_NEVER` for
            padding), item, topics, value. For padding, key, item, topics and value are zero.
        query: weight (h * d, d) and bias that give a user's queries, already multiplied with the key projection; rows
            in the order part, head, unit.
        hidden, out: weights and biases of the user's last two layers; the first includes the value projection.
        target: (N + 1, d + C + 1), per item: the vector that is multiplied with the user, the topics, the bias.
        bounds: (3,), the lowest click probability, 1 minus the highest, and the span between them.
    """

    parts: Tensor
    query: tuple[Tensor, Tensor]
    hidden: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    target: Tensor
    bounds: Tensor


class UserNetwork(nn.Module):
    """The layers of a `UserResponseModel`, and its item tables.

    There are no positions and no layer between the item table and the attention. All projections inside the attention
    are therefore properties of an item. The user attention projects sums of item vectors; being linear, that projection
    is applied once per user, after the sum.
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
        self.topic = nn.Linear(width, config.n_topics)
        self.topic_sharpness = nn.Parameter(torch.tensor(4.0))
        self.knee = nn.Parameter(torch.tensor(_KNEES).repeat(config.n_topics, 1))  # (C, knees)
        self.slope = nn.Parameter(torch.full((config.n_topics, len(_KNEES)), -0.3))  # logits a tenth of the history
        nn.init.orthogonal_(self.topic.weight)
        self.bounds = nn.Parameter(torch.tensor([-1.0, 1.0]))  # of the click probability, before the sigmoid
        nn.init.normal_(self.item_free.weight, std=0.01)
        nn.init.zeros_(self.item_free_bias.weight)

    def tables(self, rows: Tensor | None = None) -> UserTables:
        """Return the tables for the current weights.

        Args:
            rows: (n,) item ids, padding first; the tables then have rows for these alone. None for all N + 1.
        """
        features, free, bias = self.get_buffer("item_features"), self.item_free.weight, self.item_free_bias.weight
        if rows is not None:
            features, free, bias = features[rows], free[rows], bias[rows]
        items = self.item_map(features) + free  # (N + 1, d)
        real = (torch.arange(len(items), device=items.device) > 0).to(items.dtype).unsqueeze(1)
        key = self._heads(self.self_key(items) * real)  # (h, N + 1, w)
        topics = torch.softmax(self.topic_sharpness * self.topic(items), dim=1) * real  # (N + 1, C)
        columns = (
            _bounded(self._heads(self.self_query(items)), key),
            torch.ones_like(real).expand(self.config.n_heads, -1, -1),
            key,
            (_NEVER * (1.0 - real)).expand(self.config.n_heads, -1, -1),
            self._heads(items * real),
            self._heads(topics),
            self._heads(self.self_value(items) * real),
        )
        lowest, above_highest = 0.5 * torch.sigmoid(self.bounds[0]), 0.5 * torch.sigmoid(-self.bounds[1])
        return UserTables(
            parts=torch.cat(columns, dim=2).flatten(0, 1),
            query=self._query_table(),
            hidden=self._hidden_table(),
            out=_weights(self.user_map[3]),
            target=torch.cat([self.item_target(items), topics, self.item_bias(items) + bias], dim=1),
            bounds=torch.stack([lowest, above_highest, 1.0 - above_highest - lowest]),
        )

    def whole_tables(self) -> UserTables:
        """Return `tables()`; of a large catalog without intermediate results for all items at once."""
        n_items = self.config.n_items
        if not is_large(n_items):
            return self.tables()
        ids = torch.arange(n_items + 1, device=self.item_target.weight.device)
        some = self.tables(ids[:1])
        heads, width = self.config.n_heads, some.parts.shape[1]
        parts = some.parts.new_empty(heads, len(ids), width)
        target = some.target.new_empty(len(ids), some.target.shape[1])
        for rows in ids.split(_ITEMS_AT_ONCE):
            part = self.tables(functional.pad(rows, (1, 0)))  # padding first
            parts[:, rows] = part.parts.view(heads, -1, width)[:, 1:]
            target[rows] = part.target[1:]
        parts[:, 0], target[0] = some.parts, some.target[0]
        return some._replace(parts=parts.flatten(0, 1), target=target)

    def _query_table(self) -> tuple[Tensor, Tensor]:
        """Return W_k^T W_q of each head: <W_k x, W_q u> = <x, W_k^T W_q u>.

        The bias of the keys is left out: it adds the same number to all scores of a user, and softmax removes it.
        """
        heads, width = self.config.n_heads, self.config.width // self.config.n_heads
        key = self.user_key.weight.view(heads, width, heads, width) / width**0.5  # head, row, part, unit
        weight = torch.einsum("hrpu,hrd->phud", key, self.user_query.weight.view(heads, width, -1))
        bias = torch.einsum("hrpu,hr->phu", key, self.user_query.bias.view(heads, width))
        return weight.flatten(0, 2), bias.flatten()

    def _hidden_table(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the hidden layer.

        Its inputs are the user, the pooled items (part, head, unit), the mean item, two functions of the history's
        length, and whether there is a history.
        """
        heads, d = self.config.n_heads, self.config.width
        weight, bias = _weights(self.user_map[0])
        user, pooled, mean, amounts = weight.split([d, d, d, 2], dim=1)
        value = self.user_value.weight.view(heads, d // heads, heads, d // heads)  # head, row, part, unit
        projected = torch.einsum("ohr,hrpu->ophu", pooled.unflatten(1, (heads, -1)), value).flatten(1)
        value_bias = (pooled @ self.user_value.bias).unsqueeze(1)
        return torch.cat([user, projected, mean, amounts, value_bias], dim=1), bias

    def _heads(self, vectors: Tensor) -> Tensor:
        """Return (N + 1, d) as (h, N + 1, w)."""
        return vectors.unflatten(1, (self.config.n_heads, -1)).transpose(0, 1)


def _weights(layer: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, nn.Linear)
    return layer.weight, layer.bias


def _bounded(query: Tensor, key: Tensor) -> Tensor:
    """Return scaled queries (h, N + 1, w), shortened where a score could exceed `_LARGEST_SCORE`.

    Learned models have no such query. The bound makes exp safe without subtracting the largest score of each row.
    """
    query = query / query.shape[2] ** 0.5
    with torch.no_grad():
        largest = query.norm(dim=2, keepdim=True) * key.norm(dim=2).amax(1)[:, None, None]
        share = (_LARGEST_SCORE / largest).clamp(max=1.0)
    return query * share
