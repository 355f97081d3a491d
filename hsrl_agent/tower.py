"""The two-tower policy: items are scored by an MLP on their content, with nothing learned per item.

Letters: B users, N items, F item features, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsrl_agent.encoder import SASRec
from hsrl_agent.networks import log_softmax_of_live


class TowerPolicyNetwork(nn.Module):
    """One level of N tokens, the items: the score of item i is <c_0, h(x_i)> + g(x_i), x_i being its content.

    One tower makes c_0 from user and history, the other makes h and g, an MLP, from what the encoder knows of the item
    (Yi et al. 2019). It takes the place of `HierarchicalPolicyNetwork`: eq. 12 and 13 hold with h for E.
    """

    def __init__(self, width: int, encoder: SASRec, hidden: int = 128) -> None:
        """Build the item tower for the content that the encoder holds; h starts small, so the policy near uniform."""
        super().__init__()
        self._encoder = (encoder,)  # in a tuple: its weights are no part of this module
        self.content = nn.Sequential(
            nn.Linear(encoder.item_features.shape[1], hidden), nn.GELU(), nn.Linear(hidden, width + 1)
        )
        self.norm = nn.LayerNorm(width)
        last = self.content[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.1 / (width * hidden) ** 0.5)
        nn.init.zeros_(last.bias)

    @property
    def vocabulary(self) -> tuple[int]:
        """The number of items, (N,)."""
        return (len(self._encoder[0].item_features) - 1,)

    def forward(self, state: Tensor, is_live: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """Return log p of the items, one tensor (B, N), and the contexts c_0, c_1 (B, 2, d) of states (B, d).

        Items that are not live, (N,) bool, have no part in it.
        """
        items = self.content(self._encoder[0].item_features[1:])  # (N, d + 1)
        log_p = log_softmax_of_live(torch.addmm(items[:, -1], state, items[:, :-1].T), is_live)
        expected = log_p.exp() @ items[:, :-1]
        return [log_p], torch.stack([state, self.norm(state - expected)], dim=1)
