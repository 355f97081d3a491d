"""Action modes over candidates: an action names one of the R ads that its request may show."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog


class CandidateMode:
    """How an action chooses among candidates.

    Attributes:
        space: action space of one user.
    """

    space: SlateSpace

    def check(self, actions: Any) -> None:
        """Raise HsrlError unless `actions` (B, n) are in the space."""
        values = np.asarray(actions)
        width = len(self.space.nvec)
        if values.ndim != 2 or values.shape[1] != width or values.dtype.kind not in "iu":
            raise HsrlError(
                f"got actions of shape {values.shape} and type {values.dtype}, expected integers (B, {width}); is it "
                "an action of this action_mode?"
            )
        wrong = np.argwhere((values < 0) | (values >= self.space.nvec))
        if len(wrong):
            row, column = wrong[0]
            raise HsrlError(
                f"got {values[row, column]} at position {column} of action {row}, expected an integer in "
                f"0..{self.space.nvec[column] - 1}; is it an action of this action_mode?"
            )

    def decode(self, actions: Tensor, candidates: Tensor, codes: Tensor) -> Tensor:
        """Return slates (B, 1) int64 for actions (B, n), candidates (B, R) and their tokens (B, R, L)."""
        raise NotImplementedError  # abstract

    def masks(self, codes: Tensor) -> NDArray[np.bool_]:
        """Return the flat masks (B, sum(nvec)) bool of choices that some candidate has, given their tokens (B, R, L).

        The form is sb3-contrib's.
        """
        raise NotImplementedError  # abstract


class SidOfCandidate(CandidateMode):
    """MultiDiscrete of one semantic ID: nvec = [V_1, .., V_L].

    The walk is that of `SidSlate`, down the trie of the request's candidates: at each level, the token that the action
    names, or else the nearest one by centroid distance among the candidates left. So the candidate with the longest
    common prefix is shown, and of these the nearest. It takes L look-ups of (B, R) distances, and no trie is built.
    """

    def __init__(self, catalog: Catalog, n_candidates: int, device: torch.device) -> None:
        codebook = catalog.codebook
        self.space = SlateSpace(np.array(codebook.vocabulary, dtype=np.int64), catalog, 1)
        self._offsets = np.cumsum([0, *codebook.vocabulary])
        self._distance = [_distances(torch.as_tensor(table, device=device)) for table in codebook.centroids]

    def decode(self, actions: Tensor, candidates: Tensor, codes: Tensor) -> Tensor:
        """See `CandidateMode.decode`. Of candidates that share a SID, the first is shown."""
        left = torch.zeros(candidates.shape, device=candidates.device)  # inf where a candidate is out
        for level, distance in enumerate(self._distance):
            far = distance[actions[:, level].long()].gather(1, codes[:, :, level]) + left  # (B, R)
            left = torch.where(far == far.min(1, keepdim=True).values, 0.0, torch.inf)
        return candidates.gather(1, left.argmin(1, keepdim=True))

    def masks(self, codes: Tensor) -> NDArray[np.bool_]:
        """See `CandidateMode.masks`."""
        tokens = codes + torch.as_tensor(self._offsets[:-1], device=codes.device)
        mask = torch.zeros(len(codes), int(self._offsets[-1]), dtype=torch.bool, device=codes.device)
        return mask.scatter_(1, tokens.flatten(1), True).cpu().numpy()


class IndexOfCandidate(CandidateMode):
    """MultiDiscrete([R]): action a shows candidate number a, counted from 0."""

    def __init__(self, catalog: Catalog, n_candidates: int, device: torch.device) -> None:
        self.space = SlateSpace(np.array([n_candidates], dtype=np.int64), catalog, 1)

    def decode(self, actions: Tensor, candidates: Tensor, codes: Tensor) -> Tensor:
        """See `CandidateMode.decode`."""
        return candidates.gather(1, actions.long())

    def masks(self, codes: Tensor) -> NDArray[np.bool_]:
        """See `CandidateMode.masks`; every candidate may be shown."""
        return np.ones(tuple(codes.shape[:2]), dtype=bool)


CANDIDATE_MODES: dict[str, type[SidOfCandidate] | type[IndexOfCandidate]] = {
    "sid": SidOfCandidate,
    "item": IndexOfCandidate,
}


def _distances(table: Tensor) -> Tensor:
    """Return (V, V) float32 distances of centroids (V, D); a token is its own nearest, even if it has copies."""
    distance = torch.cdist(table.double(), table.double()).float()
    return distance.fill_diagonal_(-1.0)
