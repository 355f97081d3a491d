"""PG-RA: each term of the loss against numbers computed by hand, and which weights it reaches."""

from __future__ import annotations

import math

import pytest
import torch
from agents import learnt, make, reached, set_linear, two_transitions
from torch import nn

from hsrl_agent.baselines import PGRA
from hsrl_gym.bundle.folder import Bundle


@pytest.fixture
def by_hand(toy_world: Bundle, monkeypatch: pytest.MonkeyPatch) -> PGRA:
    """The Gaussian stands on the state, which is (1, 0) or (0, 1), with std 0.5; next states are (1, 1) and (0, 0).

    V(s) = (1, 2) . s and for the target (3, 4) . s; g(s, s') = s + 2 s'; only items 1 to 4 are live, with kernels
    (1, 0), (0, 1), (2, 0), (0, 3).
    """
    network_kwargs = {"width": 2, "n_heads": 1, "point_width": 2}
    model: PGRA = make("pgra", toy_world, 2, policy_kwargs=network_kwargs)
    for network, value in ((model.policy.network, [1.0, 2.0]), (model.policy.target_network, [3.0, 4.0])):
        set_linear(network.actor, torch.eye(2))
        set_linear(network.kernel_map, torch.zeros_like(network.kernel_map.weight))
        network.value = set_linear(nn.Linear(2, 1), torch.tensor([value]))
        network.inverse = set_linear(nn.Linear(4, 2), torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 2.0]]))
        network.is_live = torch.arange(12) < 4
        with torch.no_grad():
            network.kernel_free[:4] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
            network.log_std.fill_(math.log(0.5))
    states = {False: torch.eye(2), True: torch.tensor([[1.0, 1.0], [0.0, 0.0]])}
    monkeypatch.setattr(model.policy, "state", lambda obs, target=False: states[target])
    return model


E_DRAWN = torch.tensor([[1.5, 0.0], [0.0, 2.0]])


def test_critic_is_the_td_error(by_hand: PGRA) -> None:
    """V = 1 and 2; targets 0.45 + 0.9 * 7 = 6.75 and, for who left, 1.7."""
    losses = by_hand.losses(two_transitions(latents=E_DRAWN))
    assert losses.critic.item() == pytest.approx((5.75**2 + 0.3**2) / 2, rel=1e-5)
    assert losses.advantage.item() == pytest.approx((5.75 - 0.3) / 2, rel=1e-5)


def test_policy_gradient_is_of_the_internal_policy(by_hand: PGRA) -> None:
    """log N(e; mu, 0.5) of two axes is -(d / 0.5)^2 / 2 - 2 log 0.5 - log 2 pi, for distances 0.5 and 1.

    Advantages 5.75 and -0.3 are clipped to 1 and -0.3.
    """
    constant = -2 * math.log(0.5) - math.log(2 * math.pi)
    first, second = constant - 0.5, constant - 2.0
    expected = -(1.0 * first - 0.3 * second) / 2
    assert by_hand.losses(two_transitions(latents=E_DRAWN)).policy_gradient.item() == pytest.approx(expected, rel=1e-5)


def test_inverse_dynamics_is_the_cross_entropy_of_the_slate(by_hand: PGRA) -> None:
    """g = (3, 2) and (0, 1): scores (3, 2, 6, 6) and (0, 1, 0, 3) over the live items; shown {1, 4} and {2, 3}."""
    first = torch.tensor([3.0, 2.0, 6.0, 6.0]).log_softmax(0)
    second = torch.tensor([0.0, 1.0, 0.0, 3.0]).log_softmax(0)
    expected = -(first[0] + first[3] + second[1] + second[2]).item() / 4
    assert by_hand.losses(two_transitions(latents=E_DRAWN)).inverse.item() == pytest.approx(expected, rel=1e-5)


def test_objective_weighs_its_terms(toy_world: Bundle) -> None:
    model = learnt("pgra", toy_world, critic_weight=2.0, policy_weight=3.0, inverse_weight=5.0)
    sample = model.replay_buffer.sample(16)
    terms = model.losses(sample)
    torch.testing.assert_close(
        model.objective(sample), 2 * terms.critic + 3 * terms.policy_gradient + 5 * terms.inverse
    )


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("critic", {"encoder", "value"}),
        ("policy_gradient", {"encoder", "actor", "log_std"}),
        ("inverse", {"encoder", "inverse", "kernel_map", "kernel_free"}),
    ],
)
def test_each_term_reaches_its_own_weights(term: str, expected: set[str], toy_world: Bundle) -> None:
    """Above all, the policy gradient leaves the kernels alone, and inverse dynamics the actor."""
    model = learnt("pgra", toy_world)
    assert reached(model, term) == expected


def test_the_buffer_keeps_the_representation_that_was_drawn(toy_world: Bundle) -> None:
    """Given e the slate is certain, the K items with the highest <e, kernel>; e itself scatters as the std says."""
    model = make("pgra", toy_world, learning_starts=10_000).learn(16 * 100)
    samples = model.replay_buffer.sample(500)
    network = model.policy.network
    with torch.no_grad():
        best = network.scores(samples.latents).topk(2, dim=1).indices + 1
        distance = samples.latents - network.actor(model.policy.state(samples.observations))
    torch.testing.assert_close(best, samples.slates)
    torch.testing.assert_close(distance.std(), torch.tensor(1.0), atol=0.04, rtol=0.0)
    assert len(samples.slates.unique(dim=0)) > 10


def test_retired_items_are_not_shown(toy_world: Bundle) -> None:
    from dataclasses import replace

    smaller = replace(toy_world, codebook=toy_world.codebook.deactivate([3, 7]))
    for name in ("pgra", "hac"):
        model = learnt(name, smaller)
        assert not torch.isin(model.replay_buffer.sample(200).slates, torch.tensor([3, 7])).any()
        assert torch.isfinite(model.objective(model.replay_buffer.sample(200)))
