"""What single items add to their content, for large catalogs: a mixed-effects logistic regression in closed form.

The network of a user model, fitted to item content, gives each impression an affinity and the direction x in which a
weight of the item's own would move it. The own weights of item i are Gaussian random effects (b_i, f_i):

    affinity = content + b_i + x . f_i,   b_i ~ N(0, s_b^2),   f_i ~ N(0, s_f^2 I)

An item with few impressions stays near its content, one with many goes where its clicks are. Weights are found by
Newton's method item by item, both variances by EM with Laplace's approximation (Breslow and Clayton 1993).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.click_model import UserResponseModel

_ROWS_AT_ONCE = 2048  # slates
_AT_ONCE = 40_000  # impressions; each takes (d + 1)^2 numbers
_MANY = 10  # impressions from which on an item gets a vector of its own, not only a bias
_BIAS_ROUNDS, _VECTOR_ROUNDS = 20, 6  # of Newton and EM
_FIRST_VARIANCE = 0.1  # of biases; of vectors, what moves a logit as much


@dataclass(frozen=True)
class Impressions:
    """M logged impressions, sorted by item, by a network without weights of items.

    Attributes:
        item: (M,) int64.
        click: (M,) float32.
        affinity: (M,) float32, by content.
        slate: (M,) int64, row of `direction`.
        direction: (slates, d) float32, derivative of an affinity by the item's vector, the same for a whole slate.
        bounds: lowest click probability, and the span above it.
    """

    item: Tensor
    click: Tensor
    affinity: Tensor
    slate: Tensor
    direction: Tensor
    bounds: tuple[float, float]

    def slopes(self, affinity: Tensor, rows: slice | Tensor = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the log-likelihood's derivative by the affinity, and the Fisher information, at `rows`."""
        lowest, span = self.bounds
        sure = torch.sigmoid(affinity)
        probability = (lowest + span * sure).clamp(1e-6, 1.0 - 1e-6)
        slope = span * sure * (1.0 - sure)
        spread = probability * (1.0 - probability)
        return (self.click[rows] - probability) * slope / spread, slope.square() / spread


def without_items(model: UserResponseModel) -> None:
    """Let the items of a new model be their content alone, and keep the optimizer away from their own weights."""
    for table in (model.item_free, model.item_free_bias):
        nn.init.zeros_(table.weight.requires_grad_(False))


def refresh_biases(model: UserResponseModel, log: LoggedSlates) -> None:
    """Give the items of `log` the biases that fit the network as it is, so that it goes on learning what is left."""
    _set(model, item_biases(impressions(model, log), model.config.n_items)[0])


def add_item_effects(model: UserResponseModel, log: LoggedSlates, held_out_loss: Callable[[], float]) -> None:
    """Give the items of `log` their own biases and vectors, each part only if it lowers the held-out loss."""
    seen = impressions(model, log)
    bias, variance = item_biases(seen, model.config.n_items)
    choices = [(torch.zeros_like(bias), None), (bias, None), item_vectors(seen, bias, variance)]
    losses = []
    for choice in choices:
        _set(model, *choice)
        losses.append(held_out_loss())
    _set(model, *choices[losses.index(min(losses))])


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
    item, order = torch.as_tensor(log.slate, device=device).long().flatten().sort(stable=True)
    return Impressions(
        item=item,
        click=torch.as_tensor(log.clicks, device=device).float().flatten()[order],
        affinity=torch.cat(affinity).flatten()[order],
        slate=order // log.slate.shape[1],
        direction=torch.cat(states) @ model.item_target.weight + model.item_bias.weight,
        bounds=(bounds[0], bounds[2]),
    )


def item_biases(seen: Impressions, n_items: int) -> tuple[Tensor, float]:
    """Return biases (N + 1,) of all items, 0 for those never seen, and their prior variance."""
    bias = seen.affinity.new_zeros(n_items + 1)
    shown = torch.bincount(seen.item, minlength=n_items + 1) > 0
    variance = _FIRST_VARIANCE
    for _ in range(_BIAS_ROUNDS):
        slope, information = seen.slopes(seen.affinity + bias[seen.item])
        precision = 1.0 / variance + torch.zeros_like(bias).index_add_(0, seen.item, information)
        bias += (torch.zeros_like(bias).index_add_(0, seen.item, slope) - bias / variance) / precision
        variance = float((bias.square() + 1.0 / precision)[shown].mean())
    return bias, variance


def item_vectors(seen: Impressions, bias: Tensor, bias_variance: float) -> tuple[Tensor, Tensor]:
    """Return biases (N + 1,) and vectors (N + 1, d), both changed for items with `_MANY` impressions or more."""
    width = seen.direction.shape[1]
    weights = torch.cat([bias.unsqueeze(1), bias.new_zeros(len(bias), width)], dim=1)  # (N + 1, 1 + d)
    variance = _FIRST_VARIANCE / float(seen.direction.square().sum(1).mean())
    for _ in range(_VECTOR_ROUNDS):
        prior = torch.full((1 + width,), 1.0 / variance, device=bias.device)
        prior[0] = 1.0 / bias_variance
        total, count = 0.0, 0
        for item, rows in _groups(seen.item):
            group = seen.item[rows]
            place = torch.searchsorted(item, group)
            design = torch.cat([bias.new_ones(len(group), 1), seen.direction[seen.slate[rows]]], dim=1)
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
    ids, counts = item.unique_consecutive(return_counts=True)
    many = counts >= _MANY
    first, ids, counts = (counts.cumsum(0) - counts)[many], ids[many], counts[many]
    part = counts.cumsum(0) // _AT_ONCE
    for number in part.unique().tolist():
        chosen = part == number
        sizes = counts[chosen]
        start = (first[chosen] - (sizes.cumsum(0) - sizes)).repeat_interleave(sizes)
        yield ids[chosen], start + torch.arange(len(start), device=item.device)
