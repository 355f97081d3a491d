"""What single items add to their content, for large catalogs: a mixed-effects logistic regression in closed form.

The network of a user model, fitted to item content, gives each impression an affinity and the direction x in which a
weight of the item's own would move it. The own weights of item i are Gaussian random effects (b_i, f_i):

    affinity = content + b_i + x . f_i,   b_i ~ N(0, s_b^2),   f_i ~ N(0, s_f^2 I)

An item with few impressions stays near its content, one with many goes where its clicks are. Biases are posterior means
by adaptive quadrature (Pinheiro and Bates 1995), refreshed after each epoch. Vectors are found at the end by Newton's
method, item by item, and their variance by EM with Laplace's approximation (Breslow and Clayton 1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.click_model import UserResponseModel

_ROWS_AT_ONCE = 2048  # slates
_AT_ONCE = 40_000  # impressions; each takes (d + 1)^2 numbers
_MANY = 10  # impressions from which on an item gets a vector of its own, not only a bias
_VARIANCES = (1e-3, 20.0)  # of biases: the least and the largest
_BISECTIONS, _NEWTON_STEPS = 10, 3
_ROUNDS = 6  # of EM, for vectors
_N_POINTS = 9  # of the quadrature
_FIRST_VARIANCE = 0.1  # of logits by vectors


@dataclass(frozen=True)
class Impressions:
    """M logged impressions, in the order of the log, by a network without weights of items.

    Attributes:
        item: (M,) int64.
        click: (M,) float32.
        affinity: (M,) float32, by content.
        direction: (M / K, d) float32, derivative of an affinity by the item's vector, the same for a whole slate.
        bounds: lowest click probability, and the span above it.
    """

    item: Tensor
    click: Tensor
    affinity: Tensor
    direction: Tensor
    bounds: tuple[float, float]

    def log_likelihood(self, affinity: Tensor) -> Tensor:
        """Return the log-likelihood (M, n) of each click, for affinities (M, n)."""
        lowest, span = self.bounds
        probability = torch.sigmoid(affinity).mul_(span).add_(lowest)
        return torch.where(self.click.unsqueeze(1) > 0, probability, 1.0 - probability).clamp_(1e-6).log_()

    def slopes(self, affinity: Tensor, rows: slice | Tensor = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the log-likelihood's derivative by the affinity, and the Fisher information, at `rows`."""
        lowest, span = self.bounds
        sure = torch.sigmoid(affinity)
        probability = (lowest + span * sure).clamp(1e-6, 1.0 - 1e-6)
        slope = span * sure * (1.0 - sure)
        spread = probability * (1.0 - probability)
        return (self.click[rows] - probability) * slope / spread, slope.square() / spread


@dataclass(frozen=True)
class Biases:
    """The items' biases.

    Attributes:
        bias: (N + 1,) float32, posterior means.
        variance: of the prior.
        others: (M,) float32, for each impression the posterior mean by the item's other impressions. With these, the
            network learns as it will be used: from what is known of an item without the click to be predicted.
    """

    bias: Tensor
    variance: float
    others: Tensor


class ItemEffects:
    """The own weights of a model's items while its network is fitted to a log, and after that."""

    def __init__(self, model: UserResponseModel, log: LoggedSlates) -> None:
        """Let the items be their content alone, and keep the optimizer away from their own weights."""
        self.model, self.log = model, log
        self.biases: Biases | None = None
        for table in (model.item_free, model.item_free_bias):
            nn.init.zeros_(table.weight.requires_grad_(False))

    def logits(self, rows: LoggedSlates[Tensor], chosen: Tensor) -> Tensor:
        """Return click logits (B, K) of the rows `chosen` (B,) of the log, to learn from; see `Biases.others`."""
        if self.biases is None:
            return self.model(rows.profile, rows.history, rows.slate)
        others = self.biases.others.view(len(self.log), -1)[chosen]
        offset = others - self.biases.bias[rows.slate]  # the affinities have the bias already
        return self.model(rows.profile, rows.history, rows.slate, offset)

    def refresh(self) -> None:
        """Fit the biases to the network as it is."""
        seen = impressions(self.model, self.log)
        self.biases = item_biases(seen, self.model.config.n_items)
        _set(self.model, self.biases.bias)

    def finish(self, held_out_loss: Callable[[], float]) -> float:
        """Fit biases and vectors to the network as it is, keep what lowers the held-out loss, and return it."""
        seen = impressions(self.model, self.log)
        biases = item_biases(seen, self.model.config.n_items)
        bias = biases.bias
        choices = [(torch.zeros_like(bias), None), (bias, None), item_vectors(seen, bias, biases.variance)]
        losses = []
        for choice in choices:
            _set(self.model, *choice)
            losses.append(held_out_loss())
        best = min(losses)
        _set(self.model, *choices[losses.index(best)])
        return best


@torch.no_grad()
def _set(model: UserResponseModel, bias: Tensor, vectors: Tensor | None = None) -> None:
    model.item_free_bias.weight.copy_(bias.unsqueeze(1))
    model.item_free.weight.copy_(torch.zeros(()) if vectors is None else vectors)


