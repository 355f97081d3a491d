"""A world small enough to know the optimum: two items are always clicked, the others hardly ever."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.items.codebook import fit_codebook
from hsrl_gym.users.profile import fit_profile_encoder
from hsrl_gym.users.responses import Respond, by_profile

N_ITEMS, SLATE_SIZE, HISTORY = 12, 2, 5
LIKED = (4, 10)  # a pair that some hyper-actions show, about 1 in 11 of those drawn uniformly
OPTIMUM = 0.98 * 1.1 - 0.1  # mean reward a step with both, under mean_with_cost


class ToyUser(nn.Module):
    """Clicks the liked items with probability 0.98, others with 0.02."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("liked", torch.isin(torch.arange(N_ITEMS + 1), torch.tensor(LIKED)))

    def forward(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K)."""
        return torch.where(self.liked[slate], 4.0, -4.0)

    def prepared(self, profiles: Tensor) -> Respond:
        """Return how the users of a pool respond."""
        return by_profile(self, profiles)


def toy_bundle() -> Bundle:
    """Return the toy world as a bundle; its log shows every item equally often."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(N_ITEMS + 1, 3)).astype(np.float32)
    features[0] = 0.0
    profile = generator.normal(size=(400, 2)).astype(np.float32)
    slate = np.stack([generator.permutation(N_ITEMS)[:SLATE_SIZE] + 1 for _ in range(400)]).astype(np.int32)
    pool = LoggedSlates(profile, np.zeros((400, HISTORY), np.int32), slate, np.isin(slate, LIKED).astype(np.uint8))
    return Bundle(
        name="toy",
        source="toy",
        codebook=fit_codebook(features, n_levels=2, vocabulary=4),
        simulators={"train": ToyUser(), "eval": ToyUser()},  # type: ignore[dict-item]
        users={"train": pool, "eval": pool},
        item_labels=tuple(f"item {i}" for i in range(N_ITEMS + 1)),
        profile_encoder=fit_profile_encoder(profile, 0),
    )
