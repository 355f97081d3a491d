"""Rewards and patience by hand, and the sessions that follow from them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hsrl_gym.envs.rules import PATIENCE, REWARDS, mean_with_cost, reference_patience, streak_patience, sweet_point


def slates(*n_clicks: int, slate_size: int = 9) -> Tensor:
    """Return one row of clicks for each number."""
    return (torch.arange(slate_size) < torch.tensor(n_clicks).unsqueeze(1)).float()


def session(reward_rule: str, patience_rule: str, n_clicks: int, slate_size: int = 9) -> tuple[int, float]:
    """Return depth and total reward of a user who starts with 20 and leaves below 1."""
    reward = REWARDS[reward_rule](slates(n_clicks, slate_size=slate_size), 0.1)
    patience, streak, depth = torch.tensor([20.0]), torch.tensor([0]), 0
    while patience >= 1.0:
        patience, streak = PATIENCE[patience_rule](patience, streak, reward, slate_size)
        depth += 1
    return depth, depth * float(reward)


def test_mean_with_cost() -> None:
    # 9 of 9: 1; 8 of 9: (8 - 0.1) / 9; none: -0.1.
    expected = [1.0, 7.9 / 9, (3 - 0.6) / 9, -0.1]
    assert mean_with_cost(slates(9, 8, 3, 0), 0.1).tolist() == pytest.approx(expected)


def test_the_papers_bound_is_another_cost() -> None:
    assert mean_with_cost(slates(0, 5, 10, slate_size=10), 0.2).tolist() == pytest.approx([-0.2, 0.4, 1.0])


def test_sweet_point_pays_one_miss_more_than_none() -> None:
    # 9 of 9: 1 - |1 - 0.9|; 8 of 9: 1 - (0.9 - 7.9 / 9) = 0.9778; none: 1 - 1.
    expected = [0.9, 0.1 + 7.9 / 9, 0.1 + 2.4 / 9, 0.0]
    assert sweet_point(slates(9, 8, 3, 0), 0.1).tolist() == pytest.approx(expected)


def test_reference_patience() -> None:
    reward = torch.tensor([1.0, 0.5, 0.0, -0.1])
    streak = torch.tensor([0, 1, 2, 3])
    after, streak_after = reference_patience(torch.tensor([20.0, 20.0, 10.0, 10.0]), streak, reward, 4)
    assert after.tolist() == pytest.approx([19.0, 17.0, 5.0, 4.6])  # -(0 + 1), -(2 + 1), -(4 + 1), -(4.4 + 1)
    assert streak_after.tolist() == streak.tolist()


def test_streak_patience_grows_dearer_and_is_forgiven() -> None:
    patience, streak = torch.tensor([20.0]), torch.tensor([0])
    seen = []
    for reward in [0.0, -0.1, 0.0, 0.01, 0.0, 1.0]:
        patience, streak = streak_patience(patience, streak, torch.tensor([reward]), 9)
        seen.append((float(patience), int(streak)))
    assert seen == [(19.0, 1), (17.0, 2), (14.0, 3), (14.0, 0), (13.0, 1), (13.0, 0)]


@pytest.mark.parametrize(
    ("reward_rule", "n_clicks", "depth", "total"),
    [
        ("sweet_point", 9, 10, 9.0),  # each step takes 1.9: the tenth leaves 1.0 less what float32 rounds off
        ("sweet_point", 8, 16, 16 * (0.1 + 7.9 / 9)),  # takes 1.2; total 15.64
        ("sweet_point", 0, 2, 0.0),  # takes 10
        ("mean_with_cost", 9, 20, 20.0),  # takes 1
        ("mean_with_cost", 8, 10, 79 / 9),  # takes 2.1; total 8.78
        ("mean_with_cost", 0, 2, -0.2),  # takes 10.9
    ],
)
def test_sessions_of_nine(reward_rule: str, n_clicks: int, depth: int, total: float) -> None:
    got_depth, got_total = session(reward_rule, "reference", n_clicks)
    assert got_depth == depth
    assert got_total == pytest.approx(total, abs=1e-4)


def test_a_perfect_slate_costs_one_whatever_its_size() -> None:
    for slate_size in range(1, 21):
        perfect = mean_with_cost(torch.ones(1, slate_size), 0.1)
        assert reference_patience(torch.tensor([20.0]), torch.tensor([0]), perfect, slate_size)[0].item() == 19.0


def test_six_bad_steps_end_a_streak_session() -> None:
    # 20 - 1 - 2 - 3 - 4 - 5 = 5, and the sixth takes 6.
    assert session("mean_with_cost", "streak", 0)[0] == 6


def test_rules_work_row_by_row() -> None:
    clicks = (torch.rand(16, 9, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    for rule in REWARDS.values():
        assert rule(clicks, 0.1).tolist() == [rule(row.unsqueeze(0), 0.1).item() for row in clicks]
