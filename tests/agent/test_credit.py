"""The credit of each click of a slate, against numbers computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hsrl_agent import HSRL, make_vec_env
from hsrl_agent.buffers import SlateReplayBuffer, SlateSamples
from hsrl_agent.credit import click_gains, difference_rewards
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError

GAINS = torch.tensor([[0.0, 0.0], [0.5, 2.0], [0.3, 1.0]])  # of the first and the second click
SPOILER = 7


def value(observations: dict[str, Tensor], patience: Tensor) -> Tensor:
    """A patience of 10 is worth 1, a spoiler in the history costs 4."""
    return patience / 10.0 - 4.0 * (observations["history"] == SPOILER).sum(1)


def batch(clicks: list[float], patience: float = 15.0, terminated: float = 0.0) -> SlateSamples:
    """One user with item 1 in the history, who was shown a spoiler and item 3."""
    profile = torch.zeros(1, 2)
    slate, clicked = torch.tensor([[SPOILER, 3]]), torch.tensor([clicks])
    return SlateSamples(
        observations={"profile": profile, "history": torch.tensor([[0, 0, 1]])},
        next_observations={"profile": profile, "history": torch.zeros(1, 3, dtype=torch.long)},  # nobody looks
        slates=slate,
        clicks=clicked,
        rewards=torch.zeros(1),
        terminated=torch.tensor([terminated]),
        patience=torch.tensor([20.0]),
        next_patience=torch.tensor([patience]),
    )


def test_a_click_is_worth_its_reward_and_what_it_leaves() -> None:
    """Two clicks: each paid 0.3 and 1 of patience (0.1 of V); the spoiler cost 4 more."""
    worth = difference_rewards(batch([1.0, 1.0]), GAINS, value, gamma=0.5)
    torch.testing.assert_close(worth, torch.tensor([[0.3 + 0.5 * (0.1 - 4.0), 0.3 + 0.5 * 0.1]]))


def test_what_was_not_clicked_is_worth_nothing() -> None:
    """One click alone pays 0.5 and 2 of patience."""
    worth = difference_rewards(batch([0.0, 1.0]), GAINS, value, gamma=0.5)
    torch.testing.assert_close(worth, torch.tensor([[0.0, 0.5 + 0.5 * 0.2]]))
    torch.testing.assert_close(difference_rewards(batch([0.0, 0.0]), GAINS, value, 0.5), torch.zeros(1, 2))


def test_a_click_too_many_is_blamed_for_who_leaves() -> None:
    """Under a rule that punishes the second click (-0.1, and -2 of patience), one fewer would have kept the user."""
    gains = torch.tensor([[0.0, 0.0], [0.5, 2.0], [-0.1, -2.0]])
    gone = difference_rewards(batch([1.0, 1.0], patience=0.5, terminated=1.0), gains, value, gamma=0.5)
    stayed = torch.tensor([[0.25, 0.25 - 4.0]])  # V without the spoiler, and without item 3
    torch.testing.assert_close(gone, -0.1 - 0.5 * stayed)
    # a session that ended for another reason has ended for all
    torch.testing.assert_close(
        difference_rewards(batch([1.0, 1.0], terminated=1.0), gains, value, 0.5), torch.full((1, 2), -0.1)
    )


def test_who_could_have_stayed_did_not_leave_for_patience() -> None:
    """A user with a patience of exactly 1 stays; so the end had another reason, and came whatever was clicked."""
    gains = torch.tensor([[0.0, 0.0], [0.5, 2.0], [-0.1, -2.0]])
    ended = difference_rewards(batch([1.0, 1.0], patience=1.0, terminated=1.0), gains, value, gamma=0.5)
    torch.testing.assert_close(ended, torch.full((1, 2), -0.1))


def test_users_are_not_mixed() -> None:
    one, other = batch([1.0, 1.0]), batch([1.0, 0.0], patience=9.0)
    other = other._replace(observations={**other.observations, "history": torch.tensor([[SPOILER, SPOILER, 2]])})
    both = SlateSamples(*({k: torch.cat([a[k], b[k]]) for k in a} if isinstance(a, dict) else torch.cat([a, b])
                          if isinstance(a, Tensor) else None for a, b in zip(one, other, strict=True)))  # fmt: skip
    expected = torch.cat([difference_rewards(each, GAINS, value, 0.5) for each in (one, other)])
    torch.testing.assert_close(difference_rewards(both, GAINS, value, 0.5), expected)


def test_who_has_left_has_no_value() -> None:
    # with one click a patience of exactly 1 is left, and the user stays; without it there is none
    just = difference_rewards(batch([1.0, 0.0], patience=1.0), GAINS, value, gamma=0.5)
    torch.testing.assert_close(just, torch.tensor([[0.5 + 0.5 * (0.1 - 4.0), 0.0]]))
    gone = difference_rewards(batch([1.0, 1.0], patience=0.5, terminated=1.0), GAINS, value, gamma=0.5)
    torch.testing.assert_close(gone, torch.tensor([[0.3, 0.3]]))
    # 1.5 stays, 0.5 (without either click) would have left: V(s') = 0.15 - 4 for the slate with its spoiler
    saved = difference_rewards(batch([1.0, 1.0], patience=1.5), GAINS, value, gamma=0.5)
    torch.testing.assert_close(saved, torch.full((1, 2), 0.3 + 0.5 * (0.15 - 4.0)))


@pytest.fixture
def buffer(toy_world: Bundle) -> SlateReplayBuffer:
    env = make_vec_env("HSRL-ML1M-v0", 2, bundle=toy_world)
    return SlateReplayBuffer(10, env.observation_space, env.action_space, device="cpu", n_envs=2, keeps_credits=True)


def fill(buffer: SlateReplayBuffer, counts: list[list[int]], rewards: list[list[float]]) -> None:
    """Write (steps, 2) numbers of clicks, with rewards and 10 times as much patience."""
    buffer.pos = len(counts)
    clicks = torch.arange(2) < torch.tensor(counts).unsqueeze(2)
    buffer.columns["clicks"][: buffer.pos] = clicks.to(torch.uint8)
    buffer.columns["reward"][: buffer.pos] = torch.tensor(rewards)
    buffer.columns["next_patience"][: buffer.pos] = 10.0 * torch.tensor(rewards)


def test_gains_are_differences_of_means(buffer: SlateReplayBuffer) -> None:
    """Means 0.1, 0.9 and 0.7 at 0, 1 and 2 clicks, as where a full slate pays less; empty rows do not count."""
    fill(buffer, [[0, 1], [1, 2]], [[0.1, 0.8], [1.0, 0.7]])
    torch.testing.assert_close(click_gains(buffer), torch.tensor([[0.0, 0.0], [0.8, 8.0], [-0.2, -2.0]]))


def test_gains_that_were_never_seen_are_the_slope(buffer: SlateReplayBuffer) -> None:
    fill(buffer, [[0, 2]], [[0.1, 0.7]])
    torch.testing.assert_close(click_gains(buffer), torch.tensor([[0.0, 0.0], [0.3, 3.0], [0.3, 3.0]]))
    fill(buffer, [[0, 1]], [[0.1, 0.7]])  # of two rows that are close together, too
    torch.testing.assert_close(click_gains(buffer)[1:], torch.tensor([[0.6, 6.0]] * 2))
    fill(buffer, [[0, 0], [0, 2]], [[0.1, 0.1], [0.1, 0.7]])  # and one odd row is enough to see it
    torch.testing.assert_close(click_gains(buffer)[1:], torch.tensor([[0.3, 3.0]] * 2))
    fill(buffer, [[1, 1]], [[0.4, 0.6]])  # all alike: nothing can be said
    torch.testing.assert_close(click_gains(buffer), torch.zeros(3, 2))


def test_the_rules_of_the_session_are_read_off_the_buffer(toy_world: Bundle) -> None:
    """With c = 0.1 and K = 2 a click pays 0.55, and under the reference rule 1.1 of patience."""
    env = make_vec_env("HSRL-ML1M-v0", 16, seed=0, bundle=toy_world)
    model = HSRL("HSRLPolicy", env, seed=0, device="cpu", pretrain_epochs=0, policy_kwargs={"width": 8, "n_heads": 2})
    model.learn(16 * 30)
    torch.testing.assert_close(click_gains(model.replay_buffer)[1:], torch.tensor([[0.55, 1.1]] * 2))


def test_credits_stay_with_their_transitions(toy_world: Bundle) -> None:
    """A sampled row has its own credits: 0 without a click, something with one."""
    env = make_vec_env("HSRL-ML1M-v0", 4, seed=0, bundle=toy_world)
    model = HSRL("HSRLPolicy", env, seed=0, device="cpu", pretrain_epochs=0, policy_kwargs={"width": 8, "n_heads": 2})
    model.learn(4 * 40)
    sample = model.replay_buffer.sample(200)
    assert sample.credits is not None
    assert (sample.credits[sample.clicks == 0] == 0).all()
    assert (sample.credits[sample.clicks == 1] != 0).all()
    second = model.replay_buffer.vector_step(ago=1)
    model.replay_buffer.credit(1, torch.full((4, 2), 5.0))
    again, newest = model.replay_buffer.vector_step(ago=1), model.replay_buffer.vector_step()
    assert again.credits is not None
    assert newest.credits is not None
    assert (again.credits == 5.0).all()
    assert (newest.credits != 5.0).all()
    assert torch.equal(again.slates, second.slates)


def test_the_states_that_the_critic_is_asked_of(toy_world: Bundle) -> None:
    """The next observations as they came, then each click's without it; histories are full by then."""
    env = make_vec_env("HSRL-ML1M-v0", 32, seed=0, bundle=toy_world, initial_patience=1000.0)
    model = HSRL("HSRLPolicy", env, seed=0, device="cpu", pretrain_epochs=0, policy_kwargs={"width": 8, "n_heads": 2})
    model.learn(32 * 18)
    steps = [model.replay_buffer.vector_step(ago) for ago in range(12)]
    stored = next(step for step in steps if (step.clicks.sum(1) == 2).any())
    before, asked = (stored.clicks.clone(), stored.next_patience.clone()), []

    def note(observations: dict[str, Tensor], patience: Tensor) -> Tensor:
        asked.append((observations["history"], patience))
        return torch.zeros(len(patience))

    difference_rewards(stored, click_gains(model.replay_buffer), note, 0.9)
    (history, patience), clicked = asked[0], stored.clicks.nonzero().tolist()
    assert clicked
    assert len(history) == len(patience) == 32 + len(clicked)
    assert torch.equal(history[:32], stored.next_observations["history"].long())
    assert torch.equal(patience[:32], stored.next_patience)
    for (user, slot), new, left in zip(clicked, history[32:], patience[32:], strict=True):
        shown = stored.slates[user].tolist()
        others = [shown[k] for who, k in clicked if who == user and k != slot]
        expected = [*stored.observations["history"][user].tolist(), *others][-len(new) :]
        assert new.tolist() == expected
        torch.testing.assert_close(left, stored.next_patience[user] - 1.1)  # what a click is worth, see above
    assert torch.equal(stored.clicks, before[0])
    assert torch.equal(stored.next_patience, before[1])


