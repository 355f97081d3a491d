"""The table of gaps between two users, by hand."""

from __future__ import annotations

import pytest
from made_results import make_result

from hsrl_agent.evaluation.report.belief import agreement, belief_tables
from hsrl_agent.evaluation.summary import Belief


def test_gaps_are_means_over_the_seeds_that_both_have_scored() -> None:
    runs = [make_result("sl", 0, 3.0, true=2.0), make_result("sl", 1, 5.0, true=3.0), make_result("sl", 2, 99.0)]
    runs += [make_result("hsrl", 0, 4.0, true=3.5), make_result("random", 0, 1.0)]
    (table,) = belief_tables(runs)
    assert table.markdown().splitlines()[2:] == [
        "| SL | 4.00 | 2.50 | +1.50 [+1.00, +2.00] |",
        "| HSRL | 4.00 | 3.50 | +0.50 [n/a] |",
    ]
    assert [column.heading for column in table.columns] == ["Method", "`eval` user", "true user", "Gap [95%]"]


def test_where_nobody_knows_the_true_user_the_train_user_judges() -> None:
    runs = [make_result(method, 0, reward, train=2 * reward) for method, reward in (("sl", 1.0), ("hsrl", 2.0))]
    (table,) = belief_tables(runs)
    assert table.columns[2].heading == "`train` user"
    assert "Kendall's tau 1.00" in table.notes[0]
    assert "Nobody knows the true user" in table.notes[-1]
    assert belief_tables([make_result("sl", 0, 1.0)]) == []


@pytest.mark.parametrize(
    ("tau", "repeated", "parts"),
    [(None, None, []), (0.947, None, ["tau 0.95"]), (0.947, 0.554, ["tau 0.95", "by two seeds have tau 0.55"])],
)
def test_agreement_of_rankings(tau: float | None, repeated: float | None, parts: list[str]) -> None:
    text = " ".join(agreement(Belief("RL4RS", tau, "true_user", repeated), "true user", 3))
    assert bool(text) == bool(parts)
    assert all(part in text for part in parts)
