"""Slates without replacement: likelihood, entropy and draws against closed forms."""

import itertools
import math

import pytest
import torch

from hsrl_agent.distributions import SlateDistribution
from hsrl_gym.errors import HsrlError

ODDS = torch.tensor([[1.0, 2.0, 5.0]])


def test_likelihoods_by_hand() -> None:
    normalised = SlateDistribution(ODDS.log(), "independent")
    items = torch.tensor([[3, 1]])
    sequential = SlateDistribution(ODDS.log())
    torch.testing.assert_close(sequential.log_prob_of_items(items).exp(), torch.tensor([[5 / 8, 1 / 3]]))
    torch.testing.assert_close(
        sequential.log_prob_of_items(torch.tensor([[2, 1, 3]])).exp(), torch.tensor([[2 / 8, 1 / 6, 1.0]])
    )
    torch.testing.assert_close(normalised.log_prob_of_items(items).exp(), torch.tensor([[5 / 8, 1 / 8]]))
    expected = torch.tensor([(math.log(5 / 8) + math.log(1 / 8)) / 2])
    torch.testing.assert_close(normalised.log_prob(items), expected)  # eq. 22
    bare = SlateDistribution((ODDS / 16).log(), "unnormalised")
    torch.testing.assert_close(bare.log_prob_of_items(items).exp(), torch.tensor([[5 / 16, 1 / 16]]))


def test_the_sequential_likelihood_is_that_of_the_draw() -> None:
    """Its exponentials sum to 1 over all ordered slates, with an item that is not live and one that is nearly sure."""
    scores = torch.tensor([[30.0, 1.0, 0.0, -torch.inf, -1.0]])
    slates = torch.tensor(list(itertools.permutations((1, 2, 3, 5), 2)))
    log_p = SlateDistribution(scores.expand(len(slates), -1)).log_prob_of_items(slates).sum(1)
    assert log_p.exp().sum().item() == pytest.approx(1.0)
    second = SlateDistribution(scores).log_prob_of_items(torch.tensor([[1, 2]]))[0, 1]
    assert second.item() == pytest.approx(1.0 - math.log(math.e + 1.0 + 1.0 / math.e), rel=1e-5)


def test_the_gradient_of_a_sure_item_leaves_the_others_alone() -> None:
    """An item that is always shown has no gradient, and takes none: the others compete for the last place."""
    scores = torch.tensor([[40.0, 1.0, 0.0, 0.0]], requires_grad=True)
    (first, second) = SlateDistribution(scores).log_prob_of_items(torch.tensor([[1, 2]]))[0]
    (gradient,) = torch.autograd.grad(second, scores, retain_graph=True)
    share = math.e / (math.e + 2.0)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 1 - share, -(1 - share) / 2, -(1 - share) / 2]]))
    torch.testing.assert_close(torch.autograd.grad(first, scores)[0], torch.zeros(1, 4))


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


def test_an_item_that_is_not_live_has_no_likelihood_and_no_gradient_of_nan() -> None:
    """Shown after all that could be: minus infinity, not NaN; a whole catalog in one slate is no trouble."""
    scores = torch.tensor([[1.0, 0.0, -torch.inf]], requires_grad=True)
    log_p = SlateDistribution(scores).log_prob_of_items(torch.tensor([[1, 2, 3]]))
    assert log_p[0, 2].isneginf()
    log_p[:, :2].sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    torch.testing.assert_close(log_p[0, 1].item(), 0.0)


def test_unknown_likelihood() -> None:
    with pytest.raises(HsrlError, match=r"unknown likelihood 'independant'; did you mean independent\?"):
        SlateDistribution(ODDS, "independant")


@pytest.mark.parametrize("likelihood", ["plackett_luce", "independent", "unnormalised"])
def test_candidates_in_any_order_say_what_the_catalog_says(likelihood: str) -> None:
    """Likelihoods, entropy and gradients of a permuted list with padding; what is no candidate has no likelihood."""
    torch.manual_seed(0)
    scores = torch.randn(3, 5)
    scores[:, 4] = -torch.inf  # item 5 is not live
    scores.requires_grad_()
    items = torch.stack([torch.randperm(5) for _ in range(3)]) + 1
    padded = torch.nn.functional.pad(items, (0, 2))  # 0 is padding
    listed = torch.nn.functional.pad(scores.gather(1, items - 1), (0, 2), value=-torch.inf)
    whole, some = SlateDistribution(scores, likelihood), SlateDistribution(listed, likelihood, padded)
    slates = torch.tensor([[1, 2, 4], [4, 3, 2], [2, 1, 3]])
    parts = [one.log_prob_of_items(slates) for one in (whole, some)]
    torch.testing.assert_close(*parts)
    torch.testing.assert_close(whole.scores_at(slates), some.scores_at(slates))
    torch.testing.assert_close(whole.entropy(), some.entropy())
    gradients = [torch.autograd.grad((part * torch.arange(3)).sum(), scores, retain_graph=True)[0] for part in parts]
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(whole.mode(3), some.mode(3))
    without = SlateDistribution(listed[:, :1], likelihood, padded[:, :1])
    assert without.log_prob_of_items((items[:, :1] % 5) + 1).isneginf().all()


def test_candidates_are_drawn_by_their_odds() -> None:
    n_draws, generator = 20_000, torch.Generator().manual_seed(0)
    listed = SlateDistribution(ODDS.log().expand(n_draws, 3), items=torch.tensor([[7, 9, 2]]).expand(n_draws, 3))
    slates = listed.sample(2, generator)
    assert set(slates.unique().tolist()) == {7, 9, 2}
    assert (slates[:, 0] != slates[:, 1]).all()
    shares = [(slates[:, 0] == item).float().mean().item() for item in (7, 9, 2)]
    assert shares == pytest.approx((ODDS[0] / ODDS.sum()).tolist(), abs=0.02)


def test_a_slate_needs_as_many_candidates_as_slots() -> None:
    scores, items = torch.tensor([[0.0, -torch.inf, 1.0]]), torch.tensor([[3, 0, 4]])
    assert SlateDistribution(scores, items=items).mode(2).tolist() == [[4, 3]]
    for slate_size in (3, 4):
        with pytest.raises(HsrlError, match=f"got fewer than {slate_size} live candidates for a user"):
            SlateDistribution(scores, items=items).sample(slate_size)