def test_credits_wait_for_a_critic_that_knows_something(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 4, seed=0, bundle=toy_world)
    model = HSRL(
        "HSRLPolicy", env, seed=0, device="cpu", pretrain_epochs=1, critic_warmup_steps=5, policy_kwargs={"width": 8}
    )
    model.learn(4 * 5)
    assert (model.replay_buffer.columns["credit"] == 0).all()
    model.learn(4, reset_num_timesteps=False)
    clicked = model.replay_buffer.columns["clicks"][:6] > 0
    assert clicked[:5].any()
    assert (model.replay_buffer.columns["credit"][:6][clicked] != 0).all()
    assert (model.replay_buffer.columns["credit"][:6][~clicked] == 0).all()


def test_every_vector_step_is_credited_once(toy_world: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the critic warm-up together after it, each later one when it comes."""
    credited: list[tuple[int, int]] = []  # (position in the buffer, steps ago)
    monkeypatch.setattr(SlateReplayBuffer, "credit", lambda buffer, ago, _: credited.append((buffer.pos, ago)))
    env = make_vec_env("HSRL-ML1M-v0", 4, seed=0, bundle=toy_world)
    settings = {"seed": 0, "device": "cpu", "policy_kwargs": {"width": 8}}
    HSRL("HSRLPolicy", env, pretrain_epochs=1, critic_warmup_steps=3, **settings).learn(4 * 6)
    assert credited == [*((4, ago) for ago in range(4)), (5, 0), (6, 0)]
    credited.clear()
    HSRL("HSRLPolicy", env, pretrain_epochs=0, **settings).learn(4 * 3)
    assert credited == [(1, 0), (2, 0), (3, 0)]


def test_the_critic_warmup_asks_for_the_value_after_the_step(toy_world: Bundle) -> None:
    """The target critic knows the patience that is left, not that of before."""
    env = make_vec_env("HSRL-ML1M-v0", 4, seed=0, bundle=toy_world)
    model = HSRL("HSRLPolicy", env, seed=0, device="cpu", pretrain_epochs=0, policy_kwargs={"width": 8}).learn(4 * 6)
    drawn = model.replay_buffer.sample(16)
    asked: list[Tensor] = []

    def note(observations: dict[str, Tensor], patience: Tensor) -> Tensor:
        assert torch.equal(observations["history"], drawn.next_observations["history"])
        asked.append(patience)
        return torch.zeros(len(patience))

    model.target_value = note  # type: ignore[method-assign]
    model.critic_warmup_loss(drawn)
    assert (drawn.patience != drawn.next_patience).all()
    assert torch.equal(asked[0], drawn.next_patience)


def test_a_buffer_without_credits_is_refused(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 4, seed=0, bundle=toy_world)
    model = HSRL("HSRLPolicy", env, seed=0, device="cpu", pretrain_epochs=0, credit="slate").learn(4)
    model.credit = "counterfactual"
    with pytest.raises(HsrlError, match="got a replay buffer without credits, expected one of an agent with credit="):
        model.learn(4, reset_num_timesteps=False)
