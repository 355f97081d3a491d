"""Pretraining on logged slates: the loss by hand, early stopping, what `pretrain` and `learn` do, critic warm-up."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import toy
from agents import make, make_hsrl, mean_reward
from torch import Tensor, nn

from hsrl_agent import make_vec_env
from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.methods import METHODS
from hsrl_agent.pretraining import CRITIC_WARMUP_RATE, click_loss, cloning_loss, fit
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError

OPTIMUM = 0.98 * 1.1 - 0.1


def logged(n_rows: int) -> LoggedSlates:
    zeros = torch.zeros(n_rows, 1)
    return LoggedSlates(torch.arange(n_rows).float().unsqueeze(1), zeros.long(), zeros.long() + 1, zeros)


class Level(nn.Module):
    """One number, fitted to the mean of the profiles."""

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
    policy = make_hsrl(toy_world).policy
    scores = torch.full((2, toy.N_ITEMS), 2.5)
    scores[:, :4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    scores[:, -1] = -torch.inf  # an item that is not live counts for nothing
    found = SlateDistribution(scores), torch.tensor([0.5, -1.0])
    monkeypatch.setattr(policy, "score", lambda observations: found)
    log = LoggedSlates(
        torch.zeros(2, 2), torch.zeros(2, 5).long(), torch.tensor([[1, 4], [2, 3]]), torch.tensor([[0.0, 1.0], [0, 0]])
    )
    for inverse_temperature in (1.0, 2.0):
        misses = [-1.5 / inverse_temperature + 0.5, -0.5 / inverse_temperature - 1.0, 0.5 / inverse_temperature - 1.0]
        expected = sum(math.log1p(math.exp(logit)) for logit in misses)
        expected += math.log1p(math.exp(-(1.5 / inverse_temperature + 0.5)))  # the click
        assert cloning_loss(policy, log, inverse_temperature).item() == pytest.approx(expected / 4)


def test_the_latest_rows_only_say_when_to_stop() -> None:
    """Rows 0 to 89 have mean 44.5; with many steps the fit ends there, whatever rows 90 to 99 are."""
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


def test_a_pretrained_policy_knows_the_toy_world(toy_world: Bundle) -> None:
    """From the log alone: which items are clicked. The critic is as it was, the target is the network."""
    model = make_hsrl(toy_world, inverse_temperature=1.0)
    critic = copy.deepcopy(model.policy.critic.state_dict())
    model.pretrain(epochs=60)
    assert mean_reward(model, toy_world) > 0.95 * OPTIMUM
    for name, weight in model.policy.critic.state_dict().items():
        assert torch.equal(weight, critic[name])
    for weight, target in zip(model.policy.network.parameters(), model.policy.target_network.parameters(), strict=True):
        torch.testing.assert_close(weight.detach(), target)


def test_learn_pretrains_once(toy_world: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the train pool, before the first step; not again when learning goes on, nor without an update so far."""
    calls: list[tuple[int, int, int]] = []

    def note(network: nn.Module, loss: object, log: LoggedSlates, max_epochs: int, seed: int) -> float:
        np.testing.assert_array_equal(log.slate.numpy(), toy_world.users["train"].slate)
        calls.append((len(log), max_epochs, seed))
        return 0.5

    monkeypatch.setattr("hsrl_agent.pretraining.fit", note)
    model = make_hsrl(toy_world, num_envs=4, seed=5, pretrain_epochs=7).learn(8)
    assert calls == [(400, 7, 5)]
    model.learn(8, reset_num_timesteps=False)
    make_hsrl(toy_world, num_envs=4, pretrain_epochs=0).learn(8)
    assert len(calls) == 1
    waiting = make("hac-pretrained", toy_world, 4, learning_starts=1_000).learn(8)
    waiting.learn(8, reset_num_timesteps=False)
    assert len(calls) == 2


def test_pretrain_by_hand_takes_the_place_of_learns_own(toy_world: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes any log and any number of passes, returns the held-out loss, and the critic warms up after it."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "hsrl_agent.pretraining.fit", lambda network, loss, log, epochs, seed: calls.append((len(log), epochs)) or 0.25
    )
    model = make_hsrl(toy_world, num_envs=4, pretrain_epochs=8, critic_warmup_steps=2)
    pool = toy_world.users["train"]
    log = pool.rows(slice(30))
    assert model.pretrain(log, epochs=3) == 0.25
    model.learn(4)
    assert calls == [(30, 3)]
    assert model.in_critic_warmup()
    model.learn(4 * 2, reset_num_timesteps=False)
    assert not model.in_critic_warmup()
    model.pretrain(log, epochs=1)
    assert model.in_critic_warmup()  # counted from the last pretraining
    with pytest.raises(HsrlError, match="got 0 epochs of pretraining, expected at least 1"):
        model.pretrain(epochs=0)


