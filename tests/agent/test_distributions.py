"""Slates without replacement: likelihood, entropy and draws against closed forms."""

import math

import pytest
import torch

from hsrl_agent.distributions import SlateDistribution
from hsrl_gym.errors import HsrlError

ODDS = torch.tensor([[1.0, 2.0, 5.0]])


def test_likelihoods_by_hand() -> None:
    normalised = SlateDistribution(ODDS.log())
    items = torch.tensor([[3, 1]])
    torch.testing.assert_close(normalised.log_prob_of_items(items).exp(), torch.tensor([[5 / 8, 1 / 8]]))
    expected = torch.tensor([(math.log(5 / 8) + math.log(1 / 8)) / 2])
    torch.testing.assert_close(normalised.log_prob(items), expected)  # eq. 22
    bare = SlateDistribution((ODDS / 16).log(), "bare")
    torch.testing.assert_close(bare.log_prob_of_items(items).exp(), torch.tensor([[5 / 16, 1 / 16]]))


def test_entropy_of_uniform_and_of_one_live_item() -> None:
    torch.testing.assert_close(SlateDistribution(torch.zeros(1, 8)).entropy(), torch.tensor([math.log(8)]))
    single = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    torch.testing.assert_close(SlateDistribution(single).entropy(), torch.tensor([0.0]))


def test_samples_follow_the_odds_without_replacement() -> None:
    """Ordered pairs have probability p_i p_j / (1 - p_i) (Plackett and Luce)."""
    n_draws = 40_000
    generator = torch.Generator().manual_seed(0)
    slates = SlateDistribution(ODDS.log().expand(n_draws, 3)).sample(2, generator)
    assert (slates[:, 0] != slates[:, 1]).all()
    p = ODDS[0] / ODDS.sum()
    for i in range(3):
        for j in range(3):
            if i != j:
                share = ((slates[:, 0] == i + 1) & (slates[:, 1] == j + 1)).float().mean().item()
                expected = (p[i] * p[j] / (1 - p[i])).item()
                assert share == pytest.approx(expected, abs=4 * math.sqrt(expected / n_draws))


def test_items_that_are_not_live_are_never_shown() -> None:
    scores = torch.tensor([[0.0, -torch.inf, -30.0, 1.0]]).expand(500, 4)
    distribution = SlateDistribution(scores)
    assert not (distribution.sample(3) == 2).any()
    assert distribution.mode(3)[0].tolist() == [4, 1, 3]


def test_gradient_of_the_likelihood_is_one_minus_the_share() -> None:
    scores = ODDS.log().requires_grad_()
    SlateDistribution(scores).log_prob(torch.tensor([[2]])).sum().backward()
    torch.testing.assert_close(scores.grad, torch.tensor([[-1 / 8, 1 - 2 / 8, -5 / 8]]))


def test_unknown_likelihood() -> None:
    with pytest.raises(HsrlError, match=r"unknown likelihood 'normalized'; did you mean normalised\?"):
        SlateDistribution(ODDS, "normalized")
