"""A step as text, line by line, and what is kept of the steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.core import SessionParams
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.render_text import step_line, step_text
from hsrl_gym.envs.render_view import Card, View, cards_of, clean_label, history_of
from hsrl_gym.envs.vector_env import SlateVectorEnv

PARAMS = SessionParams(slate_size=3, initial_patience=20.0, max_steps=12)
CARDS = (
    Card("Alien (1979)", "7-0-5", 0.9, True),
    Card("Heat (1995)", "1-2-3", 0.2, False),
    Card("a" * 60, "10-11-12", 0.5, True),
)
VIEW = View(
    "films", PARAMS, step=4, patience_before=14.0, patience=12.5, reward=0.6333, total=2.0, cards=CARDS, history=("x",)
)


def test_a_step() -> None:
    assert step_text(VIEW).splitlines() == [
        "step 4 of at most 12",
        f"   1  {'Alien (1979)':<44}  SID 7-0-5       click",
        f"   2  {'Heat (1995)':<44}  SID 1-2-3         .",
        f"   3  {'a' * 43}…  SID 10-11-12    click",
        "  2 of 3 clicked, reward 0.633",
        "  patience 12.50 |############        |",  # 12.5 of 20 is 12.5 of 20 characters, rounded to even
    ]


def test_a_step_in_one_line() -> None:
    line = "   4  reward  0.633  total   2.000  patience  12.5 |############        |  2 of 3 clicked: Alien (1979); "
    assert step_line(VIEW, 200) == line + "a" * 60
    assert step_line(VIEW, len(line) + 3) == line + "aa…"
    assert step_line(replace(VIEW, cards=CARDS[1:2]), 200).endswith("|  0 of 1 clicked")


def test_the_last_step() -> None:
    gone = replace(VIEW, patience=-3.2)
    assert step_text(gone).splitlines()[-1] == "  patience  0.00 |                    |  the user leaves"
    assert step_text(replace(VIEW, patience=1.0)).endswith("|#                   |")
    assert [gone.ending, VIEW.ending, replace(VIEW, step=12).ending] == ["the user leaves", "", "max_steps reached"]


def test_a_full_bar() -> None:
    params = replace(PARAMS, initial_patience=40.0)
    assert "|" + "#" * 20 + "|" in step_text(replace(VIEW, params=params, patience=40.0))


def test_before_the_first_step() -> None:
    assert step_text(View("films", PARAMS, patience=20.0)) == "a new user, patience 20.0"


def test_a_restored_session_shows_where_it_is(tiny_bundle: Bundle) -> None:
    """Its last slate is not known; step and patience are."""
    env = SlateEnv(tiny_bundle, render_mode="ansi")
    assert env.rendering is not None
    env.reset(seed=0)
    start = env.render()
    env.action_space.seed(0)
    over, step, patience = False, 0, 20.0
    while not over:
        snapshot = env.snapshot()
        env.restore(snapshot)
        view = env.rendering.view(0)
        assert (view.step, view.patience, view.patience_before, view.cards) == (step, patience, patience, ())
        at = f"step {step} of at most 20, the last slate is not known" if step else "a new user"
        assert env.render() == f"{at}, patience {patience:.1f}"
        *_, terminated, truncated, info = env.step(env.action_space.sample())
        over, step, patience = terminated or truncated, step + 1, float(info["patience"])
    assert (terminated, patience < 0) == (True, True)
    env.restore(env.snapshot())
    assert env.render() == f"step {step} of at most 20, the last slate is not known, patience 0.0  the user leaves"
    assert env.rendering.view(0).ending == "the user leaves"
    env.reset(seed=0)
    assert env.render() == start


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("Heat (1995)", "Heat (1995)"),
        ("\x1b[31mRed\x1b[0m\tAlert\n\u202e", "[31mRed [0m Alert"),  # no colours, no other line, not from right to left
        ("\x00\x07", "item 1"),
        ("", "item 1"),
        ("Amélie 千と", "Amélie 千と"),
        ("b" * 10**6, "b" * 200),
    ],
)
def test_labels_are_safe_for_a_terminal(label: str, shown: str) -> None:
    assert clean_label(("", label), 1) == shown


def test_cards() -> None:
    columns = {
        "slate": np.array([2, 1]),
        "slate_tokens": np.array([[7, 0], [1, 2]]),
        "probability": np.array([0.25, 1.0], dtype=np.float32),
        "clicks": np.array([1, 0], dtype=np.uint8),
        "explored": np.array([False, True]),
        "conversions": np.array([1, 0]),
        "cost": np.array([0.5, 0.0]),
    }
    assert cards_of(("", "one", "two"), columns) == (
        Card("two", "7-0", 0.25, True, ("bought", "cost 0.50")),
        Card("one", "1-2", 1.0, False, ("explored",)),
    )
    assert history_of(("", "one", "two"), np.array([0, 0, 1, 2])) == ("two", "one")


def test_what_is_kept_of_a_session(tiny_bundle: Bundle) -> None:
    """Everything shown is what the environment said; the click probability is what its user model gave."""
    env = SlateEnv(tiny_bundle, render_mode="rgb_array", initial_patience=60.0)
    assert env.rendering is not None
    observation, _ = env.reset(seed=3)
    start = env.rendering.view(0)
    assert (start.step, start.patience, start.cards, start.total) == (0, 60.0, (), 0.0)
    assert len(start.history) == np.count_nonzero(observation["history"])
    env.action_space.seed(0)
    rewards = []
    for step in (1, 2, 3):
        state = env._state
        assert state is not None
        _, reward, *_, info = env.step(env.action_space.sample())
        rewards.append(reward)
        view = env.rendering.view(0)
        expected = env.sessions.core.respond(state.user, state.history, torch.as_tensor(info["slate"])[None])[0]
        assert [card.probability for card in view.cards] == expected.tolist()
        assert [card.clicked for card in view.cards] == info["clicks"].astype(bool).tolist()
        assert (view.step, view.reward, view.patience) == (step, reward, info["patience"])
        assert view.patience_before == info["patience_before"]
        assert view.total == pytest.approx(sum(rewards))
        assert view.history[: len(view.clicked)] == view.clicked[::-1]
    env.reset()
    assert env.rendering.view(0).total == 0.0


def test_each_session_of_a_batch_has_its_own_total(tiny_bundle: Bundle) -> None:
    """A session that ends starts its sum again; until the next step its last view stays."""
    envs = SlateVectorEnv(2, tiny_bundle, render_mode="ansi", max_steps=2, initial_patience=99.0)
    assert envs.rendering is not None
    envs.reset(seed=0)
    envs.action_space.seed(0)
    rewards = np.array([envs.step(envs.action_space.sample())[1] for _ in range(3)])
    for index in range(2):
        assert envs.rendering.view(index).step == 1
        assert envs.rendering.view(index).total == rewards[2, index]
    rewards = np.array([*rewards[2:], envs.step(envs.action_space.sample())[1]])
    for index in range(2):
        assert envs.rendering.view(index).ending == "max_steps reached"
        assert envs.rendering.view(index).total == pytest.approx(rewards[:, index].sum())


def test_the_probability_costs_no_second_pass(tiny_bundle: Bundle) -> None:
    calls = []

    class Counting:
        def __call__(self, *arguments: Any) -> Any:
            calls.append(1)
            return respond(*arguments)

    env = SlateEnv(tiny_bundle, render_mode="rgb_array")
    respond, env.sessions.core.respond = env.sessions.core.respond, Counting()
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.render()
    assert len(calls) == 1


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_a_session_that_begins_later_shows_its_start(tiny_bundle: Bundle, mode: str) -> None:
    """One session ends and is replaced, by the next step or by a mask; the others go on."""
    envs = SlateVectorEnv(3, tiny_bundle, render_mode="ansi", autoreset_mode=mode)
    assert envs.rendering is not None
    envs.reset(seed=0)
    envs.action_space.seed(0)
    over = np.zeros(3, dtype=bool)
    while not over.any() or over.all():
        _, _, terminated, truncated, _ = envs.step(envs.action_space.sample())
        over = terminated | truncated
    before = [envs.rendering.view(index) for index in range(3)]
    assert [bool(view.ending) for view in before] == over.tolist()
    if mode == "NextStep":
        reward = envs.step(envs.action_space.sample())[1]
    else:
        envs.reset(options={"reset_mask": over})
    for index, view in enumerate(before):
        now = envs.rendering.view(index)
        if over[index]:
            assert (now.step, now.total, now.cards) == (0, 0.0, ())
        elif mode == "Disabled":
            assert now == view
        else:
            assert now.step == view.step + 1
            assert now.total == pytest.approx(view.total + reward[index])
