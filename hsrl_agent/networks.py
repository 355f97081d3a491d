"""The networks in plain torch: hierarchical policy (HPN), multi-level critic (MLC), and the item-level actor-critic.

Letters: B users, H history length, K slate size, C candidates, L levels, V_l tokens of level l, N items, d width,
P profile width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsrl_agent.encoder import OWN_ROWS, SASRec
from hsrl_agent.tower import TowerPolicyNetwork
from hsrl_gym.errors import HsrlError

_FEW_ROWS = 8_192  # free vectors; measured with 256 x 512 candidates, where it takes 8 or 13 ms


class TiedHead(nn.Module):
    """W_l tied to the codebook: the logit of token z is c . (M C[z] + free[z]) + b[z].

    C (V, D) are the level's centroids and M (d, D) is one projection that all levels share; free and b start at zero.
    An item is nearly the sum of its centroids, so the sum of its tokens' logits is nearly c . M x + ..: what is
    learned about one item holds for similar items from the first step on. Free heads learn every token separately.
    """

    centroids: Tensor

    def __init__(self, centroids: Tensor, projection: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("centroids", centroids.float())
        self.projection = projection  # M
        self.free = nn.Parameter(torch.zeros(len(centroids), projection.out_features))
        self.bias = nn.Parameter(torch.zeros(len(centroids)))

    def forward(self, context: Tensor) -> Tensor:
        """Return logits (B, V) of contexts (B, d)."""
        return functional.linear(context, self.projection(self.centroids) + self.free, self.bias)


class HierarchicalPolicyNetwork(nn.Module):
    """From c_0 to one token distribution per level, each on the residual of the levels before (eq. 11-13)."""

    def __init__(
        self,
        width: int,
        vocabulary: Sequence[int],
        hierarchical: bool = True,
        centroids: Sequence[Tensor] | None = None,
    ) -> None:
        """Build heads W_l, token embeddings E_l and the norms of eq. 13.

        Args:
            width: d.
            vocabulary: V_1 .. V_L.
            hierarchical: False puts every head on c_0, without residual (Table 3, w/o hierarchical policy).
            centroids: L tensors (V_l, D) to tie the heads to; None for free heads (eq. 11 as written).
        """
        super().__init__()
        self.hierarchical, self.vocabulary = hierarchical, tuple(vocabulary)
        self.heads = nn.ModuleList(_heads(width, vocabulary, centroids))  # W_l
        self.tokens = nn.ParameterList(nn.Parameter(0.02 * torch.randn(size, width)) for size in vocabulary)  # E_l
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in vocabulary)

    def forward(self, state: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return L tensors of log p(z_l | c_{l-1}) (B, V_l), and the contexts c_0 .. c_L (B, L + 1, d)."""
        log_probs, contexts = [], [state]
        for head, tokens, norm in zip(self.heads, self.tokens, self.norms, strict=True):
            log_p = functional.log_softmax(head(contexts[-1]), dim=-1)  # eq. 11
            expected = log_p.exp() @ tokens  # e_l, eq. 12
            log_probs.append(log_p)
            contexts.append(norm(contexts[-1] - expected) if self.hierarchical else state)  # eq. 13
        return log_probs, torch.stack(contexts, dim=1)


def _heads(width: int, vocabulary: Sequence[int], centroids: Sequence[Tensor] | None) -> list[nn.Module]:
    if centroids is None:
        return [nn.Linear(width, size) for size in vocabulary]
    n_axes = centroids[0].shape[1]
    projection = nn.Linear(n_axes, width, bias=False)
    nn.init.normal_(projection.weight, std=0.1 / (width * n_axes) ** 0.5)  # the policy starts near uniform
    return [TiedHead(table, projection) for table in centroids]


