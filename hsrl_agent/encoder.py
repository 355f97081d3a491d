"""The state encoder in plain torch: SASRec over the clicked items and the user (eq. 10).

Letters: B users, H history length, N items, F item features, d width, P profile width, h heads of width w = d / h.
S is the number of tokens of all users. A group has n users with T tokens each.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsrl_gym.errors import HsrlError

_SMALLEST_GROUP = 16  # users, on a CPU
OWN_ROWS = 16_384  # items that have free vectors of their own
SHARED_ROWS = 4_096  # free vectors of a larger catalog; four times as many make an update 1.3 times as long
_FIBONACCI = 2_654_435_769  # 2^32 / golden ratio: multiplicative hashing (Knuth, TAOCP 3, 6.4)
_UNSEEN = -1e9  # added to masked attention scores; finite, because every score of a padding token is masked


class _Group(NamedTuple):
    """n users with histories of similar length.

    Attributes:
        width: T, tokens of each.
        size: n T, tokens of all.
        ends: (n,), positions of the users' last tokens among the tokens of all groups.
        mask: (n, 1, T, T), added to the scores of keys (rows) for queries (columns).
    """

    width: int
    size: int
    ends: Tensor
    mask: Tensor


class SASRec(nn.Module):
    """Causal self-attention over the clicked items, followed by a token for the user: c_0 (eq. 10).

    Eq. 10 takes the state and the history. The user's profile is the last token of the sequence, so its output depends
    on both, and a user without history needs no special case. An item's vector is a linear map of its features plus a
    free vector. Beyond `OWN_ROWS` items, `SHARED_ROWS` free vectors are shared by items with the same hash (the hashing
    trick: Weinberger et al. 2009), and only the items of the batch are mapped. So neither weights nor time grow with N.

    Padding is skipped and draws no dropout: users are sorted into a few groups of similar history length, and each
    group is as wide as its longest history. Operations on single tokens run on all groups at once.

    Args:
        item_features: (N + 1, F) float; row 0 is padding.
        n_profile: P.
        history_length: H.
        width: d, a multiple of n_heads.
        n_layers, n_heads, dropout: of the attention blocks.
        per_item: False for items without free vectors.

    Attributes:
        has_arrived: (N + 1,) bool; an item without it has a free vector of 0, and learns none. Histories hold items
            before they are on sale, and what is learned there says nothing of how they are liked.
        shares_rows: whether items share free vectors. Then they have them from the start.
        looks_up: whether only the items of the batch are mapped, where these are fewer than all. Small catalogs map
            all of them unless told otherwise, for the sake of results that were found so.

    Raises:
        HsrlError: for a width that is no multiple of `n_heads`, or no layers.
    """

    causal: Tensor
    item_features: Tensor
    has_arrived: Tensor

    def __init__(
        self,
        item_features: Tensor,
        n_profile: int,
        history_length: int,
        width: int = 32,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.0,
        per_item: bool = True,
    ) -> None:
        if n_layers < 1 or n_heads < 1 or width < 1 or width % n_heads:
            raise HsrlError(
                f"got width {width}, n_heads {n_heads} and n_layers {n_layers} of the encoder, expected a width that "
                "is a multiple of n_heads, and at least one layer."
            )
        super().__init__()
        self.width = width
        self.register_buffer("item_features", item_features.float().clone(), persistent=True)  # (N + 1, F)
        self.register_buffer("has_arrived", torch.ones(len(item_features), dtype=torch.bool))
        self._all_arrived = True
        self.item_map = nn.Linear(item_features.shape[1], width)
        self.shares_rows = self.looks_up = len(item_features) > OWN_ROWS + 1
        n_rows = SHARED_ROWS + 1 if self.shares_rows else len(item_features)
        self.item_free = nn.Embedding(n_rows, width, padding_idx=0) if per_item else None
        self.profile_map = nn.Sequential(nn.Linear(n_profile, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.position = nn.Parameter(0.02 * torch.randn(history_length + 1, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        if self.item_free is not None:
            nn.init.normal_(self.item_free.weight, std=0.02)
        causal = torch.full((history_length + 1, history_length + 1), _UNSEEN).tril(-1)
        self.register_buffer("causal", causal, persistent=False)

    def row_of(self, items: Tensor) -> Tensor:
        """Return the row of each item's free vector: its id, or a hash of it in 1..`SHARED_ROWS`; 0 for padding."""
        if not self.shares_rows:
            return items
        hashed = (items * _FIBONACCI) % (1 << 32) * SHARED_ROWS >> 32
        return (hashed + 1).masked_fill(items == 0, 0)

    def hold_back(self, items: Tensor) -> None:
        """Take the free vectors of items (M,) away until they are on sale."""
        if self.item_free is not None and not self.shares_rows:
            self.has_arrived[items] = False
            self._all_arrived = bool(self.has_arrived.all())

    def free_vectors(self) -> Tensor:
        """Return the free vectors, (N + 1, d), or `SHARED_ROWS` + 1 of them if items share them."""
        assert self.item_free is not None
        weight = self.item_free.weight
        return weight if self._all_arrived else weight * self.has_arrived.unsqueeze(1)

    def item_table(self) -> Tensor:
        """Return the vectors of all items, (N + 1, d)."""
        mapped = self.item_map(self.item_features)
        if self.item_free is None:
            return mapped
        return mapped + (self.item_free(self._all_rows()) if self.shares_rows else self.free_vectors())

    def _all_rows(self) -> Tensor:
        return self.row_of(torch.arange(len(self.item_features), device=self.item_features.device))

    def item_vectors(self, items: Tensor) -> Tensor:
        """Return the vectors of some items, (.., d) for ids (..)."""
        mapped = self.item_map(functional.embedding(items, self.item_features))
        if self.item_free is None:
            return mapped
        return mapped + functional.embedding(self.row_of(items), self.free_vectors(), padding_idx=0)

    @torch.no_grad()
    def refresh(self, items: Tensor, inputs: Tensor, is_live: Tensor) -> None:
        """Take new inputs (M, F) of items (M,), and which of them are on sale; one that was not yet starts at 0."""
        self.item_features[items] = inputs
        new = items[is_live & ~self.has_arrived[items]]
        if len(new):
            assert self.item_free is not None
            self.item_free.weight[new] = 0.0
            self.has_arrived[new] = True
            self._all_arrived = bool(self.has_arrived.all())

    def forward(self, profile: Tensor, history: Tensor) -> Tensor:
        """Return c_0 (B, d) for profile (B, P) float and history (B, H) int64: right-aligned item ids, 0 is padding."""
        length = (history > 0).sum(1)
        order = length.argsort(stable=True)
        history, profile = history.index_select(0, order), profile.index_select(0, order)
        groups = self._groups(history, length.index_select(0, order))
        n_rows = len(self.item_features)
        # Tokens are rows of one table: the items, then the users of this batch.
        user_rows = torch.arange(n_rows, n_rows + len(history), device=history.device)
        rows = torch.cat([history, user_rows.unsqueeze(1)], dim=1)  # (B, H + 1)
        places = torch.arange(rows.shape[1], device=history.device).expand_as(rows)
        sizes = [len(group.mask) for group in groups]
        rows, places = (
            torch.cat([part[:, -group.width :].flatten() for part, group in zip(x.split(sizes), groups, strict=True)])
            for x in (rows, places)
        )
        vectors = self._vectors(rows, self.profile_map(profile))
        tokens = self.dropout(vectors + functional.embedding(places, self.position))  # (S, d)
        for block in self.blocks[:-1]:
            tokens = block(tokens, groups)
        last = self.blocks[-1]
        assert isinstance(last, _Block)
        return self.norm(last.close(tokens, groups)).index_select(0, order.argsort())

    def _vectors(self, rows: Tensor, users: Tensor) -> Tensor:
        """Return the vectors (S, d) of tokens: ids of items, or N + 1 and more for the users (B, d).

        With no more items than tokens, a table of all items costs less than to look up those of the tokens.
        """
        n_rows = len(self.item_features)
        if not self.looks_up or n_rows <= len(rows):
            return functional.embedding(rows, torch.cat([self.item_table(), users]))
        of_user = (rows >= n_rows).nonzero().squeeze(1)
        items = self.item_vectors(rows.masked_fill(rows >= n_rows, 0))
        return items.index_copy(0, of_user, users.index_select(0, rows[of_user] - n_rows))

    def _groups(self, history: Tensor, length: Tensor) -> list[_Group]:
        """Return the groups of histories (B, H), which are sorted by length (B,)."""
        unseen = functional.pad((history == 0).to(self.causal.dtype) * _UNSEEN, (0, 1))  # the user is not masked
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
        """Return (first user, end, longest history) of each group of users, who are sorted by length (B,).

        The groups are half of the users, half of the rest, and so on, because long histories are rare. On a GPU there
        is one group as wide as `longest`: reading the lengths would make the host wait.
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
        """Return (S, d) for tokens (S, d); each attends to itself and the tokens before it."""
        normed, sizes = self.norm_attention(tokens), [group.size for group in groups]
        query = functional.linear(normed, self.scale * self.query.weight, self.scale * self.query.bias)  # (S, d)
        key_value = normed @ self.key_value.weight.t()  # (S, 2d)
        found = [self._attend(*parts) for parts in zip(query.split(sizes), key_value.split(sizes), groups, strict=True)]
        return self._feed_forward(tokens + self.dropout(self._out(torch.cat(found))))

    def _attend(self, query: Tensor, key_value: Tensor, group: _Group) -> Tensor:
        """Return the attention output (n T, d) of a group, for queries (n T, d) and keys and values (n T, 2d).

        Heads are narrow. On a CPU, matrices (w, T) with tokens along the rows multiply several times faster than
        (T, w), and faster than fused attention.
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
        """Return the output projection (.., d) of an attention output (.., d) that was computed without biases.

        The bias of the values is the same for all tokens, so it is added here. The bias of the keys adds a constant to
        all scores of a query, which softmax cancels.
        """
        bias = self.key_value.bias[self.query.out_features :]
        return functional.linear(found, self.out.weight, torch.addmv(self.out.bias, self.out.weight, bias))

    def close(self, tokens: Tensor, groups: list[_Group]) -> Tensor:
        """Return (B, d), the last token of each user after this block. The other tokens are not needed.

        With one query per user it is cheaper to project the query than the keys: <W_k x, q> = <x, W_k^T q>. Likewise
        the weighted sum of W_v x is W_v times the weighted sum of x.
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
        """Return weighted sums (n, h, d) of the tokens (n T, d) of n users, for projected queries (n, h, d)."""
        normed = normed.view(len(asked), group.width, -1)
        weight = (torch.bmm(asked, normed.transpose(1, 2)) + group.mask[..., -1]).softmax(2)  # (n, h, T)
        return torch.bmm(weight, normed)

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.dropout(self.forward_map(self.norm_forward(tokens)))
