"""SASRec as a features extractor of SB3, so that DDPG and TD3 have the same encoder as the other methods."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from hsrl_agent.encoder import SASRec


class SASRecExtractor(BaseFeaturesExtractor):
    """The state c_0 (B, d) of observations with profile (B, P) and history (B, H) (eq. 10)."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        item_features: NDArray[np.float32],
        width: int = 32,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        """Build the encoder.

        Args:
            observation_space: Dict of profile (P,) and history (H,).
            item_features: (N + 1, F), inputs of the catalog's items; row 0 is padding.
            width, n_layers, n_heads, dropout: see `SASRec`.
        """
        super().__init__(observation_space, width)
        (n_profile,), (history_length,) = (observation_space[name].shape or () for name in ("profile", "history"))
        features = torch.as_tensor(item_features)
        self.encoder = SASRec(features, n_profile, history_length, width, n_layers, n_heads, dropout)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return c_0 (B, d)."""
        # SB3 converts every Box to float32, which is exact for ids below 2^24.
        return self.encoder(observations["profile"].float(), observations["history"].long())
