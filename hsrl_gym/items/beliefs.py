"""What is believed of new items: a Gaussian over each one's vector, from its features and from the clicks it got.

Letters: N items, D width of a vector, M observations or items, E states, C candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook, fit_to_vector

_FOLDS = 5
_AT_ONCE = 32  # impressions of an item in one Newton step
_JITTER = 1e-5  # of the prior's mean variance, so that its inverse exists
_LEARNED = ("row", "precisions", "targets")  # tables of `ItemBeliefs`


def guess_error(codebook: Codebook) -> tuple[NDArray[np.float64], float]:
    """Return how far features can be trusted: the error covariance (D, D) of guessed vectors, and their R2.

    Each fold of the live items is guessed by a regression on the others.

    Raises:
        HsrlError: for a codebook of features, where there is nothing to guess, or with too few live items.
    """
    live = codebook.live_items
    if codebook.to_vector is None or len(live) < 2 * _FOLDS:
        kind = "features" if codebook.to_vector is None else f"{len(live)} live items"
        raise HsrlError(
            f"got a codebook of {kind}, expected behaviour vectors of at least {2 * _FOLDS} items to learn from; build "
            "the bundle with --codebook behaviour."
        )
    shuffled = np.random.default_rng(0).permutation(live)
    errors = []
    for fold in range(_FOLDS):
        held_out, others = shuffled[fold::_FOLDS], np.delete(shuffled, slice(fold, None, _FOLDS))
        to_vector = fit_to_vector(codebook.features[others], codebook.vectors[others])
        errors.append(codebook.vectors[held_out] - codebook.features[held_out] @ to_vector)
    error = np.vstack(errors).astype(np.float64)
    spread = float(np.square(codebook.vectors[live] - codebook.vectors[live].mean(0)).sum())
    return error.T @ error / len(error), 1.0 - float(np.square(error).sum()) / max(spread, 1e-12)


class ItemBeliefs:
    """Posterior of the vectors of items: Gaussians, updated in closed form by each impression.

    The prior of item i is N(guess_i, Sigma). An impression (w, b, y) says that the click y had the logit w' x_i + b.
    Around the present mean m, with p = sigmoid(w' m + b) and h = p (1 - p), its likelihood is that of a Gaussian
    observation (one Newton step; Laplace's approximation). The conjugate update is

        A_i += h w w',  t_i += w (h w' m + y - p),  beginning with A_i = Sigma^-1, t_i = Sigma^-1 guess_i,

    and the posterior is N(A_i^-1 t_i, A_i^-1). Items without an impression share Sigma, so that memory grows with the
    items shown.
    """

    def __init__(self, guesses: Tensor, covariance: NDArray[np.float64], device: torch.device | str = "cpu") -> None:
        """Take the guesses (N + 1, D) and Sigma (D, D)."""
        prior = torch.as_tensor(covariance, dtype=torch.float64, device=device)
        jitter = _JITTER * prior.diagonal().mean().clamp(min=1e-12) * torch.eye(len(prior), device=device)
        self.guesses = guesses.to(device, torch.float64)
        self.covariance = prior + jitter
        self.precision = torch.linalg.inv(self.covariance)
        self._row = torch.full((len(guesses),), -1, device=device)  # of the tables below; -1 without an observation
        self._precisions = self.precision.new_empty(0, *prior.shape)  # A_i
        self._targets = self.precision.new_empty(0, len(prior))  # t_i

    def observe(self, items: Tensor, equations: Tensor, offsets: Tensor, clicks: Tensor) -> None:
        """Take M impressions of items (M,), in which an item may stand often: w (M, D), b (M,), y (M,).

        A Newton step from one mean for very many impressions of an item overshoots, so that these are taken in parts.
        """
        self._make_rows(items)
        turn = _occurrence(items) // _AT_ONCE
        for part in range(int(turn.max()) + 1 if len(items) else 0):
            now = (turn == part).nonzero().squeeze(1)
            self._step(self._row[items[now]], equations[now].double(), offsets[now], clicks[now])

    def _step(self, rows: Tensor, w: Tensor, offsets: Tensor, clicks: Tensor) -> None:
        """Take a Newton step for each row of the tables with impressions of it."""
        shown, place = rows.unique(return_inverse=True)
        means = torch.linalg.solve(self._precisions[shown], self._targets[shown])[place]
        expected = (w * means).sum(1)  # w' m
        chance = (expected + offsets.double()).sigmoid()
        curvature = chance * (1.0 - chance)
        self._precisions.index_add_(0, rows, curvature[:, None, None] * w.unsqueeze(2) * w.unsqueeze(1))
        self._targets.index_add_(0, rows, w * (curvature * expected + clicks.double() - chance).unsqueeze(1))

    def _make_rows(self, items: Tensor) -> None:
        new = items[self._row[items] < 0].unique()
        self._row[new] = len(self._targets) + torch.arange(len(new), device=new.device)
        self._precisions = torch.cat([self._precisions, self.precision.expand(len(new), -1, -1)])
        self._targets = torch.cat([self._targets, self.guesses[new] @ self.precision])

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return what was learned, as arrays for `restore`."""
        return {name: getattr(self, f"_{name}").cpu().numpy().copy() for name in _LEARNED}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Return to what a `snapshot` knew."""
        for name in _LEARNED:
            setattr(self, f"_{name}", torch.as_tensor(arrays[name].copy(), device=self.precision.device))

    def posterior(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return means (M, D) and covariances (M, D, D) of items (M,), float64."""
        mean = self.guesses[items].clone()
        covariance = self.covariance.expand(len(items), -1, -1).clone()
        seen = (self._row[items] >= 0).nonzero().squeeze(1)
        if len(seen):
            rows = self._row[items[seen]]
            covariance[seen] = torch.linalg.inv(self._precisions[rows])
            mean[seen] = torch.einsum("mij,mj->mi", covariance[seen], self._targets[rows])
        return mean, covariance

    def cautious(self, items: Tensor, direction: Tensor, caution: float) -> Tensor:
        """Return vectors (M, D): of all that are `caution` standard deviations likely, the one least liked.

        It is mean - caution S g / sqrt(g' S g), for the covariance S and the direction g (D,) that the average user
        likes. An item that is little known then has to be much better to be shown, which is what saves the best known
        items from the luckiest guesses.
        """
        mean, covariance = self.posterior(items)
        towards = covariance @ direction.double()  # (M, D)
        size = (towards @ direction.double()).clamp(min=1e-12).sqrt()
        return (mean - caution * towards / size.unsqueeze(1)).float()

    def draw_logits(self, items: Tensor, equations: Tensor, generator: torch.Generator) -> Tensor:
        """Return w' x, (E, C), for items (C,) in E states with w (E, D), each x drawn from its posterior (Thompson)."""
        mean, covariance = self.posterior(items)
        w = equations.double()
        spread = torch.einsum("ei,cij,ej->ec", w, covariance, w).clamp(min=0.0).sqrt()
        noise = torch.randn(spread.shape, generator=generator, dtype=spread.dtype, device=generator.device)
        return w @ mean.T + spread * noise.to(spread.device)


def _occurrence(items: Tensor) -> Tensor:
    """Return how often each id of (M,) stands before its own place, (M,)."""
    ordered, order = items.sort(stable=True)
    starts = torch.searchsorted(ordered, ordered)
    count = torch.empty_like(items)
    count[order] = torch.arange(len(items), device=items.device) - starts
    return count