class MultiLevelCritic(nn.Module):
    """One value function f_phi applied to every context, mixed by learned weights (eq. 15-17)."""

    def __init__(
        self,
        width: int,
        n_levels: int,
        hidden: Sequence[int] = (256, 64),
        multi_level: bool = True,
        privileged: bool = False,
    ) -> None:
        """Build f_phi for contexts of width d and the weights of L + 1 levels.

        Args:
            width: d.
            n_levels: L.
            hidden: widths of the hidden layers of f_phi.
            multi_level: False makes the value V(c_0) alone (Table 3, w/o multi-level critic).
            privileged: f_phi also takes the user's patience, which the policy cannot see (an asymmetric critic: Pinto
                et al. 2017). Whether a user is about to leave decides most of a state's value. To a critic that does
                not know it, this is noise in every target.
        """
        super().__init__()
        self.multi_level, self.privileged = multi_level, privileged
        self.value = _value_map(width + privileged, hidden)  # f_phi
        # Trained like every other weight; the reference code leaves them out of its optimizers.
        self.level_logits = nn.Parameter(torch.zeros(n_levels + 1), requires_grad=multi_level)  # w_l

    def level_weights(self) -> Tensor:
        """Return the softmax weights of the levels, (L + 1,), which sum to 1 (eq. 17)."""
        if self.multi_level:
            return self.level_logits.softmax(0)
        return functional.one_hot(torch.zeros((), dtype=torch.long), len(self.level_logits)).to(self.level_logits)

    def forward(self, contexts: Tensor, patience: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the mixed value (B,) and the values per level (B, L + 1) of contexts (B, L + 1, d).

        A privileged critic takes patience (B,); without it, it assumes 0. Acting needs no values.
        """
        if self.privileged:
            known = torch.zeros_like(contexts[:, 0, 0]) if patience is None else patience.clamp(min=0.0).log1p()
            contexts = torch.cat([contexts, known[:, None, None].expand(-1, contexts.shape[1], 1)], dim=2)
        per_level = self.value(contexts).squeeze(-1)  # eq. 15, 16
        return per_level @ self.level_weights(), per_level


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

    def forward(self, profile: Tensor, history: Tensor, patience: Tensor | None = None) -> Plan:
        """Return the plan for profile (B, P) and history (B, H); patience (B,) is for a privileged critic."""
        log_probs, contexts = self.policy(self.encoder(profile, history))
        value, level_values = self.critic(contexts, patience)
        return Plan(log_probs, value, level_values, contexts)

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
        return self.encoder.item_free.weight[1:], None if items is None else self.encoder.row_of(items) - 1

    def scores_of(self, plan: Plan, items: Tensor) -> Tensor:
        """Return the scores of some items, (B, C) for ids (B, C): what `item_scores` says, without a tensor of B x N.

        Padding, 0, has -inf as items that are not live.
        """
        places = (items - 1).clamp(min=0).flatten()
        tokens = self.codes.index_select(0, places).clamp(min=0).view(*items.shape, -1).unbind(2)  # L of (B, C)
        first, *others = (log_p.gather(1, token) for log_p, token in zip(plan.log_probs, tokens, strict=True))
        scores = sum(others, first)
        if self.residual is not None:
            scores = scores + self._residual_of(plan, items)
        is_live = self.is_live.index_select(0, places).view(items.shape) & (items > 0)
        return scores.masked_fill(~is_live, -torch.inf)

    def _residual_of(self, plan: Plan, items: Tensor) -> Tensor:
        """Return <c_L, W f_i> + <w, f_i> = <W^T c_L + w, f_i> of items (B, C), (B, C)."""
        assert self.residual is not None
        assert self.encoder.item_free is not None
        asked = plan.contexts[:, -1] @ self.residual.weight[:-1] + self.residual.weight[-1]  # (B, d)
        rows, free = self.encoder.row_of(items), self.encoder.item_free.weight
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
        left = self.residual(shares.rows @ self.encoder.item_free.weight)  # (d + 1,)
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


class ItemNetwork(nn.Module):
    """SASRec with one score per item and one value: the item-level actor-critic of the baselines."""

    is_live: Tensor

    def __init__(self, encoder: SASRec, is_live: Tensor, width: int = 32, hidden: Sequence[int] = (256, 64)) -> None:
        """Take the encoder, and a mask (N,) bool of the items that are live."""
        super().__init__()
        self.encoder = encoder
        self.target = nn.Linear(width, width)
        self.bias = nn.Linear(width, 1)
        self.value = _value_map(width, hidden)
        self.register_buffer("is_live", is_live)

    def forward(self, profile: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """Return item scores (B, N), -inf where not live, and values (B,)."""
        state = self.encoder(profile, history)  # (B, d)
        items = self.encoder.item_table()[1:]  # (N, d)
        scores = state @ self.target(items).T + self.bias(items).squeeze(-1)
        return scores.masked_fill(~self.is_live, -torch.inf), self.value(state).squeeze(-1)


@torch.no_grad()
def copy_shared_weights(network: nn.Module, learned: nn.Module) -> None:
    """Copy the weights of a network that was trained on another state of the catalog.

    Since then items may have been retired, added behind the last id (`Codebook.with_items`) or come back
    (`Codebook.activate`). Buffers that belong to the catalog (codes, features) are not copied. The free vector of an
    item that the other network does not have is set to 0.

    Raises:
        HsrlError: if the networks differ in more than the number of items, or the codebooks in more than the codes.
            Nothing is changed then.
    """
    known, own = dict(learned.named_parameters()), dict(network.named_parameters())
    shares = [
        module.shares_rows for net in (learned, network) for module in net.modules() if isinstance(module, SASRec)
    ]
    if len(set(shares)) > 1:
        raise HsrlError(f"got catalogs on both sides of {OWN_ROWS:,} items, expected free vectors of the same meaning.")
    for name in sorted(known.keys() | own.keys()):
        shapes = [tuple(weights[name].shape) if name in weights else None for weights in (known, own)]
        if None in shapes or shapes[0][1:] != shapes[1][1:] or shapes[0][0] > shapes[1][0]:  # type: ignore[index]
            raise HsrlError(f"got weights {name} of shape {shapes[0]}, expected {shapes[1]}; only items may be added.")
    tables = dict(learned.named_buffers())
    for name, table in network.named_buffers():
        # In item space a token is an item, so there may be more of them.
        if name.endswith("centroids") and not torch.equal(table[: len(tables[name])], tables[name]):
            raise HsrlError(
                f"got a codebook with other centroids ({name}), expected the same: tokens would not mean the same."
            )
    for name, weight in own.items():
        weight.zero_()
        weight[: len(known[name])] = known[name]


def _value_map(width: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return the critic's layers, d to 1."""
    sizes = [width, *hidden]
    layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