def test_a_log_of_another_environment_is_refused(toy_world: Bundle) -> None:
    pool, model = toy_world.users["train"], make_hsrl(toy_world)
    with pytest.raises(HsrlError, match="got a log with profile of width 1, expected 2 as in the environment"):
        model.pretrain(replace(pool, profile=pool.profile[:, :1]), epochs=1)
    changed = {
        r"item 13 in its slate, expected 1\.\.12; is it of another catalog": {"slate": pool.slate + 1},
        r"item 0 in its slate, expected 1\.\.12": {"slate": pool.slate - 1},
        r"item -1 in its history, expected 0\.\.12": {"history": pool.history - 1},
    }
    for message, columns in changed.items():
        with pytest.raises(HsrlError, match=f"got a log with {message}"):
            model.pretrain(replace(pool, **columns), epochs=1)
    for n_rows in (0, 1):
        with pytest.raises(HsrlError, match=f"got a log of {n_rows} rows, expected at least 2: one to learn from"):
            model.pretrain(pool.rows(slice(n_rows)), epochs=1)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_pretraining_says_how_it_ended(
    terminal: bool, toy_world: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    make_hsrl(toy_world, pretrain_epochs=1).pretrain()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("hsrl_agent.pretraining._MANY_ROWS", 100)
    held_out = make_hsrl(toy_world, pretrain_epochs=2, verbose=1).pretrain()
    out, err = capsys.readouterr()
    assert f"held-out loss {held_out:.4f}" in out
    *before, last = re.split(r"[\r\n]", err.removesuffix("\n"))
    assert terminal or before == ["pretraining HSRL on 400 logged slates: started"]
    expected = rf"pretraining HSRL on 400 logged slates: done in [\d.]+ s, epochs=2 of 2, held_out_loss={held_out:.4f}"
    assert re.fullmatch(expected, last)


def test_a_worker_process_pretrains_in_silence(
    toy_world: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hsrl_agent.pretraining._MANY_ROWS", 100)
    monkeypatch.setattr("multiprocessing.parent_process", object)
    make_hsrl(toy_world, pretrain_epochs=1).pretrain()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["hsrl", "a2c-pretrained", "hac-pretrained"])
def test_transfer_takes_the_place_of_pretraining(name: str, toy_world: Bundle) -> None:
    """There is no critic warm-up either: the critic knows its policy."""
    method = METHODS[name]
    settings = {"pretrain_epochs": 1, "critic_warmup_steps": 2}
    old, new = (
        method.make(make_vec_env("HSRL-ML1M-v0", 4, bundle=toy_world, action_mode=method.action_mode), 0, "cpu", chosen)
        for chosen in (settings, {**settings, "learning_rate": 0.0})
    )
    old.learn(4 * 5)
    new.transfer_from(old)
    new.learn(4 * 3)
    for weight, known in zip(new.policy.network.parameters(), old.policy.network.parameters(), strict=True):
        assert torch.equal(weight, known)


def test_critic_warmup_is_counted_in_vector_steps(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 4, bundle=toy_world, action_mode="item")
    model = METHODS["a2c-pretrained"].make(
        env, 0, "cpu", {"pretrain_epochs": 1, "critic_warmup_steps": 7, "n_steps": 4}
    )
    model.learn(4 * 4)
    assert model.in_critic_warmup()
    assert model.policy.optimizer.param_groups[0]["lr"] == CRITIC_WARMUP_RATE
    model.learn(4 * 4, reset_num_timesteps=False)
    assert not model.in_critic_warmup()
    assert model.learn(4 * 4, reset_num_timesteps=False).policy.optimizer.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize(("settings", "steps"), [({}, 1.0), ({"train_freq": 3}, 3.0), ({"gradient_steps": 2}, 0.5)])
def test_critic_warmup_with_replay(settings: dict[str, int], steps: float, toy_world: Bundle) -> None:
    model = make_hsrl(toy_world, num_envs=4, pretrain_epochs=1, critic_warmup_steps=6, **settings)
    assert model.steps_per_update() == steps
    model.learn(4 * 3)
    assert model.in_critic_warmup()
    model.learn(4 * 3, reset_num_timesteps=False)
    assert not model.in_critic_warmup()
    assert make_hsrl(toy_world, num_envs=4, gradient_steps=-1).steps_per_update() == 0.25
