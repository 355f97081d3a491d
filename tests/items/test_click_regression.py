"""The bilinear click model: it finds the model that wrote a log, and takes no notice of unknown items."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.items.click_regression import derivatives, fit_click_regression, state_of

N_ITEMS, WIDTH, N_PROFILE, SLATE = 30, 3, 2, 5


def bilinear_log(n_rows: int) -> tuple[LoggedSlates, torch.Tensor, torch.Tensor]:
    """Return a log, its vectors, and the true W, (S, 1 + D)."""
    generator = np.random.default_rng(0)
    vectors = np.vstack([np.zeros(WIDTH), generator.normal(size=(N_ITEMS, WIDTH))]).astype(np.float32)
    weight = 0.5 * generator.normal(size=(2 + N_PROFILE + WIDTH, 1 + WIDTH))
    history = generator.integers(0, N_ITEMS + 1, size=(n_rows, 6))
    history = np.sort(history * (generator.random((n_rows, 6)) < 0.5), axis=1)
    log = LoggedSlates(
        profile=generator.normal(size=(n_rows, N_PROFILE)).astype(np.float32),
        history=history.astype(np.int32),
        slate=generator.integers(1, N_ITEMS + 1, size=(n_rows, SLATE)).astype(np.int32),
        clicks=np.zeros((n_rows, SLATE), dtype=np.uint8),
    ).tensors()
    table, true = torch.as_tensor(vectors), torch.as_tensor(weight, dtype=torch.float32)
    coefficients = state_of(log.profile, log.history, table) @ true
    chance = coefficients[:, :1] + torch.einsum("rd,rkd->rk", coefficients[:, 1:], table[log.slate])
    log.clicks.copy_((torch.as_tensor(generator.random(chance.shape)) < chance.sigmoid()).float())
    return log, table, true


def test_it_finds_the_model_that_wrote_the_log() -> None:
    log, vectors, true = bilinear_log(6_000)
    known = torch.ones(N_ITEMS + 1, dtype=torch.bool)
    found = fit_click_regression(log, vectors, known)
    assert (found.weight - true).abs().mean() < 0.1 * true.abs().mean() + 0.05
    w, b = found.equation(log.profile[:9], log.history[:9], vectors)
    expected = state_of(log.profile[:9], log.history[:9], vectors) @ found.weight
    torch.testing.assert_close(torch.cat([b.unsqueeze(1), w], 1), expected)


def test_its_derivatives_are_those_of_the_plain_likelihood() -> None:
    log, vectors, true = bilinear_log(40)
    known = torch.arange(N_ITEMS + 1) % 3 > 0

    def log_likelihood(weight: torch.Tensor) -> torch.Tensor:
        state = state_of(log.profile, log.history, vectors)
        items = torch.cat([torch.ones(40, SLATE, 1), vectors[log.slate]], 2)
        logits = torch.einsum("ri,ij,rkj->rk", state, weight.view_as(true), items)[known[log.slate]]
        return -functional.binary_cross_entropy_with_logits(logits, log.clicks[known[log.slate]], reduction="sum")

    weight = 0.3 * true.flatten()
    gradient, hessian = derivatives(weight.view_as(true), log, vectors, known)
    expected = torch.autograd.functional.jacobian(log_likelihood, weight)
    torch.testing.assert_close(gradient.flatten(), expected, rtol=1e-3, atol=1e-3)
    curvature = torch.autograd.functional.hessian(log_likelihood, weight)
    torch.testing.assert_close(hessian, -curvature, rtol=1e-3, atol=1e-3)


def test_clicks_on_unknown_items_do_not_count() -> None:
    log, vectors, _ = bilinear_log(200)
    known = torch.arange(N_ITEMS + 1) < 20
    before = fit_click_regression(log, vectors, known)
    log.clicks[~known[log.slate]] = 1.0
    after = fit_click_regression(log, vectors, known)
    assert torch.equal(before.weight, after.weight)
