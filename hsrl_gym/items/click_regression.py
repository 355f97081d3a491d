"""A linear click model over item vectors, fitted to a log in closed form: what one impression says of an item's vector.

Letters: R logged slates, K slate size, S width of a state, D width of an item vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hsrl_gym.data.log import LoggedSlates

_ROWS_AT_ONCE = 2000
_PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)
_HELD_OUT = 0.2  # latest share of the rows, which chooses the penalty and measures the noise


@dataclass(frozen=True)
class ClickRegression:
    """P(click) = phi(s)' W [1, x]: linear in the item's vector x for a given state s (a linear probability model).

    The state phi(s) is 1, the profile, the mean vector of the clicked items times n / (n + 10), and n / (n + 10), for n
    clicked items. For an item with unknown x an impression in state s is then one linear equation: the click is
    w(s)' x + b(s) + noise, with (b, w) = W' phi(s).

    Attributes:
        weight: W, (S, 1 + D) float32.
        noise: variance of a click around its prediction, on rows that were not fitted.
    """

    weight: Tensor
    noise: float

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
    """Return the model of a log by ridge regression, with the penalty that predicts the latest fifth of the rows best.

    Args:
        log: R slates in time order.
        vectors: (N + 1, D) float32.
        is_known: (N + 1,) bool; slots with other items are left out.
    """
    cut = int((1.0 - _HELD_OUT) * len(log))
    seen, later = (_moments(log.rows(part), vectors, is_known) for part in (slice(0, cut), slice(cut, None)))
    gram, target, _, _ = seen
    size = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    fits = [torch.linalg.solve(gram + penalty * size, target) for penalty in _PENALTIES]
    errors = [_mean_square_error(fit, *later) for fit in fits]
    best = min(range(len(fits)), key=errors.__getitem__)
    both = [one + other for one, other in zip(seen, later, strict=True)]
    weight = torch.linalg.solve(both[0] + _PENALTIES[best] * size, both[1])
    return ClickRegression(weight.view(-1, 1 + vectors.shape[1]).float(), errors[best])


def _moments(log: LoggedSlates[Tensor], vectors: Tensor, is_known: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return Z'Z, Z'y, y'y and the number of clicks y, for inputs Z = phi(s) (x) [1, x] of all slots.

    All slots of a slate share phi, so that Z'Z = sum_r phi phi' (x) sum_k [1, x][1, x]': K times less work.
    """
    width = 1 + vectors.shape[1]
    n_state = 2 + log.profile.shape[1] + vectors.shape[1]
    grams = torch.zeros(n_state**2, width**2, device=vectors.device)
    target = torch.zeros(n_state, width, device=vectors.device)
    total, n_clicks = (torch.zeros((), device=vectors.device) for _ in range(2))
    for rows in torch.arange(len(log), device=vectors.device).split(_ROWS_AT_ONCE):
        part = log.rows(rows)
        state = state_of(part.profile.float(), part.history, vectors)
        slate = part.slate.long()
        known = is_known[slate].float().unsqueeze(2)  # (R, K, 1)
        items = torch.cat([torch.ones_like(known), vectors[slate]], dim=2) * known
        clicks = part.clicks.float().unsqueeze(2) * known
        pairs = torch.einsum("ri,rj->rij", state, state).flatten(1)
        grams += pairs.T @ torch.bmm(items.transpose(1, 2), items).flatten(1)
        target += state.T @ torch.bmm(items.transpose(1, 2), clicks).squeeze(2)
        total += clicks.square().sum()
        n_clicks += known.sum()
    gram = grams.view(n_state, n_state, width, width).permute(0, 2, 1, 3).reshape(n_state * width, -1)
    return gram.double(), target.flatten().double(), total.double(), n_clicks.double()


def _mean_square_error(weight: Tensor, gram: Tensor, target: Tensor, total: Tensor, n_clicks: Tensor) -> float:
    left = total - 2 * weight @ target + weight @ gram @ weight
    return max(float(left / n_clicks.clamp(min=1.0)), 1e-4)
