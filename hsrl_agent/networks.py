"""The networks in plain torch: hierarchical policy (HPN), multi-level critic (MLC), and the item-level actor-critic.

Letters: B users, H history length, K slate size, L levels, V_l tokens of level l, N items, d width, P profile width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsrl_agent.encoder import OWN_ROWS, SASRec
from hsrl_gym.errors import HsrlError

NEVER = -1e9  # logit of a token that cannot be shown; finite, because 0 log 0 has no gradient


class TiedHead(nn.Module):
    """W_l tied to the codebook: the logit of token z is c . (M C[z] + free[z]) + b[z].

    C (V, D) are the level's centroids and M (d, D) is one projection that all levels share; free and b start at zero.
    An item is nearly the sum of its centroids, so the sum of its tokens' logits is nearly c . M x + ..: what is
    learned about one item holds for similar items from the first step on. Free heads learn every token separately.
    """

    centroids: Tensor

    def __init__(self, centroids: Tensor, projection: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("centroids", centroids.float().clone())
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

    def forward(self, state: Tensor, is_live: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """Return L tensors of log p(z_l | c_{l-1}) (B, V_l), and the contexts c_0 .. c_L (B, L + 1, d).

        Args:
            state: c_0, (B, d).
            is_live: which tokens can be shown, (V_1,) bool, where a token is an item; None for all tokens. What is
                learned must not reach items before they are on sale.
        """
        log_probs, contexts = [], [state]
        for head, tokens, norm in zip(self.heads, self.tokens, self.norms, strict=True):
            log_p = log_softmax_of_live(head(contexts[-1]), is_live)  # eq. 11
            expected = log_p.exp() @ tokens  # e_l, eq. 12
            log_probs.append(log_p)
            contexts.append(norm(contexts[-1] - expected) if self.hierarchical else state)  # eq. 13
        return log_probs, torch.stack(contexts, dim=1)


def log_softmax_of_live(logits: Tensor, is_live: Tensor | None) -> Tensor:
    """Return log p of tokens, (B, V), for logits (B, V); those that are not live, (V,) bool, have no part in it."""
    if is_live is not None:
        logits = logits.masked_fill(~is_live, NEVER)
    return functional.log_softmax(logits, dim=-1)


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

    def refresh(self, items: Tensor, inputs: Tensor, codes: Tensor) -> None:
        """See `HSRLNetwork.refresh`."""
        self.encoder.refresh(items, inputs, codes[:, 0] >= 0)
        self.is_live[items - 1] = codes[:, 0] >= 0


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
