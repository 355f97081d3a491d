"""The paper's algorithm: each term of eq. 18 to 26 against numbers computed by hand, and the paper's settings."""

from __future__ import annotations

import math

import pytest
import torch
from agents import ENV, answer_by_hand, make_hsrl, two_transitions

from hsrl_agent import PaperHSRL, make_vec_env
from hsrl_agent.buffers import SlateSamples
from hsrl_agent.paper_hsrl import behavioral_cloning_loss, negative_entropy
from hsrl_gym.bundle.folder import Bundle


@pytest.fixture
def by_hand(toy_world: Bundle, monkeypatch: pytest.MonkeyPatch) -> PaperHSRL:
    """An agent whose network answers as `answer_by_hand` says, with normalised likelihoods."""
    model = make_hsrl(toy_world, agent_class=PaperHSRL, network={"likelihood": "independent"})
    return answer_by_hand(model, monkeypatch)


def test_target_bootstraps_unless_the_user_left(by_hand: PaperHSRL) -> None:
    """Q = r + 0.9 (1 - d) V': 0.45 + 0.9 * 3 = 3.15 and 1.7; errors 2.15 and -0.3 (eq. 18 to 20)."""
    losses = by_hand.losses(two_transitions())
    assert losses.critic.item() == pytest.approx((2.15**2 + 0.3**2) / 2, rel=1e-5)
    assert losses.advantage.item() == pytest.approx((2.15 - 0.3) / 2, rel=1e-5)
    # had the reference's sign been copied, the first would not bootstrap and the second would
    both_stay = by_hand.losses(two_transitions((0.0, 0.0)))
    assert both_stay.critic.item() == pytest.approx((2.15**2 + (1.7 + 4.5 - 2.0) ** 2) / 2, rel=1e-5)


def test_slate_credit_is_eq_21(by_hand: PaperHSRL) -> None:
    """Advantages 2.15 and -0.3 are clipped to 1 and -0.3; log-likelihoods are means over the slate (eq. 22)."""
    first = (math.log(0.1) + math.log(0.4)) / 2
    second = (math.log(0.2) + math.log(0.3)) / 2
    expected = -(1.0 * first - 0.3 * second) / 2
    assert by_hand.losses(two_transitions()).policy_gradient.item() == pytest.approx(expected, rel=1e-5)


def test_advantages_are_clipped_on_both_sides(by_hand: PaperHSRL) -> None:
    advantages = by_hand.item_advantages(torch.tensor([5.0, -5.0]), two_transitions())
    assert advantages.tolist() == [[1.0, 1.0], [-1.0, -1.0]]


def test_entropy_is_minimised_as_written(by_hand: PaperHSRL) -> None:
    """sum p log p is -log 4 for the uniform level and -log 2 for the half-used one (eq. 23)."""
    assert by_hand.losses(two_transitions()).entropy.item() == pytest.approx(-math.log(4) - math.log(2), rel=1e-4)


def test_cloning_takes_clicked_items_only(by_hand: PaperHSRL) -> None:
    """The first slate's clicked item has likelihood 0.1; the second slate has no click and adds 0 (eq. 24)."""
    assert by_hand.losses(two_transitions()).behavioral_cloning.item() == pytest.approx(-math.log(0.1) / 2, rel=1e-5)


def test_entropy_is_a_sum_over_levels_and_a_mean_over_users() -> None:
    """Three users, two levels: log 4 and log 2 for each of them."""
    uniform = [torch.full((3, n), 1.0 / n).log() for n in (4, 2)]
    assert negative_entropy(uniform).item() == pytest.approx(-math.log(4) - math.log(2), rel=1e-5)


def test_cloning_is_a_mean_over_the_clicks_of_a_slate() -> None:
    """(1 + 3) / 2 for the slate with two clicks, 5 for the one with one."""
    log_pi = torch.tensor([[-1.0, -3.0], [-5.0, -7.0]])
    assert behavioral_cloning_loss(torch.tensor([[1.0, 1.0], [1.0, 0.0]]), log_pi).item() == pytest.approx((2 + 5) / 2)


def test_an_item_that_cannot_be_shown_any_more_counts_as_certain(by_hand: PaperHSRL) -> None:
    """Item 5 has no likelihood: its click adds 0 to eq. 24, and it adds 0 to the mean of eq. 22."""
    losses = by_hand.losses(two_transitions(slates=torch.tensor([[5, 4], [2, 3]])))
    assert losses.behavioral_cloning.item() == 0.0
    first, second = math.log(0.4) / 2, (math.log(0.2) + math.log(0.3)) / 2
    assert losses.policy_gradient.item() == pytest.approx(-(1.0 * first - 0.3 * second) / 2, rel=1e-5)


