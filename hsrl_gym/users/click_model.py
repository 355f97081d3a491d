"""The learned user: click probabilities of a slate from profile and history (Psi, Appendix B)."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsrl_gym.errors import HsrlError

_PAIRS_AT_ONCE = 300_000  # of items, on a CPU: their scores stay in its caches
_PAIRS_ELSEWHERE = 200_000_000  # of items: some GB
_LARGEST_SCORE = 75.0  # of the self-attention; exp of more would come near the end of float32
_KNEES = (0.05, 0.1, 0.2, 0.4)  # shares of the history, at which what a topic's fullness costs may bend
_NEVER = -87.0  # the score of padding: exp of it is next to nothing, but not yet denormal, which is slow


class ClickModel(Protocol):
    """Anything that knows what users click on: the learned one here, or a known one (`data/synthetic.py`)."""

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
        n_heads: attention heads; divides `width` and `n_topics`.
        n_topics: C, groups of items that a user can have had enough of.
        dropout: share of the user's and the items' units dropped in training.

    Raises:
        HsrlError: for heads that do not divide width and topics.
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
    """All of a `UserResponseModel` that depends on no user: made once to play, once a batch to train.

    Letters: h heads of width w = d / h. A vector of width d is h parts of width w, one to each head of the
    self-attention, so that all heads of all users are one product of B * h matrices.

    Attributes:
        parts: (h * (N + 1), 4w + C / h + 2), for each head and item: query, 1, key, score (0, but that of padding
            for padding), item, topics, value. For padding, key, item, topics and value are zero.
        query: weight (h * d, d) and bias of a user's queries, carried back through the projection of the keys;
            ordered part, head, unit.
        hidden, out: weights and biases of the user's last two layers, the projection of the values within the first.
        target: (N + 1, d + C + 1), the vector that a user is multiplied with, the item's topics, and its bias.
        bounds: (3,), the lowest click probability, what the highest lacks to 1, and the span between them.
    """

    parts: Tensor
    query: tuple[Tensor, Tensor]
    hidden: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    target: Tensor
    bounds: Tensor


class UserResponseModel(nn.Module):
    """Profile -> query; history -> self-attention -> user attention -> inner product with the item.

    To that a user adds what the session has made of each topic: items belong softly to C learned topics, and how much
    of the history a topic fills raises or lowers its items, by a learned broken line. An average of what was clicked,
    which is all that attention yields, cannot tell enough from too much.

    Padding is masked, and the length of the history is an input of its own. There are no positions and no layer
    between the item table and the attention, so that all of its projections are properties of an item. The user
    attention projects sums of such vectors, and what is linear in a sum can be done after it, once a user.
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

    def forward(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K); see `ClickModel`."""
        tables = self.tables()
        return _within_bounds(self._asked(tables, profile, history, slate), tables.bounds)

    def appeal(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return (B, K), what the click logits would be if probabilities could come near 0 and 1."""
        return self._asked(self.tables(), profile, history, slate)

    def _asked(self, tables: UserTables, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        return self.affinity(tables, self.arrive(tables, profile), history, (history > 0).sum(1), slate)

    def prepared(self, profiles: Tensor) -> PreparedUsers:
        """Return the users of `profiles` (M, P) as this model is now, ready to be played on their device."""
        return PreparedUsers(self, profiles)

    def tables(self) -> UserTables:
        """Return what does not depend on a user."""
        items = self.item_map(self.item_features) + self.item_free.weight  # (N + 1, d)
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
            target=torch.cat(
                [self.item_target(items), topics, self.item_bias(items) + self.item_free_bias.weight], dim=1
            ),
            bounds=torch.stack([lowest, above_highest, 1.0 - above_highest - lowest]),
        )

    def _query_table(self) -> tuple[Tensor, Tensor]:
        """Return W_k^T W_q of each head: <W_k x, W_q u> = <x, W_k^T W_q u>.

        The bias of the keys adds the same to all scores of a user, which softmax takes out again.
        """
        heads, width = self.config.n_heads, self.config.width // self.config.n_heads
        key = self.user_key.weight.view(heads, width, heads, width) / width**0.5  # head, row, part, unit
        weight = torch.einsum("hrpu,hrd->phud", key, self.user_query.weight.view(heads, width, -1))
        bias = torch.einsum("hrpu,hr->phu", key, self.user_query.bias.view(heads, width))
        return weight.flatten(0, 2), bias.flatten()

    def _hidden_table(self) -> tuple[Tensor, Tensor]:
        """Return the hidden layer over user, pooled items (part, head, unit), mean item, amounts, "has a history"."""
        heads, d = self.config.n_heads, self.config.width
        weight, bias = _weights(self.user_map[0])
        user, pooled, mean, amounts = weight.split([d, d, d, 2], dim=1)
        value = self.user_value.weight.view(heads, d // heads, heads, d // heads)  # head, row, part, unit
        projected = torch.einsum("ohr,hrpu->ophu", pooled.unflatten(1, (heads, -1)), value).flatten(1)
        value_bias = (pooled @ self.user_value.bias).unsqueeze(1)
        return torch.cat([user, projected, mean, amounts, value_bias], dim=1), bias

    def arrive(self, tables: UserTables, profile: Tensor) -> tuple[Tensor, Tensor]:
        """Return what stays through a session: users (B, d) and their queries (B, h * d)."""
        user = self.profile_map(profile)
        return user, functional.linear(user, *tables.query)

    def affinity(
        self, tables: UserTables, users: tuple[Tensor, Tensor], history: Tensor, length: Tensor, slate: Tensor
    ) -> Tensor:
        """Return (B, K), how users (see `arrive`) like a slate after `length` (B,) clicked items in history (B, T)."""
        user, query = users
        pooled, items, topics = self._attend(tables, query, history)
        length = length.unsqueeze(1).to(user.dtype)
        some = length.clamp(min=1.0)
        filled = length / self.config.history_length
        known = torch.cat([user, pooled, items / some, filled, filled.sqrt(), length / some], dim=1)
        hidden = functional.gelu(functional.linear(known, *tables.hidden))
        hidden = functional.dropout(hidden, self.config.dropout, self.training)
        state = functional.linear(hidden, *tables.out) + user  # (B, d)
        state = torch.cat([state, self._mood(topics / self.config.history_length)], dim=1)  # (B, d + C)
        target = functional.embedding(slate, tables.target)  # (B, K, d + C + 1)
        return torch.baddbmm(target[..., -1:], target[..., :-1], state.unsqueeze(2)).squeeze(2)

    def _mood(self, share: Tensor) -> Tensor:
        """Return (B, C), the logits that topics filling shares (B, C) of the last H clicks add to their items."""
        past_knee = functional.softplus(share.unsqueeze(2) - self.knee, beta=40.0)
        return 10.0 * torch.einsum("bck,ck->bc", past_knee, self.slope)

    def _attend(self, tables: UserTables, query: Tensor, history: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the users' attention finds in histories, (B, h * d), and sums of items (B, d), topics (B, C)."""
        heads, width = self.config.n_heads, self.config.width // self.config.n_heads
        n_topics = self.config.n_topics // heads
        n_users, length = history.shape
        first_row = torch.arange(0, len(tables.parts), self.config.n_items + 1, device=history.device)
        rows = (history.unsqueeze(1) + first_row.unsqueeze(1)).flatten()
        parts = tables.parts.index_select(0, rows).view(n_users * heads, length, -1)
        asks, answers, whole, value = parts.split([width + 1, width + 1, width + n_topics, width], dim=2)
        weight = torch.bmm(asks, answers.transpose(1, 2)).exp_()  # (B h, T, T); softmax's maximum: see `_bounded`
        total = weight.sum(2, keepdim=True).clamp(min=1e-34)  # less is padding alone, whose values are zero
        clicked = torch.bmm(weight, value) / total + whole[..., :width]  # (B h, T, w)
        # The score of an item is the sum of its parts' scores. Who has no history gets an average of zeros.
        padding = answers[..., -1].unsqueeze(1)
        score = torch.baddbmm(padding, query.view(-1, heads, width), clicked.transpose(1, 2), beta=10.0)
        attention = score.view(n_users, heads, heads, length).sum(1).softmax(2)  # (B, h, T)
        attention = attention.unsqueeze(1).expand(-1, heads, -1, -1).reshape(n_users * heads, heads, length)
        items, topics = whole.sum(1).split([width, n_topics], dim=1)  # (B h, w), (B h, C / h)
        pooled = torch.bmm(attention, clicked)
        return pooled.view(n_users, -1), items.reshape(n_users, -1), topics.reshape(n_users, -1)

    def _heads(self, vectors: Tensor) -> Tensor:
        """Return (N + 1, d) as (h, N + 1, w)."""
        return vectors.unflatten(1, (self.config.n_heads, -1)).transpose(0, 1)


class PreparedUsers:
    """The users of a pool, all that can be known before they are shown anything computed once."""

    def __init__(self, model: UserResponseModel, profiles: Tensor) -> None:
        """Take profiles (M, P); the model is copied to their device."""
        self.model = copy.deepcopy(model).to(profiles.device).eval().requires_grad_(False)  # `to` moves everybody's
        with torch.no_grad():
            self.tables = self.model.tables()
            self.users, self.queries = self.model.arrive(self.tables, profiles)  # (M, d), (M, h * d)
            self.lowest, _, self.span = self.tables.bounds.tolist()

    def __call__(self, user: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click probabilities (B, K) of rows `user` (B,) of the pool with right-aligned histories (B, H).

        On a CPU users with about as many items are played together, some at a time: the work is that of their items
        and not of the padding to the longest, and stays in the caches.
        """
        length = (history > 0).sum(1)
        if history.device.type != "cpu":  # to see the lengths it would have to stop
            n_users = max(_PAIRS_ELSEWHERE // history.shape[1] ** 2, 1)
            parts = zip(*(column.split(n_users) for column in (user, history, length, slate)), strict=True)
            return torch.cat([self._respond(*part) for part in parts])
        longest = max(int(length.max()), 1)
        if len(user) * longest**2 <= _PAIRS_AT_ONCE:
            return self._respond(user, history[:, -longest:], length, slate)
        probability = self.users.new_empty(slate.shape)
        ordered, order = length.sort()
        while len(order):
            longest = max(int(ordered[-1]), 1)
            n_rest = max(len(order) - max(_PAIRS_AT_ONCE // longest**2, 1), 0)
            rows, order, ordered = order[n_rest:], order[:n_rest], ordered[:n_rest]
            recent = history[:, -longest:].index_select(0, rows)
            probability[rows] = self._respond(user[rows], recent, length[rows], slate[rows])
        return probability

    def _respond(self, user: Tensor, history: Tensor, length: Tensor, slate: Tensor) -> Tensor:
        users = self.users.index_select(0, user), self.queries.index_select(0, user)
        affinity = self.model.affinity(self.tables, users, history, length, slate)
        return torch.sigmoid(affinity).mul_(self.span).add_(self.lowest)


def _weights(layer: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, nn.Linear)
    return layer.weight, layer.bias


def _bounded(query: Tensor, key: Tensor) -> Tensor:
    """Return scaled queries (h, N + 1, w), shortened where a score of a key might pass `_LARGEST_SCORE`.

    None is in a model that was learned; it is so that exp can do without the largest score of each row.
    """
    query = query / query.shape[2] ** 0.5
    with torch.no_grad():
        largest = query.norm(dim=2, keepdim=True) * key.norm(dim=2).amax(1)[:, None, None]
        share = (_LARGEST_SCORE / largest).clamp(max=1.0)
    return query * share


def _within_bounds(affinity: Tensor, bounds: Tensor) -> Tensor:
    """Return the logit of p = lowest + span sigmoid(affinity), for (lowest, 1 - highest, span).

    Nobody clicks with certainty and some click on anything: the lower and upper asymptotes of item response theory's
    four-parameter model, learned. Both logarithms are of sums of positive terms, so nothing cancels.
    """
    lowest, above_highest, span = bounds.unbind()
    click = lowest + span * torch.sigmoid(affinity)
    no_click = above_highest + span * torch.sigmoid(-affinity)
    return click.log() - no_click.log()
