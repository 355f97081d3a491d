"""Plain forms of encoder and learned user, for comparison with the fast ones."""

from __future__ import annotations

import torch
from torch import Tensor

from hsrl_agent.encoder import SASRec
from hsrl_gym.users.click_model import UserResponseModel


def small_encoder(n_items: int = 6, dropout: float = 0.0) -> SASRec:
    """Return an encoder whose outputs can be looked at."""
    torch.manual_seed(0)
    features = torch.randn(n_items + 1, 3)
    features[0] = 0.0
    return SASRec(features, n_profile=2, history_length=5, width=8, n_layers=2, n_heads=2, dropout=dropout)


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


def plain_logits(user: UserResponseModel, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
    """The model as its description has it: project, mask, softmax, project again; one user at a time."""
    items = user.item_map(user.item_features) + user.item_free.weight
    heads, width = user.config.n_heads, user.config.width // user.config.n_heads
    rows = []
    for one, clicked_ids, shown in zip(profile, history, slate, strict=True):
        real = items[clicked_ids[clicked_ids > 0]]  # (n, d): no padding at all
        person = user.profile_map(one)

        def attend(asks: Tensor, answers: Tensor, values: Tensor) -> Tensor:
            asks, answers, values = (
                part.unflatten(-1, (heads, width)).transpose(0, 1) for part in (asks, answers, values)
            )
            weight = (asks @ answers.transpose(1, 2) / width**0.5).softmax(2)
            return (weight @ values).transpose(0, 1).flatten(1)

        n = len(real)
        if n:
            clicked = attend(user.self_query(real), user.self_key(real), user.self_value(real)) + real
            query = user.user_query(person).unsqueeze(0)
            pooled = attend(query, user.user_key(clicked), user.user_value(clicked))[0]
            mean = real.mean(0)
        else:
            pooled = mean = torch.zeros_like(person)
        amount = torch.tensor([n / user.config.history_length, (n / user.config.history_length) ** 0.5])
        state = user.user_map(torch.cat([person, pooled, mean, amount])) + person
        affinity = (
            user.item_target(items[shown]) @ state + (user.item_bias(items) + user.item_free_bias.weight)[shown, 0]
        )
        topics = (user.topic_sharpness * user.topic(items)).softmax(1)  # (N + 1, C)
        share = topics[clicked_ids[clicked_ids > 0]].sum(0) / user.config.history_length
        for topic in range(user.config.n_topics):
            for knee, slope in zip(user.knee[topic], user.slope[topic], strict=True):
                past_knee = torch.log1p(torch.exp(40.0 * (share[topic] - knee))) / 40.0
                affinity = affinity + 10.0 * slope * past_knee * topics[shown, topic]
        lowest, highest = 0.5 * torch.sigmoid(user.bounds[0]), 1.0 - 0.5 * torch.sigmoid(-user.bounds[1])
        rows.append(torch.logit((lowest + (highest - lowest) * torch.sigmoid(affinity)).double()).float())
    return torch.stack(rows)
