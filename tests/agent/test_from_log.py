"""Learning from logged slates: the loss on paper, the loop's promises, a policy that starts where the log ends."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
import toy
from test_hsrl import make, mean_reward
from torch import Tensor, nn

from hsrl_agent import make_vec_env
from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.from_log import CATCHING_UP_RATE, click_loss, cloning_loss, fit, warm_start
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import LoggedSlates

OPTIMUM = 0.98 * 1.1 - 0.1


def logged(n_rows: int) -> LoggedSlates:
    zeros = torch.zeros(n_rows, 1)
    return LoggedSlates(torch.arange(n_rows).float().unsqueeze(1), zeros.long(), zeros.long() + 1, zeros)


class Level(nn.Module):
    """One number, drawn to the mean of what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))

    def loss(self, log: LoggedSlates) -> Tensor:
        return (log.profile - self.level).square().mean()


def test_items_that_were_retired_since_count_for_nothing() -> None:
    logits = torch.tensor([[1.0, -torch.inf]], requires_grad=True)
    loss = click_loss(logits, torch.tensor([[1.0, 1.0]]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)) / 2, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0.0 == logits.grad[0, 1]
    assert click_loss(torch.tensor([[1.0, torch.nan]]), torch.tensor([[1.0, 1.0]])).isnan()  # who diverged does not win


