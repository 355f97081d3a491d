"""Beliefs of item vectors: the conjugate update by hand, caution, Thompson draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.beliefs import ItemBeliefs, guess_error

GUESSES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
COVARIANCE = np.array([[0.5, 0.1], [0.1, 0.3]])


def test_without_impressions_the_prior_stands() -> None:
    mean, covariance = ItemBeliefs(GUESSES, COVARIANCE).posterior(torch.tensor([2, 1]))
    torch.testing.assert_close(mean, GUESSES[[2, 1]].double())
    torch.testing.assert_close(covariance, torch.as_tensor(COVARIANCE).expand(2, 2, 2), rtol=0, atol=1e-5)


def test_impressions_update_it_in_closed_form() -> None:
    beliefs = ItemBeliefs(GUESSES, COVARIANCE)
    w, offsets, clicks = torch.tensor([[1.0, 0.5], [0.2, -1.0], [0.3, 0.3]]), torch.tensor([0.4, 0, 1]), torch.eye(3)[0]
    beliefs.observe(torch.tensor([1, 1, 2]), w, offsets, clicks)
    mine, prior, guess = w[:2].double().numpy(), np.linalg.inv(COVARIANCE), GUESSES[1].double().numpy()
    chance = 1 / (1 + np.exp(-(mine @ guess + offsets[:2].numpy())))
    precision = prior + mine.T @ (mine * (chance * (1 - chance))[:, None])
    mean, covariance = beliefs.posterior(torch.tensor([1]))
    np.testing.assert_allclose(covariance[0], np.linalg.inv(precision), atol=1e-4)
    # One Newton step from the guess: the gradient of the log-likelihood over the new precision.
    step = np.linalg.solve(precision, mine.T @ (clicks[:2].numpy() - chance))
    np.testing.assert_allclose(mean[0], guess + step, atol=1e-4)


def test_many_impressions_find_the_vector() -> None:
    generator = torch.Generator().manual_seed(0)
    beliefs, true = ItemBeliefs(GUESSES, COVARIANCE), torch.tensor([-0.4, 0.6])
    for _ in range(20):
        w = torch.randn(200, 2, generator=generator)
        clicks = torch.bernoulli((w @ true + 1.0).sigmoid(), generator=generator)
        beliefs.observe(torch.ones(200, dtype=torch.long), w, torch.ones(200), clicks)
    mean, covariance = beliefs.posterior(torch.tensor([1, 2]))
    torch.testing.assert_close(mean[0].float(), true, atol=0.12, rtol=0)
    assert covariance[0].diagonal().max() < 3e-3
    torch.testing.assert_close(mean[1], GUESSES[2].double())  # the other item has learned nothing


def test_caution_goes_the_stated_number_of_deviations_against_what_is_liked() -> None:
    beliefs, liked = ItemBeliefs(GUESSES, COVARIANCE), torch.tensor([1.0, 2.0])
    plain, careful = (beliefs.cautious(torch.tensor([1]), liked, caution)[0] for caution in (0.0, 1.5))
    deviation = np.sqrt(liked.numpy() @ COVARIANCE @ liked.numpy())
    torch.testing.assert_close(plain, GUESSES[1])
    np.testing.assert_allclose(liked @ careful, liked @ plain - 1.5 * deviation, rtol=1e-4)
    # It stays as likely as it says: its Mahalanobis distance from the mean is the caution.
    away = (careful - plain).double().numpy()
    np.testing.assert_allclose(away @ np.linalg.inv(COVARIANCE) @ away, 1.5**2, rtol=1e-3)


def test_draws_have_the_posterior_of_the_logit() -> None:
    beliefs, w = ItemBeliefs(GUESSES, COVARIANCE), torch.tensor([[1.0, 1.0]])
    draws = beliefs.draw_logits(torch.tensor([1, 2]), w.expand(20_000, -1), torch.Generator().manual_seed(1))
    np.testing.assert_allclose(draws.mean(0), [1.0, 2.0], atol=0.03)
    np.testing.assert_allclose(draws.var(0), [1.0, 1.0], rtol=0.05)  # w' Sigma w


def test_how_far_features_can_be_trusted(tiny_bundle: Bundle) -> None:
    book = tiny_bundle.codebook
    covariance, trust = guess_error(book)
    assert covariance.shape == (book.vectors.shape[1],) * 2
    assert np.linalg.eigvalsh(covariance).min() >= -1e-9
    spread = np.square(book.vectors[1:] - book.vectors[1:].mean(0)).sum(1).mean()
    assert trust == pytest.approx(1.0 - np.trace(covariance) / spread)
    assert trust < 1.0


def test_trust_is_measured_on_items_that_were_held_out(tiny_bundle: Bundle) -> None:
    """Each item has a feature of its own, which tells everything of it, and nothing of any other."""
    book = tiny_bundle.codebook
    own = np.eye(len(book.codes), dtype=np.float32)
    covariance, trust = guess_error(replace(book, features=own))
    vectors = book.vectors[1:].astype(np.float64)
    np.testing.assert_allclose(covariance, vectors.T @ vectors / len(vectors), rtol=1e-5, atol=1e-9)
    assert trust < 1e-6


def test_a_codebook_of_features_is_refused(tiny_bundle: Bundle) -> None:
    book = tiny_bundle.codebook
    plain = replace(book, vectors=book.features, to_vector=None)
    with pytest.raises(HsrlError, match="got a codebook of features, expected behaviour vectors"):
        guess_error(plain)


def test_a_crowd_that_sees_one_item_at_once_does_not_overshoot() -> None:
    """Hundreds of users of one batch against the same users in small batches."""
    generator = torch.Generator().manual_seed(2)
    true, n_users = torch.tensor([-2.0, 1.0]), 512
    w = torch.randn(n_users, 2, generator=generator)
    clicks = torch.bernoulli((w @ true).sigmoid(), generator=generator)
    crowd, few = ItemBeliefs(GUESSES, 4 * COVARIANCE), ItemBeliefs(GUESSES, 4 * COVARIANCE)
    items, nothing = torch.full((n_users,), 2), torch.zeros(n_users)
    crowd.observe(items, w, nothing, clicks)
    for part in torch.arange(n_users).split(16):
        few.observe(items[part], w[part], nothing[part], clicks[part])
    together, apart = (beliefs.posterior(torch.tensor([2]))[0][0].float() for beliefs in (crowd, few))
    torch.testing.assert_close(together, apart, atol=0.15, rtol=0)
    torch.testing.assert_close(together, true, atol=0.5, rtol=0)
