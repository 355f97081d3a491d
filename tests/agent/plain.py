"""SASRec as it is written down, which the fast form is held against."""

from __future__ import annotations

import torch
from torch import Tensor

from hsrl_agent.encoder import SASRec


def plain_encoder(net: SASRec, profile: Tensor, history: Tensor) -> Tensor:
    """Return c_0 (B, d), one user at a time and without padding: all layers for all tokens."""
    states = []
    for person, row in zip(profile, history, strict=True):
        items = net.item_map(net.item_features) + net.item_free.weight
        tokens = torch.cat([items[row[row > 0]], net.profile_map(person).unsqueeze(0)])
        tokens = tokens + net.position[-len(tokens) :]
        future = torch.ones(len(tokens), len(tokens), dtype=torch.bool).triu(1)
        for block in net.blocks:
            normed = block.norm_attention(tokens)
            parts = (block.query(normed), *block.key_value(normed).chunk(2, dim=1))
            query, key, value = (part.unflatten(1, (block.n_heads, -1)).transpose(0, 1) for part in parts)
            score = query @ key.transpose(1, 2) / query.shape[2] ** 0.5
            weight = score.masked_fill(future, -torch.inf).softmax(2)
            tokens = tokens + block.out((weight @ value).transpose(0, 1).flatten(1))
            tokens = tokens + block.forward_map(block.norm_forward(tokens))
        states.append(net.norm(tokens[-1]))
    return torch.stack(states)