@torch.no_grad()
def impressions(model: UserResponseModel, log: LoggedSlates) -> Impressions:
    """Return the impressions of logged slates; the own weights of items are set to 0 for it, and stay so."""
    model.eval()
    device = model.item_target.weight.device
    _set(model, torch.zeros(model.config.n_items + 1))
    states, affinity = [], []
    for start in range(0, len(log), _ROWS_AT_ONCE):
        rows = log.rows(slice(start, start + _ROWS_AT_ONCE)).tensors(device)
        states.append(model.states(rows.profile, rows.history)[:, : model.config.width])
        affinity.append(model.appeal(rows.profile, rows.history, rows.slate))
    bounds = model.tables(torch.zeros(1, dtype=torch.long, device=device)).bounds.tolist()
    return Impressions(
        item=torch.as_tensor(log.slate, device=device).long().flatten(),
        click=torch.as_tensor(log.clicks, device=device).float().flatten(),
        affinity=torch.cat(affinity).flatten(),
        direction=torch.cat(states) @ model.item_target.weight + model.item_bias.weight,
        bounds=(bounds[0], bounds[2]),
    )


@torch.no_grad()
def item_biases(seen: Impressions, n_items: int) -> Biases:
    """Return the biases of all items, 0 for those never seen, at the variance of the largest likelihood.

    The posterior is integrated by adaptive Gauss-Hermite quadrature; Laplace's approximation alone takes the biases of
    items with a handful of clicks for much smaller than they are. EM is slow with so few clicks: instead of repeating
    its step, the variance is bisected to where the step leaves it unchanged.
    """
    ids, place = seen.item.unique(return_inverse=True)
    mode = seen.affinity.new_zeros(len(ids))
    points, weights = (seen.affinity.new_tensor(x) for x in np.polynomial.hermite_e.hermegauss(_N_POINTS))
    low, high = (math.log(variance) for variance in _VARIANCES)
    for _ in range(_BISECTIONS):
        variance = math.exp(0.5 * (low + high))
        for _ in range(_NEWTON_STEPS):
            slope, information = seen.slopes(seen.affinity + mode[place])
            precision = 1.0 / variance + torch.zeros_like(mode).index_add_(0, place, information)
            gradient = torch.zeros_like(mode).index_add_(0, place, slope) - mode / variance
            mode += (gradient / precision).clamp_(-1.0, 1.0)
        nodes = mode.unsqueeze(1) + points / precision.sqrt().unsqueeze(1)  # (items, points)
        each = seen.log_likelihood(seen.affinity.unsqueeze(1) + nodes[place])  # (M, points)
        posterior = weights.log() + 0.5 * (points.square() - nodes.square() / variance)
        posterior.index_add_(0, place, each)
        chance = posterior.softmax(1)
        if float((chance * nodes.square()).sum(1).mean()) > variance:
            low = math.log(variance)
        else:
            high = math.log(variance)
    others = (posterior[place] - each).softmax(1).mul_(nodes[place]).sum(1)
    bias = seen.affinity.new_zeros(n_items + 1).index_copy_(0, ids, (chance * nodes).sum(1))
    return Biases(bias, variance, others)


def item_vectors(seen: Impressions, bias: Tensor, bias_variance: float) -> tuple[Tensor, Tensor]:
    """Return biases (N + 1,) and vectors (N + 1, d), both changed for items with `_MANY` impressions or more."""
    width = seen.direction.shape[1]
    slate_size = len(seen.item) // len(seen.direction)
    weights = torch.cat([bias.unsqueeze(1), bias.new_zeros(len(bias), width)], dim=1)  # (N + 1, 1 + d)
    variance = _FIRST_VARIANCE / float(seen.direction.square().sum(1).mean())
    for _ in range(_ROUNDS):
        prior = torch.full((1 + width,), 1.0 / variance, device=bias.device)
        prior[0] = 1.0 / bias_variance
        total, count = 0.0, 0
        for item, rows in _groups(seen.item):
            group = seen.item[rows]
            place = torch.searchsorted(item, group)
            design = torch.cat([bias.new_ones(len(group), 1), seen.direction[rows // slate_size]], dim=1)
            slope, information = seen.slopes(seen.affinity[rows] + (design * weights[group]).sum(1), rows)
            old = weights[item]
            gradient = torch.zeros_like(old).index_add_(0, place, slope.unsqueeze(1) * design) - prior * old
            outer = (information.unsqueeze(1) * design).unsqueeze(2) * design.unsqueeze(1)
            precision = prior.diag().repeat(len(item), 1, 1).index_add_(0, place, outer)
            factor = torch.linalg.cholesky(precision)
            new = old + torch.cholesky_solve(gradient.unsqueeze(2), factor).squeeze(2)
            weights[item] = new
            left = torch.cholesky_inverse(factor).diagonal(dim1=1, dim2=2)
            total += float((new.square() + left)[:, 1:].sum())
            count += len(item) * width
        if not count:
            break
        variance = total / count
    return weights[:, 0], weights[:, 1:]


def _groups(item: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield items with many impressions, about `_AT_ONCE` impressions at a time, and the numbers of these."""
    ordered, order = item.sort(stable=True)
    ids, counts = ordered.unique_consecutive(return_counts=True)
    many = counts >= _MANY
    first, ids, counts = (counts.cumsum(0) - counts)[many], ids[many], counts[many]
    part = counts.cumsum(0) // _AT_ONCE
    for number in part.unique().tolist():
        chosen = part == number
        sizes = counts[chosen]
        start = (first[chosen] - (sizes.cumsum(0) - sizes)).repeat_interleave(sizes)
        yield ids[chosen], order[start + torch.arange(len(start), device=item.device)]
