"""The history's space: a Box of item ids that knows the items, and says so where ids are taken for numbers."""

from __future__ import annotations

import warnings

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim
from numpy.typing import NDArray

from hsrl_gym.items.codebook import Codebook

IDS_AS_NUMBERS = (
    "the ids of `history` reach this network as plain numbers, which say nothing of the items: little is learned. Use "
    "HSRLPolicy or ItemPolicy, or an encoder: "
    'policy_kwargs={"features_extractor_class": hsrl_agent.SASRecExtractor}.'
)


class HistorySpace(spaces.Box):
    """A Box (H,) int32 of item ids, with which an encoder can be built from the observation space alone.

    It equals the plain Box of the same bounds.

    Attributes:
        codebook: the items at the start, the same as the action space's.
    """

    def __init__(self, length: int, codebook: Codebook) -> None:
        super().__init__(0, len(codebook.codes) - 1, (length,), np.int32)
        self.codebook = codebook

    @property
    def item_inputs(self) -> NDArray[np.float32]:
        """Inputs (N + 1, F) of the items, for networks; row 0 is padding."""
        return self.codebook.item_inputs


@flatdim.register(HistorySpace)
def _flat_width(space: HistorySpace) -> int:
    """Return H, and warn.

    SB3's `CombinedExtractor`, which is that of "MultiInputPolicy", asks Gymnasium for the width of each part that it
    takes as numbers. Nothing else of SB3 asks it of a history, and of Gymnasium only `unflatten`.
    """
    warnings.warn(IDS_AS_NUMBERS, UserWarning, stacklevel=1)  # here, so that Python prints it once
    return int(np.prod(space.shape))
