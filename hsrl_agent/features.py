"""SASRec as a features extractor of SB3, so that its own policies have the same encoder as the other methods."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from hsrl_agent.encoder import SASRec
from hsrl_gym.envs.observations import HistorySpace
from hsrl_gym.errors import HsrlError


class SASRecExtractor(BaseFeaturesExtractor):
    """The state c_0 (B, d) of observations with profile (B, P) and history (B, H) (eq. 10).

    `policy_kwargs={"features_extractor_class": SASRecExtractor}` is enough: the items come with the observation space.
    """

    encoder: SASRec

    def __init__(
        self,
        observation_space: spaces.Space[dict[str, NDArray[np.generic]]],
        item_features: NDArray[np.float32] | None = None,
        width: int = 32,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        """Build the encoder.

        Args:
            observation_space: Dict of profile (P,) and history (H,).
            item_features: (N + 1, F), inputs of the catalog's items; row 0 is padding. None for those that the
                environment's observation space knows.
            width, n_layers, n_heads, dropout: see `SASRec`.

        Raises:
            HsrlError: for another observation space, and without item features for one that knows no items.
        """
        if not isinstance(observation_space, spaces.Dict) or not {"profile", "history"} <= set(observation_space):
            raise HsrlError(
                f"SASRecExtractor got the observation space {observation_space}, expected Dict(profile, history) of an "
                "hsrl_gym environment, not flattened or stacked by a wrapper."
            )
        history = observation_space["history"]
        if item_features is None and not isinstance(history, HistorySpace):
            raise HsrlError(
                f"SASRecExtractor got the history {history}, which knows no items, expected that of an hsrl_gym "
                'environment; or pass features_extractor_kwargs={"item_features": ..} of shape (N + 1, F).'
            )
        super().__init__(observation_space, width)
        (n_profile,), (history_length,) = (observation_space[name].shape or () for name in ("profile", "history"))
        features = torch.as_tensor(history.item_inputs if item_features is None else item_features)
        self.encoder = SASRec(features, n_profile, history_length, width, n_layers, n_heads, dropout)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return c_0 (B, d)."""
        # SB3 converts every Box to float32, which is exact for ids below 2^24.
        return self.encoder(observations["profile"].float(), observations["history"].long())
