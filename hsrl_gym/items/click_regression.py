"""A bilinear click model over item vectors, fitted to a log: what one impression says of an item's vector.

Letters: R logged slates, K slate size, S width of a state, D width of an item vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hsrl_gym.data.log import LoggedSlates

_MOST_ROWS = 6000  # logged slates that are used, spread evenly; more hardly change the fit
_ROWS_AT_ONCE = 1000
_PENALTY = 10.0  # of the squared weights; within 0.001 of the best held-out log-loss on four logs
_NEWTON_STEPS = 6


@dataclass(frozen=True)
class ClickRegression:
    """logit P(click) = phi(s)' W [1, x]: linear in the item's vector x for a given state s (a logistic regression).

    The state phi(s) is 1, the profile, the mean vector of the clicked items times n / (n + 10), and n / (n + 10), for n
    clicked items. For an item with unknown x, an impression in state s is then one equation for x: the logit of its
    click is w(s)' x + b(s), with (b, w) = W' phi(s).

    Attributes:
        weight: W, (S, 1 + D) float32.
    """

    weight: Tensor

    def equation(self, profile: Tensor, history: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return w (B, D) and b (B,) of states with profile (B, P) and history (B, H), for vectors (N + 1, D)."""
        coefficients = state_of(profile, history, vectors) @ self.weight
        return coefficients[:, 1:], coefficients[:, 0]


def state_of(profile: Tensor, history: Tensor, vectors: Tensor) -> Tensor:
    """Return phi(s), (B, S), of states with profile (B, P) and history (B, H); row 0 of vectors (N + 1, D) is 0."""
    length = (history > 0).sum(1, keepdim=True).to(vectors.dtype)
    memory = length / (length + 10.0)
    mean = vectors[history.long()].sum(1) / length.clamp(min=1.0)
    return torch.cat([torch.ones_like(length), profile, memory * mean, memory], dim=1)


def fit_click_regression(log: LoggedSlates[Tensor], vectors: Tensor, is_known: Tensor) -> ClickRegression:
    """Return the model of a log, by Newton's method with a ridge penalty.

    Args:
        log: slates, of which at most `_MOST_ROWS` are used.
        vectors: (N + 1, D) float32.
        is_known: (N + 1,) bool; slots with other items are left out.
    """
    rows = torch.linspace(0, len(log) - 1, min(len(log), _MOST_ROWS), device=vectors.device).long()
    used = log.rows(rows)
    weight = vectors.new_zeros(2 + log.profile.shape[1] + vectors.shape[1], 1 + vectors.shape[1])
    for _ in range(_NEWTON_STEPS):
        gradient, hessian = derivatives(weight, used, vectors, is_known)
        gradient -= _PENALTY * weight
        hessian.diagonal().add_(_PENALTY)
        step = torch.linalg.solve(hessian.double(), gradient.flatten().double())
        weight = weight + step.float().view_as(weight)
    return ClickRegression(weight)


def derivatives(weight: Tensor, log: LoggedSlates[Tensor], vectors: Tensor, is_known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient (S, 1 + D) and the negative Hessian (S (1 + D), S (1 + D)) of the log-likelihood in W.

    All slots of a slate share phi, so that the Hessian is sum_r phi phi' (x) sum_k p (1 - p) [1, x][1, x]': K times
    less work than slot by slot.
    """
    n_state, width = weight.shape
    gradient, pairs = torch.zeros_like(weight), weight.new_zeros(n_state**2, width**2)
    for rows in torch.arange(len(log), device=weight.device).split(_ROWS_AT_ONCE):
        part = log.rows(rows)
        state = state_of(part.profile, part.history, vectors)
        known = is_known[part.slate].to(weight.dtype).unsqueeze(2)  # (R, K, 1)
        items = torch.cat([torch.ones_like(known), vectors[part.slate]], dim=2)  # (R, K, 1 + D)
        chance = torch.einsum("ri,rki->rk", state @ weight, items).sigmoid().unsqueeze(2)
        error = (part.clicks.unsqueeze(2) - chance) * known
        gradient += state.T @ torch.bmm(items.transpose(1, 2), error).squeeze(2)
        spread = items * (chance * (1.0 - chance) * known)
        both = torch.einsum("ri,rj->rij", state, state).flatten(1)
        pairs += both.T @ torch.bmm(spread.transpose(1, 2), items).flatten(1)
    hessian = pairs.view(n_state, n_state, width, width).permute(0, 2, 1, 3).reshape(n_state * width, -1)
    return gradient, hessian