def test_objective_is_the_sum_of_its_terms(by_hand: PaperHSRL) -> None:
    by_hand.entropy_weight, by_hand.bc_weight = 0.3, 0.7
    terms = by_hand.losses(two_transitions())
    expected = terms.critic + terms.policy_gradient + 0.3 * terms.entropy + 0.7 * terms.behavioral_cloning
    assert terms.behavioral_cloning.item() > 1.0
    torch.testing.assert_close(by_hand.objective(two_transitions()), expected)


def test_objective_weighs_its_terms(toy_world: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of plain gradient descent moves by the gradient of eq. 20 + 25 with the two lambdas."""
    model = make_hsrl(
        toy_world,
        num_envs=4,
        agent_class=PaperHSRL,
        network={"dropout": 0.0},
        learning_starts=0,
        entropy_weight=0.3,
        bc_weight=0.7,
        max_grad_norm=1e9,
    )
    model.learn(4)
    policy = model.policy
    policy.optimizer = torch.optim.SGD(policy.network.parameters(), lr=0.1)
    monkeypatch.setattr(model, "_update_learning_rate", lambda optimizer: None)
    sample = model.replay_buffer.sample(16)
    monkeypatch.setattr(model.replay_buffer, "sample", lambda size: sample)
    before = {name: value.clone() for name, value in policy.network.named_parameters()}
    terms = model.losses(sample)
    total = terms.critic + terms.policy_gradient + 0.3 * terms.entropy + 0.7 * terms.behavioral_cloning
    gradients = torch.autograd.grad(total, list(policy.network.parameters()), allow_unused=True)
    model.train(1, 16)
    for (name, value), gradient in zip(policy.network.named_parameters(), gradients, strict=True):
        step = torch.zeros_like(value) if gradient is None else 0.1 * gradient
        torch.testing.assert_close(value.detach(), before[name] - step, atol=1e-6, rtol=1e-4)


def test_policy_gradient_raises_what_paid_and_lowers_what_did_not(toy_world: Bundle) -> None:
    model = make_hsrl(toy_world, agent_class=PaperHSRL, network={"likelihood": "independent", "dropout": 0.0})
    observation = {"profile": torch.zeros(1, 2), "history": torch.zeros(1, 5)}
    for reward, sign in ((10.0, 1.0), (-10.0, -1.0)):
        slate, one = torch.tensor([[3, 7]]), torch.ones(1)
        sample = SlateSamples(observation, observation, slate, torch.zeros(1, 2), torch.tensor([reward]), one, one, one)
        before = model.policy.score(observation)[0].log_prob(slate).item()
        model.policy.optimizer.zero_grad()
        model.losses(sample).policy_gradient.backward()
        with torch.no_grad():
            for value in model.policy.network.parameters():
                if value.grad is not None:
                    value -= 0.01 * value.grad
        after = model.policy.score(observation)[0].log_prob(slate).item()
        assert (after - before) * sign > 0


def test_paper_settings(toy_world: Bundle) -> None:
    model = PaperHSRL("HSRLPolicy", make_vec_env(ENV, 32, bundle=toy_world), device="cpu")
    assert (model.policy.likelihood, model.entropy_weight) == ("unnormalised", 0.1)
    assert model.replay_buffer.buffer_size * model.replay_buffer.n_envs == 100_000
    assert (model.gamma, model.batch_size, model.tau, model.learning_starts) == (0.9, 64, 0.01, 2000)
    assert (model.policy.width, model.policy.n_layers, model.policy.n_heads, model.policy.dropout) == (32, 2, 4, 0.1)
    assert model.policy.critic_hidden == (256, 64)
    assert (model.policy.heads, model.policy.item_residual, model.policy.privileged_critic) == ("free", False, False)
    assert (model.learning_rate, model.bc_weight) == (1e-3, 0.1)


def test_paper_keeps_its_dropout_beside_other_policy_settings(toy_world: Bundle) -> None:
    env = make_vec_env(ENV, 2, bundle=toy_world)
    model = PaperHSRL("HSRLPolicy", env, device="cpu", policy_kwargs={"width": 16})
    assert (model.policy.width, model.policy.dropout) == (16, 0.1)
