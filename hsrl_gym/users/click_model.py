"""The learned user: click probabilities of a slate from profile and history (Psi, Appendix B)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from hsrl_gym.users.large import is_large
from hsrl_gym.users.network import SimulatorConfig, UserNetwork, UserTables

__all__ = ["PreparedUsers", "SimulatorConfig", "UserResponseModel"]

_PAIRS_AT_ONCE = 300_000  # pairs of items scored at once on a CPU: their scores fit into its caches
_GROUPS = 8  # of a batch of users, by length of history
_PAIRS_ELSEWHERE = 200_000_000  # the same on other devices: a few GB


class UserResponseModel(UserNetwork):
    """Profile -> query; history -> self-attention -> user attention -> inner product with the item (Appendix B).

    Differences from the paper: attention averages clicks and cannot represent satiation, so items belong softly to C
    learned topics, and each topic's share of the history adds a learned piecewise-linear term to the logits of its
    items. Padding is masked (the reference code does not), and the length of the history is an input instead.
    """

    def forward(
        self, profile: Tensor, history: Tensor, slate: Tensor, offset: Tensor | None = None, grouped: bool = False
    ) -> Tensor:
        """Return click logits (B, K); see `ClickModel`.

        An offset (B, K) is added to the affinities. Users grouped by length take less time, as those of a large catalog
        always do; the last bits of the logits then differ.
        """
        tables, history, slate = self._tables_of(history, slate)
        affinity = self._affinities(tables, profile, history, slate, grouped)
        return _within_bounds(affinity if offset is None else affinity + offset, tables.bounds)

    def appeal(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K) without the bounds on the click probability."""
        tables, history, slate = self._tables_of(history, slate)
        return self._affinities(tables, profile, history, slate)

    def states(self, profile: Tensor, history: Tensor) -> Tensor:
        """Return the user states (B, d + C) after a history (B, H); an item's affinity is its target row times it."""
        tables, history, _ = self._tables_of(history, history[:, :0])
        return self._by_length(
            history,
            lambda rows, past: self._state(tables, self.arrive(tables, profile[rows]), past, (past > 0).sum(1)),
        )

    def _affinities(
        self, tables: UserTables, profile: Tensor, history: Tensor, slate: Tensor, grouped: bool = False
    ) -> Tensor:
        return self._by_length(
            history,
            lambda rows, past: self.affinity(
                tables, self.arrive(tables, profile[rows]), past, (past > 0).sum(1), slate[rows]
            ),
            grouped,
        )

    def _tables_of(self, history: Tensor, slate: Tensor) -> tuple[UserTables, Tensor, Tensor]:
        """Return the tables, and histories and slates as rows of them.

        Of a large catalog, the tables hold the items of these histories and slates only.
        """
        if not is_large(self.config.n_items):
            return self.tables(), history, slate
        ids = torch.cat([history, slate], dim=1)
        rows, place = torch.cat([ids.new_zeros(1), ids.flatten()]).unique(return_inverse=True)
        past, shown = place[1:].view_as(ids).split([history.shape[1], slate.shape[1]], dim=1)
        return self.tables(rows), past, shown

    def _by_length(
        self, history: Tensor, part: Callable[[slice | Tensor, Tensor], Tensor], grouped: bool = False
    ) -> Tensor:
        """Return `part(rows, histories)` of all rows; users with short histories go together if it is so wanted.

        Of a large catalog, they always do.
        """
        if not grouped and not is_large(self.config.n_items):
            return part(slice(None), history)
        length, order = (history > 0).sum(1).sort()
        groups = order.tensor_split(_GROUPS)
        ends = length.tensor_split(_GROUPS)
        done = [
            part(rows, history[rows, -max(int(end[-1]), 1) :])
            for rows, end in zip(groups, ends, strict=True)
            if len(rows)
        ]
        return torch.cat(done)[order.argsort()]

    def prepared(self, profiles: Tensor) -> PreparedUsers:
        """Return the users with `profiles` (M, P) under the current weights, on the device of `profiles`."""
        return PreparedUsers(self, profiles)

    def arrive(self, tables: UserTables, profile: Tensor) -> tuple[Tensor, Tensor]:
        """Return what stays constant in a session: user vectors (B, d) and their queries (B, h * d)."""
        user = self.profile_map(profile)
        return user, functional.linear(user, *tables.query)

    def affinity(
        self, tables: UserTables, users: tuple[Tensor, Tensor], history: Tensor, length: Tensor, slate: Tensor
    ) -> Tensor:
        """Return the affinities (B, K) of users (see `arrive`) for slates (B, K).

        Their histories (B, T) hold `length` (B,) clicked items.
        """
        state = self._state(tables, users, history, length)
        target = functional.embedding(slate, tables.target)  # (B, K, d + C + 1)
        return torch.baddbmm(target[..., -1:], target[..., :-1], state.unsqueeze(2)).squeeze(2)

    def _state(self, tables: UserTables, users: tuple[Tensor, Tensor], history: Tensor, length: Tensor) -> Tensor:
        """Return what the targets of items are multiplied with, (B, d + C)."""
        user, query = users
        pooled, items, topics = self._attend(tables, query, history)
        length = length.unsqueeze(1).to(user.dtype)
        some = length.clamp(min=1.0)
        filled = length / self.config.history_length
        known = torch.cat([user, pooled, items / some, filled, filled.sqrt(), length / some], dim=1)
        hidden = functional.gelu(functional.linear(known, *tables.hidden))
        hidden = functional.dropout(hidden, self.config.dropout, self.training)
        state = functional.linear(hidden, *tables.out) + user  # (B, d)
        return torch.cat([state, self._mood(topics / self.config.history_length)], dim=1)

    def _mood(self, share: Tensor) -> Tensor:
        """Return what each topic adds to the logits of its items (B, C), given its share (B, C) of H clicks."""
        past_knee = functional.softplus(share.unsqueeze(2) - self.knee, beta=40.0)
        return 10.0 * torch.einsum("bck,ck->bc", past_knee, self.slope)

    def _attend(self, tables: UserTables, query: Tensor, history: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return attention-pooled histories (B, h * d), and sums over them of items (B, d) and topics (B, C)."""
        heads, width = self.config.n_heads, self.config.width // self.config.n_heads
        n_topics = self.config.n_topics // heads
        n_users, length = history.shape
        first_row = torch.arange(0, len(tables.parts), len(tables.parts) // heads, device=history.device)
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


class PreparedUsers:
    """The users of a pool, with everything precomputed that does not depend on history and slate; a `Respond`."""

    def __init__(self, model: UserResponseModel, profiles: Tensor) -> None:
        """Copy the model to the device of `profiles` (M, P) and precompute."""
        self.model = copy.deepcopy(model).to(profiles.device).eval().requires_grad_(False)
        with torch.no_grad():
            self.tables = self.model.whole_tables()
            self.users, self.queries = self.model.arrive(self.tables, profiles)  # (M, d), (M, h * d)
            self.lowest, _, self.span = self.tables.bounds.tolist()

    def __call__(self, user: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click probabilities (B, K) of rows `user` (B,) of the pool with right-aligned histories (B, H).

        On a CPU, users are sorted by history length and taken in groups. So little work goes to padding, and the scores
        of a group fit into the caches.
        """
        length = (history > 0).sum(1)
        if history.device.type != "cpu":  # reading the lengths would force a synchronization
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


def _within_bounds(affinity: Tensor, bounds: Tensor) -> Tensor:
    """Return the logit of p = lowest + span sigmoid(affinity), for (lowest, 1 - highest, span).

    The bounds are the learned lower and upper asymptotes of item response theory's four-parameter model: no click is
    certain and none is impossible. Both logarithms are of sums of positive terms, so no digits cancel.
    """
    lowest, above_highest, span = bounds.unbind()
    click = lowest + span * torch.sigmoid(affinity)
    no_click = above_highest + span * torch.sigmoid(-affinity)
    return click.log() - no_click.log()
