"""HAC: each term of the loss against numbers computed by hand, and which weights it reaches."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from agents import learnt, make, mean_reward, reached, set_linear, two_transitions
from torch.nn import functional
from toy import OPTIMUM

from hsrl_agent.baselines import HAC, HACPolicy
from hsrl_agent.pretraining import CRITIC_WARMUP_RATE
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import LoggedSlates

FAR = [-9.0, -9.0]


@pytest.fixture
def by_hand(toy_world: Bundle, monkeypatch: pytest.MonkeyPatch) -> HAC:
    """Z is the state; states are (1, 0) and (0, 1), next ones (1, 1) and (0, 0).

    Kernels of items 1 to 4 are (1, 0), (0, 1), (2, 0), (0, 3), those of the target (4, 0), (0, 4), far, far; all
    others are far. Q(s, Z) = (1, 2, 3, 4) . (s, Z), that of the target the plain sum.
    """
    model: HAC = make("hac", toy_world, 2, policy_kwargs={"width": 2, "n_heads": 1, "point_width": 2})
    kernels = {"network": [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]], "target_network": [[4.0, 0.0], [0.0, 4.0]]}
    critics = {"network": [1.0, 2.0, 3.0, 4.0], "target_network": [1.0, 1.0, 1.0, 1.0]}
    for name, first in kernels.items():
        network = getattr(model.policy, name)
        set_linear(network.actor, torch.eye(2))
        set_linear(network.kernel_map, torch.zeros_like(network.kernel_map.weight))
        with torch.no_grad():
            network.kernel_free.copy_(torch.tensor(first + [FAR] * (12 - len(first))))
        network.critic = torch.nn.Sequential(set_linear(torch.nn.Linear(4, 1), torch.tensor([critics[name]])))
    states = {False: torch.eye(2), True: torch.tensor([[1.0, 1.0], [0.0, 0.0]])}
    monkeypatch.setattr(model.policy, "state", lambda obs, target=False: states[target])
    return model


def test_critic_learns_from_what_was_shown(by_hand: HAC) -> None:
    """Shown are {1, 4} and {2, 3}: h = (0.5, 1.5), (1, 0.5); Q = 1 + 1.5 + 6 = 8.5 and 2 + 3 + 2 = 7.

    The target would show {1, 2} next: h' = (2, 2), Q' = 1 + 1 + 2 + 2 = 6, so the first is worth 0.45 + 0.9 * 6. The
    second user left.
    """
    losses = by_hand.losses(two_transitions())
    assert losses.critic.item() == pytest.approx(((8.5 - 5.85) ** 2 + (7.0 - 1.7) ** 2) / 2, rel=1e-5)
    assert losses.value.item() == pytest.approx(7.75)


def test_actor_climbs_its_own_hyper_action(by_hand: HAC) -> None:
    """Q(s, Z) = 1 + 3 = 4 and 2 + 4 = 6."""
    assert by_hand.losses(two_transitions()).actor.item() == pytest.approx(-5.0)


def test_alignment_is_the_distance_to_the_own_slate(by_hand: HAC) -> None:
    """Z = (1, 0) shows 3 and 1, h = (1.5, 0), off by (0.5, 0); Z = (0, 1) shows 4 and 2, h = (0, 2), off by (0, 1)."""
    assert by_hand.losses(two_transitions()).alignment.item() == pytest.approx((0.5**2 + 1.0**2) / 4)


def test_supervision_is_the_cross_entropy_of_clicks(by_hand: HAC) -> None:
    """Scores of what was shown are 1, 0 and 1, 0; clicked was the first of each slate."""
    sample = two_transitions()._replace(clicks=torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    expected = (2 * math.log1p(math.exp(-1)) + 2 * math.log(2)) / 4
    assert by_hand.losses(sample).supervision.item() == pytest.approx(expected, rel=1e-5)


def test_objective_weighs_its_terms(toy_world: Bundle) -> None:
    weights = {"critic_weight": 2.0, "actor_weight": 3.0, "alignment_weight": 5.0, "supervision_weight": 7.0}
    model = learnt("hac", toy_world, **weights)
    sample = model.replay_buffer.sample(16)
    terms = model.losses(sample)
    expected = 2 * terms.critic + 3 * terms.actor + 5 * terms.alignment + 7 * terms.supervision
    torch.testing.assert_close(model.objective(sample), expected)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("critic", {"encoder", "critic"}),
        ("actor", {"encoder", "actor"}),
        ("alignment", {"encoder", "actor", "kernel_map", "kernel_free"}),
        ("supervision", {"encoder", "actor", "kernel_map", "kernel_free"}),
    ],
)
def test_each_term_reaches_its_own_weights(term: str, expected: set[str], toy_world: Bundle) -> None:
    model = learnt("hac", toy_world)
    assert reached(model, term) == expected


def test_the_actor_moves_up_the_critic_by_its_hyper_action_alone(toy_world: Bundle) -> None:
    """The gradient with respect to Z is that of Q; the state that the critic sees is held."""
    network = learnt("hac", toy_world).policy.network
    state, points = torch.randn(5, 16, requires_grad=True), torch.randn(5, 32, requires_grad=True)
    held, free = network.judge(state, points), network.value_of(state, points)
    torch.testing.assert_close(held, free)
    ours, theirs = (torch.autograd.grad(value.sum(), points)[0] for value in (held, free))
    torch.testing.assert_close(ours, theirs)
    held = network.judge(state, points)
    others = [state, *network.critic.parameters()]
    assert set(torch.autograd.grad(held.sum(), others, allow_unused=True)) == {None}


def test_learns_from_the_critic_alone(toy_world: Bundle) -> None:
    """Without the supervision, and with kernels among which every pair can be found, Q alone leads to the optimum."""
    model = make("hac", toy_world, supervision_weight=0.0, actor_weight=1.0, learning_starts=200)
    kernels = 0.5 * torch.randn(12, 32, generator=torch.Generator().manual_seed(0))
    for network in (model.policy.network, model.policy.target_network):
        network.kernel_free.data.copy_(kernels)
    model.learn(16 * 300)
    assert mean_reward(model, toy_world, "item") > 0.95 * OPTIMUM


def test_exploring_draws_slates_and_greed_does_not(toy_world: Bundle) -> None:
    """Draws follow softmax <Z, kernel>: with no noise on Z the first item of a slate has these odds."""
    policy = make("hac", toy_world, exploration_noise=0.0).policy
    observation = {"profile": torch.zeros(4000, 2), "history": torch.zeros(4000, 5)}
    with torch.no_grad():
        actions, points = policy.explore(observation)
        odds = functional.softmax(policy.network.scores(points)[0], dim=0)
    shares = torch.bincount(actions[:, 0], minlength=12) / 4000
    torch.testing.assert_close(shares, odds, atol=0.025, rtol=0.0)
    assert len(policy._predict(observation, deterministic=True).unique(dim=0)) == 1
    assert points.std(0).max() < 1e-5
    policy.sampling_inverse_temperature = 3.0
    with torch.no_grad():
        actions, points = policy.explore(observation)
        odds = functional.softmax(3.0 * policy.network.scores(points)[0], dim=0)
    torch.testing.assert_close(torch.bincount(actions[:, 0], minlength=12) / 4000, odds, atol=0.025, rtol=0.0)
    policy.exploration_noise = 0.3
    with torch.no_grad():
        torch.testing.assert_close(policy.explore(observation)[1].std(0), torch.full((32,), 0.3), atol=0.02, rtol=0.0)


def test_a_pretrained_agent_knows_the_toy_world(toy_world: Bundle) -> None:
    """From the log alone: which items are clicked. The critic is as it was, the target is the network."""
    model = make("hac-pretrained", toy_world)
    critic = [weight.clone() for weight in model.policy.critic.parameters()]
    model.pretrain(epochs=60)
    assert mean_reward(model, toy_world, "item") > 0.95 * OPTIMUM
    assert all(map(torch.equal, model.policy.critic.parameters(), critic))
    for weight, target in zip(model.policy.network.parameters(), model.policy.target_network.parameters(), strict=True):
        torch.testing.assert_close(weight.detach(), target)


def test_pretraining_minimises_supervision_and_alignment(by_hand: HAC) -> None:
    """Those of the two states and slates above."""
    by_hand.supervision_weight, by_hand.alignment_weight = 3.0, 5.0
    slates, clicks = two_transitions().slates, torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    rows = LoggedSlates(torch.zeros(2, 2), torch.zeros(2, 5).long(), slates, clicks)
    supervision = (2 * math.log1p(math.exp(-1)) + 2 * math.log(2)) / 4
    alignment = (0.5**2 + 1.0**2) / 4
    assert by_hand.pretraining_loss(rows).item() == pytest.approx(3 * supervision + 5 * alignment, rel=1e-5)


def test_only_the_critic_learns_during_warmup(toy_world: Bundle) -> None:
    """Two updates that move the critic and nothing else, towards what the losses call right; a third moves all."""
    rates = {"learning_rate": 1e-5, "critic_weight": 2.0}
    model = learnt("hac-pretrained", toy_world, 5, pretrain_epochs=1, critic_warmup_steps=1_000, **rates)
    sample = model.replay_buffer.sample(64)
    torch.testing.assert_close(model.objective(sample), 2.0 * model.losses(sample).critic)
    assert model.policy.optimizer.param_groups[0]["lr"] == CRITIC_WARMUP_RATE
    model.critic_warmup_steps = model._n_updates + 2
    moved_by_update = []
    for _ in range(3):
        before = {name: weight.clone() for name, weight in model.policy.network.named_parameters()}
        model.train(1, 64)
        after = model.policy.network.named_parameters()
        moved_by_update.append({name.split(".")[0] for name, weight in after if not weight.equal(before[name])})
    assert moved_by_update[:2] == [{"critic"}, {"critic"}]
    assert moved_by_update[2] == {"encoder", "actor", "kernel_map", "kernel_free", "critic"}
    assert model.policy.optimizer.param_groups[0]["lr"] == 1e-5
    assert not learnt("hac", toy_world).in_critic_warmup()


def test_the_draw_is_saved(toy_world: Bundle, tmp_path: Path) -> None:
    model = learnt("hac-pretrained", toy_world, exploration_noise=0.3)
    model.save(tmp_path / "agent")
    model.policy.save(tmp_path / "policy")
    for policy in (HAC.load(tmp_path / "agent").policy, HACPolicy.load(tmp_path / "policy")):
        assert (policy.sampling_inverse_temperature, policy.exploration_noise) == (3.0, 0.3)
    assert make("hac", toy_world).policy.sampling_inverse_temperature == 1.0
