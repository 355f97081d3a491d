"""Rankings of methods by the learned user and by the true one, against ones worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from belief import Belief, believe, describe
from results import label


def row(method: str, learned: float, true: float | None, env: str = "HSRL-RL4RS-v0", seed: int = 0) -> dict[str, Any]:
    true_user = None if true is None else {"total_reward": true, "depth": 3.0}
    return {"env": env, "method": method, "seed": seed, "total_reward": learned, "true_user": true_user}


def test_tau_counts_pairs_in_the_same_order() -> None:
    # Ranked 1 2 3 4 by the learned user, 1 3 2 4 by the true one: 5 pairs agree, 1 does not.
    rows = [row("random", 1.0, 1.0), row("a2c", 3.0, 2.0), row("sl", 2.0, 3.0), row("hsrl", 4.0, 4.5)]
    (belief,) = believe(rows)
    assert belief.tau == pytest.approx(4 / 6)
    assert dict(belief.gaps) == {"random": 0.0, "sl": -1.0, "a2c": 1.0, "hsrl": -0.5}
    assert list(belief.gaps) == ["random", "sl", "a2c", "hsrl"]  # in the order of the tables
    (reverse,) = believe([row("a", 1.0, 3.0), row("b", 2.0, 2.0), row("c", 3.0, 1.0)])
    assert reverse.tau == -1.0


def test_means_over_seeds_are_ranked() -> None:
    """Single runs of the two methods lie across each other, their means do not."""
    rows = [
        row(*run, seed=seed)
        for seed, runs in enumerate([(("sl", 1.0, 9.0), ("hsrl", 4.0, 4.0)), (("sl", 5.0, 1.0), ("hsrl", 4.0, 8.0))])
        for run in runs
    ]
    (belief,) = believe(rows)
    assert belief.repeated == -1.0
    third = [row("sl", 2.0, 1.0, seed=2), row("hsrl", 3.0, 1.0, seed=2), row("a2c", 9.0, 9.0, seed=7)]
    (longer,) = believe([*rows, *third])  # seeds 0 and 2 agree; seed 7 has one method alone
    assert longer.repeated == pytest.approx((-1.0 + 1.0 - 1.0) / 3)
    assert belief.tau == 1.0
    assert dict(belief.gaps) == {"sl": -2.0, "hsrl": -2.0}


def test_runs_that_nobody_could_check_do_not_count() -> None:
    rows = [row("sl", 1.0, 2.0), row("sl", 100.0, None), row("a2c", 3.0, None), row("sl", 1.0, None, env="real")]
    (belief,) = believe([*rows, {"env": "older", "method": "sl", "total_reward": 1.0}])
    assert belief == Belief("HSRL-RL4RS-v0", None, {"sl": -1.0})  # one method has no ranking
    (tied,) = believe([row("sl", 1.0, 2.0), row("a2c", 1.0, 3.0)])
    assert tied.tau is None  # nor has a tie


def test_the_user_that_was_learned_from_is_another_belief() -> None:
    rows = [
        {**row(method, score, None), "train_user": {"total_reward": 2.0 * score}}
        for method, score in (("sl", 1.0), ("hsrl", 2.0))
    ]
    (belief,) = believe(rows)
    assert belief == Belief("HSRL-RL4RS-v0", 1.0, {"sl": -1.0, "hsrl": -2.0}, "train_user")
    both = believe([*rows, row("sl", 3.0, 4.0)])
    assert [(one.other, dict(one.gaps)) for one in both] == [
        ("train_user", {"sl": -1.0, "hsrl": -2.0}),
        ("true_user", {"sl": -1.0}),
    ]


def test_the_line_for_a_reader() -> None:
    belief = Belief("HSRL-RL4RS-v0", 0.947, {"sl": -0.1249, "my.agents:Mine": 0.3, "hsrl": 0.314})
    assert describe(belief, "RL4RS", label) == (
        "RL4RS: Kendall's tau 0.95 between the ranking of 3 methods by the learned user and by the true one; compared "
        "with the true user, the learned one pays SL -0.12, Mine +0.30, HSRL +0.31."
    )
    repeated = describe(Belief("HSRL-RL4RS-v0", 0.947, {"sl": 0.1, "hsrl": 0.2}, repeated=0.554), "RL4RS", label)
    assert "and by the true one (of the `eval` user with itself, seed against seed: 0.55); compared" in repeated
    learned_from = describe(Belief("HSRL-RL4RS-v0", 1.0, {"sl": 0.1, "hsrl": -0.5}, "train_user"), "RL4RS", label)
    assert learned_from == (
        "RL4RS: Kendall's tau 1.00 between the ranking of 2 methods by the `eval` user and by the `train` user that "
        "agents learned from; the true user is not known; compared with the `train` user, the `eval` user pays "
        "SL +0.10, HSRL -0.50."
    )
    alone = describe(Belief("HSRL-RL4RS-v0", None, {"sl": 0.5}), "RL4RS", label)
    assert alone == "RL4RS: compared with the true user, the learned one pays SL +0.50."
