"""Figure 5: means and intervals by hand, and what cannot be drawn."""

from __future__ import annotations

from typing import Any

import pytest

from hsrl_agent.evaluation.report.sensitivity import sensitivity_figure
from hsrl_agent.evaluation.statistics import interval
from hsrl_gym.errors import HsrlError

REWARDS = {
    "entropy weight": [(0.001, [3.0, 5.0]), (0.01, [6.0, 8.0])],
    "levels": [(2, [1.0, 2.0, 3.0]), (3, [4.0, 4.0, 4.0]), (4, [2.0, 2.5, 3.0])],
}


def test_means_and_intervals() -> None:
    depths = {name: [(value, [1 + x for x in seeds]) for value, seeds in group] for name, group in REWARDS.items()}
    figure = sensitivity_figure(REWARDS, depths)
    assert len(figure.axes) == 4
    left = figure.axes[0]
    (bars,) = left.containers
    assert bars[0].get_ydata().tolist() == [4.0, 7.0]
    ends = [segment[:, 1].tolist() for segment in bars[2][0].get_segments()]
    assert ends == [[3.0, 5.0], [6.0, 8.0]]
    assert [text.get_text() for text in left.get_xticklabels()] == ["0.001", "0.01"]
    (bars,) = figure.axes[1].containers
    three = interval([1.0, 2.0, 3.0])
    assert bars[2][0].get_segments()[0][:, 1].tolist() == pytest.approx([three.low, three.high])
    (bars,) = figure.axes[2].containers
    assert bars[0].get_ydata().tolist() == [5.0, 8.0]
    assert [axes.get_ylabel() for axes in figure.axes] == ["Total Reward", "", "Depth, steps", ""]


@pytest.mark.parametrize(
    ("rewards", "depths", "message"),
    [
        ({}, {}, "expected the same ones, at least one"),
        ({"levels": []}, {}, "got no values or no seeds for 'levels'"),
        ({"levels": [(2, [])]}, {}, "got no values or no seeds for 'levels'"),
        ({"levels": [(2, [1.0])]}, {"vocabulary": [(2, [1.0])]}, "expected the same ones"),
    ],
)
def test_refuses_groups_with_nothing_in_them(rewards: Any, depths: Any, message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        sensitivity_figure(rewards, depths)
