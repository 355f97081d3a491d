"""The encoder of the state in plain torch: SASRec over the clicked items and the user (eq. 10).

Letters: B users, H history length, N items, d width, P profile width, h heads of width w = d / h; S tokens of all
users together, and in a group of users: n of them, T tokens each.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_SMALLEST_GROUP = 16  # users of about the same length of history, on a CPU
_UNSEEN = -1e9  # added to the score of what must not be seen; finite, for padding sees nothing at all


class _Group(NamedTuple):
    """n users with about as many items.

    Attributes:
        width: T, tokens of each.
        size: n T, tokens of all.
        ends: (n,), where the last tokens of the users stand among the tokens of all groups.
        mask: (n, 1, T, T), to be added to the scores of keys (rows) for queries (columns).
    """

    width: int
    size: int
    ends: Tensor
    mask: Tensor


class SASRec(nn.Module):
    """Causal self-attention over the clicked items, closed by a token of the user: c_0 (eq. 10).

    Eq. 10 takes the state and the history; the user's profile is the last token of the sequence, so that its output
    has seen both, and a user without history needs no special case. Items are looked up from ids: a map of their
    features plus a free vector.

    Padding is skipped, and draws no dropout: users are put into a few groups of about the same length, and each group
    is as wide as its longest history. All that is done token by token is done for all groups at once.
    """

    causal: Tensor

    def __init__(
        self,
        item_features: Tensor,
        n_profile: int,
        history_length: int,
        width: int = 32,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("item_features", item_features.float(), persistent=True)  # (N + 1, F)
        self.item_map = nn.Linear(item_features.shape[1], width)
        self.item_free = nn.Embedding(len(item_features), width, padding_idx=0)
        self.profile_map = nn.Sequential(nn.Linear(n_profile, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.position = nn.Parameter(0.02 * torch.randn(history_length + 1, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.item_free.weight, std=0.02)
        causal = torch.full((history_length + 1, history_length + 1), _UNSEEN).tril(-1)
        self.register_buffer("causal", causal, persistent=False)

    def item_table(self) -> Tensor:
        """Return the item vectors, (N + 1, d)."""
        return self.item_map(self.get_buffer("item_features")) + self.item_free.weight

    def forward(self, profile: Tensor, history: Tensor) -> Tensor:
        """Return c_0 (B, d) of profile (B, P) float and right-aligned history (B, H) of item ids."""
        length = (history > 0).sum(1)
        order = length.argsort(stable=True)
        history, profile = history.index_select(0, order), profile.index_select(0, order)
        groups = self._groups(history, length.index_select(0, order))
        items = self.item_table()
        # A token is a row of the item table or, behind it, of the users.
        user_rows = torch.arange(len(items), len(items) + len(history), device=history.device)
        rows = torch.cat([history, user_rows.unsqueeze(1)], dim=1)  # (B, H + 1)
        places = torch.arange(rows.shape[1], device=history.device).expand_as(rows)
        sizes = [len(group.mask) for group in groups]
        rows, places = (
            torch.cat([part[:, -group.width :].flatten() for part, group in zip(x.split(sizes), groups, strict=True)])
            for x in (rows, places)
        )
        vectors = functional.embedding(rows, torch.cat([items, self.profile_map(profile)]))
        tokens = self.dropout(vectors + functional.embedding(places, self.position))  # (S, d)
        for block in self.blocks[:-1]:
            tokens = block(tokens, groups)
        last = self.blocks[-1]
        assert isinstance(last, _Block)
        return self.norm(last.close(tokens, groups)).index_select(0, order.argsort())

    def _groups(self, history: Tensor, length: Tensor) -> list[_Group]:
        """Return the groups of histories (B, H) in order of their length (B,)."""
        unseen = functional.pad((history == 0).to(self.causal.dtype) * _UNSEEN, (0, 1))  # the user is always seen
        groups, n_tokens = [], 0
        for start, stop, width in self._bounds(length, history.shape[1], history.device.type == "cpu"):
            size = (stop - start) * (width + 1)
            ends = torch.arange(n_tokens + width, n_tokens + size, width + 1, device=history.device)
            mask = unseen[start:stop, None, -width - 1 :, None] + self.causal[-width - 1 :, -width - 1 :]
            groups.append(_Group(width + 1, size, ends, mask))
            n_tokens += size
        return groups

    @staticmethod
    def _bounds(length: Tensor, longest: int, on_cpu: bool) -> list[tuple[int, int, int]]:
        """Return first user, end and items of each group of users, who are ordered by length (B,).

        Half of the users, half of the rest, and so on: the longest histories are the fewest. To see the lengths
        another device than the CPU would have to stop; there all are one group, as wide as the history.
        """
        n_users = len(length)
        if not on_cpu:
            return [(0, n_users, longest)]
        rests = [n_users >> part for part in range(1, n_users.bit_length()) if n_users >> part >= _SMALLEST_GROUP]
        bounds = [0, *(n_users - rest for rest in rests), n_users]
        return [(start, stop, int(length[stop - 1])) for start, stop in pairwise(bounds)]


class _Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.forward_map = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)
        self.scale = (width // n_heads) ** -0.5

    def forward(self, tokens: Tensor, groups: list[_Group]) -> Tensor:
        """Return (S, d) for tokens (S, d), each of which sees itself and what came before it."""
        normed, sizes = self.norm_attention(tokens), [group.size for group in groups]
        query = functional.linear(normed, self.scale * self.query.weight, self.scale * self.query.bias)  # (S, d)
        key_value = normed @ self.key_value.weight.t()  # (S, 2d)
        found = [self._attend(*parts) for parts in zip(query.split(sizes), key_value.split(sizes), groups, strict=True)]
        return self._feed_forward(tokens + self.dropout(self._out(torch.cat(found))))

    def _attend(self, query: Tensor, key_value: Tensor, group: _Group) -> Tensor:
        """Return what the queries (n T, d) find, (n T, d), for keys and values (n T, 2d) of a group.

        Heads are narrow: matrices (w, T), which have the tokens in the direction of their rows, multiply several
        times faster on a CPU than (T, w), and than fused attention does.
        """
        n_users, width = len(group.mask), group.width
        query = query.view(n_users, width, self.n_heads, -1).permute(0, 2, 3, 1).flatten(0, 1)  # (n h, w, T)
        by_head = key_value.view(n_users, width, 2, self.n_heads, -1).permute(2, 0, 3, 4, 1)
        key, value = by_head.reshape(2, n_users * self.n_heads, -1, width).unbind()
        score = torch.bmm(key.transpose(1, 2), query).view(n_users, self.n_heads, width, width)
        weight = (score + group.mask).softmax(2).flatten(0, 1)  # over keys
        found = torch.bmm(value, weight).view(n_users, -1, width)  # (n, d, T)
        return found.transpose(1, 2).flatten(0, 1)

    def _out(self, found: Tensor) -> Tensor:
        """Return the projection of what was found by values without their bias, which is the same for all tokens.

        (The bias of the keys adds the same to all scores of a query, which softmax takes out again.)
        """
        bias = self.key_value.bias[self.query.out_features :]
        return functional.linear(found, self.out.weight, torch.addmv(self.out.bias, self.out.weight, bias))

    def close(self, tokens: Tensor, groups: list[_Group]) -> Tensor:
        """Return (B, d), the last token of each user after this block; for the others nobody asks.

        With one query a user, the projections of keys and values are cheaper on its side of the products:
        <W_k x, q> = <x, W_k^T q>, and the weighted sum of W_v x is W_v times that of x.
        """
        normed, sizes = self.norm_attention(tokens), [group.size for group in groups]
        ends = torch.cat([group.ends for group in groups])
        key, value = self.key_value.weight.unflatten(0, (2, self.n_heads, -1)).unbind()  # (h, w, d)
        query = self.scale * self.query(normed.index_select(0, ends)).unflatten(1, (self.n_heads, -1))  # (B, h, w)
        asked = torch.bmm(query.transpose(0, 1), key).transpose(0, 1).split([len(group.mask) for group in groups])
        found = [self._ask(*parts) for parts in zip(asked, normed.split(sizes), groups, strict=True)]
        by_head = torch.bmm(torch.cat(found).transpose(0, 1), value.transpose(1, 2))  # (h, B, w)
        found_last = self._out(by_head.transpose(0, 1).flatten(1))
        return self._feed_forward(tokens.index_select(0, ends) + self.dropout(found_last))

    def _ask(self, asked: Tensor, normed: Tensor, group: _Group) -> Tensor:
        """Return what the heads of n users find, (n, h, d), in their tokens (n T, d), for questions (n, h, d)."""
        normed = normed.view(len(asked), group.width, -1)
        weight = (torch.bmm(asked, normed.transpose(1, 2)) + group.mask[..., -1]).softmax(2)  # (n, h, T)
        return torch.bmm(weight, normed)

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.dropout(self.forward_map(self.norm_forward(tokens)))