def test_cloning_loss_by_hand(toy_world: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of 1 to 4 in the shown items 1 to 4, on average 2.5 with what is not shown; values are 0.5 and -1."""
    policy = make(toy_world).policy
    scores = torch.full((2, toy.N_ITEMS), 2.5)
    scores[:, :4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    scores[:, -1] = -torch.inf  # an item that is not live counts for nothing
    found = SlateDistribution(scores), torch.tensor([0.5, -1.0])
    monkeypatch.setattr(policy, "score", lambda observations: found)
    log = LoggedSlates(
        torch.zeros(2, 2), torch.zeros(2, 5).long(), torch.tensor([[1, 4], [2, 3]]), torch.tensor([[0.0, 1.0], [0, 0]])
    )
    for sharpness in (1.0, 2.0):
        misses = [-1.5 / sharpness + 0.5, -0.5 / sharpness - 1.0, 0.5 / sharpness - 1.0]
        expected = sum(math.log1p(math.exp(logit)) for logit in misses)
        expected += math.log1p(math.exp(-(1.5 / sharpness + 0.5)))  # the click
        assert cloning_loss(policy, log, sharpness).item() == pytest.approx(expected / 4)


def test_the_latest_rows_only_say_when_to_stop() -> None:
    """Rows 0 to 89 have mean 44.5; with many steps that is where it ends, whatever rows 90 to 99 say."""
    network = Level()
    best = fit(network, network.loss, logged(100), 30, 0, learning_rate=0.5, weight_decay=0.0, batch_size=10)
    held_out = torch.arange(90, 100).float()
    assert best == pytest.approx(float((held_out - network.level.detach()).square().mean()), rel=1e-5)
    assert not network.training


def test_keeps_the_best_epoch_and_stops_two_after_it() -> None:
    """The held-out rows are 0, the others 10: every epoch is worse than the one before, so the first is kept."""
    network, calls = Level(), []
    log = logged(100)
    values = torch.where(torch.arange(100) < 90, 10.0, 0.0).unsqueeze(1)

    def loss(rows: LoggedSlates) -> Tensor:
        if not network.training:
            calls.append(float(network.level.detach()))
        return (values[rows.profile[:, 0].long()] - network.level).square().mean()

    fit(network, loss, log, 20, 0, learning_rate=0.01, weight_decay=0.0, batch_size=30)
    assert len(calls) == 3
    assert calls[0] < calls[1] < calls[2]
    assert float(network.level.detach()) == calls[0]


def test_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    network = Level()
    fit(network, network.loss, logged(20), 1, 0)
    torch.testing.assert_close(torch.rand(2), expected)


def test_a_warm_policy_knows_the_toy_world(toy_world: Bundle) -> None:
    """From the log alone: which items are clicked. The critic is as it was, the target is the network."""
    model = make(toy_world, sharpness=1.0)
    critic = copy.deepcopy(model.policy.critic.state_dict())
    warm_start(model.policy, toy_world.users["train"], model.cloning, 60, 0)
    assert mean_reward(model, toy_world) > 0.95 * OPTIMUM
    for name, weight in model.policy.critic.state_dict().items():
        assert torch.equal(weight, critic[name])
    for weight, target in zip(model.policy.network.parameters(), model.policy.target_network.parameters(), strict=True):
        torch.testing.assert_close(weight.detach(), target)


def test_learn_starts_from_the_log_once(toy_world: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[LoggedSlates, Callable[[LoggedSlates], Tensor], int, int]] = []
    monkeypatch.setattr("hsrl_agent.from_log.warm_start", lambda policy, *arguments: calls.append(arguments))
    model = make(toy_world, num_envs=4, seed=5, warm_start=7)
    model.learn(8)
    assert calls == [(toy_world.users["train"], model.cloning, 7, 5)]
    rows = toy_world.users["train"].tensors().rows(torch.arange(8))
    torch.testing.assert_close(model.cloning(rows), cloning_loss(model.policy, rows, 3.0))
    model.learn(8, reset_num_timesteps=False)
    assert len(calls) == 1
    make(toy_world, num_envs=4, warm_start=0).learn(8)
    assert len(calls) == 1
    env = make_vec_env("HSRL-ML1M-v0", 4, bundle=toy_world, action_mode="item")
    waiting = METHODS["hac-log"].make(env, 0, "cpu", {"learning_starts": 1_000})
    waiting.learn(8)
    waiting.learn(8, reset_num_timesteps=False)  # no update so far
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["hsrl", "a2c-log", "hac-log"])
def test_who_takes_over_what_was_learned_does_not_start_from_the_log(name: str, toy_world: Bundle) -> None:
    """Nor does the critic, which knows its policy, learn alone at first."""
    method = METHODS[name]
    settings = {"warm_start": 1, "critic_first": 2}
    old, new = (
        method.make(make_vec_env("HSRL-ML1M-v0", 4, bundle=toy_world, action_mode=method.action_mode), 0, "cpu", chosen)
        for chosen in (settings, {**settings, "learning_rate": 0.0})
    )
    old.learn(4 * 5)
    new.take_over(old)
    new.learn(4 * 3)
    for weight, known in zip(new.policy.network.parameters(), old.policy.network.parameters(), strict=True):
        assert torch.equal(weight, known)


def test_catching_up_is_counted_in_vector_steps(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 4, bundle=toy_world, action_mode="item")
    model = METHODS["a2c-log"].make(env, 0, "cpu", {"warm_start": 1, "critic_first": 7, "n_steps": 4})
    model.learn(4 * 4)
    assert model.catches_up()
    assert model.policy.optimizer.param_groups[0]["lr"] == CATCHING_UP_RATE
    model.learn(4 * 4, reset_num_timesteps=False)
    assert not model.catches_up()
    assert model.learn(4 * 4, reset_num_timesteps=False).policy.optimizer.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize(("settings", "steps"), [({}, 1.0), ({"train_freq": 3}, 3.0), ({"gradient_steps": 2}, 0.5)])
def test_so_it_is_with_replay(settings: dict[str, int], steps: float, toy_world: Bundle) -> None:
    model = make(toy_world, num_envs=4, warm_start=1, critic_first=6, **settings)
    assert model.steps_an_update() == steps
    model.learn(4 * 3)
    assert model.catches_up()
    model.learn(4 * 3, reset_num_timesteps=False)
    assert not model.catches_up()
    assert make(toy_world, num_envs=4, gradient_steps=-1).steps_an_update() == 0.25
