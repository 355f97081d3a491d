"""What results say together, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_results import make_result, score

from hsrl_agent.evaluation.statistics import Interval
from hsrl_agent.evaluation.summary import Belief, believe, by_line, summarise

HSRL = [make_result("hsrl", seed, reward) for seed, reward in enumerate((10.0, 12.0, 11.0))]
A2C = [make_result("a2c", seed, reward) for seed, reward in enumerate((9.0, 13.0))]
RANDOM = [make_result("random", 5, 2.0)]


def test_summary_by_hand() -> None:
    summaries = summarise([*A2C, *HSRL, *RANDOM])
    assert [one.line for one in summaries] == ["random", "a2c", "hsrl"]  # in the order of the records
    assert [one.label for one in summaries] == ["Random", "A2C", "HSRL"]
    random, a2c, hsrl = summaries
    assert (a2c.task, a2c.seeds, a2c.method.name) == ("ML1M", (0, 1), "a2c")
    assert a2c.total_reward == Interval(11.0, 9.0, 13.0)
    assert a2c.depth == Interval(12.0, 10.0, 14.0)
    assert (a2c.click_rate, a2c.train_seconds) == (0.5, 2.0)
    assert hsrl.total_reward.mean == 11.0
    assert hsrl.reward_to_reference is None
    # Seed 0: 9 - 10, seed 1: 13 - 12; HSRL's seed 2 has no partner.
    assert a2c.reward_to_reference == a2c.depth_to_reference == Interval(0.0, -1.0, 1.0)
    assert random.reward_to_reference is None  # no seed in common
    # HSRL 10, 12, 11 against A2C 9, 13: 3 of 6 pairs. One run of random gives no probability, nor does HSRL itself.
    assert (random.reference_better, a2c.reference_better, hsrl.reference_better) == (None, 0.5, None)
    assert summarise(A2C)[0].reference_better is None


def test_pairing_takes_out_what_the_seeds_share() -> None:
    """Rewards vary by 10 over the seeds, differences by 0.1: the paired interval is as narrow as the latter."""
    hsrl = [make_result("hsrl", seed, 10.0 * seed) for seed in range(4)]
    a2c = [make_result("a2c", seed, 10.0 * seed - 1.0 + 0.1 * (seed % 2)) for seed in (3, 2, 1, 0)]
    found = summarise([*hsrl, *a2c])[0].reward_to_reference
    assert found is not None
    assert found.mean == pytest.approx(-0.95)
    assert found.low is not None
    assert found.high is not None
    assert -1.0 - 1e-9 <= found.low < found.high <= -0.9 + 1e-9


def test_true_user_in_summaries() -> None:
    results = [
        *(make_result("a2c", seed, 5.0, true=true) for seed, true in enumerate((9.0, 10.0))),
        make_result("hsrl", 0, 10.0, true=7.0),
        make_result("hsrl", 1, 10.0),
        make_result("random", 0, 2.0),
    ]
    random, a2c, hsrl = summarise(results)
    assert random.true_reward is None  # nobody asked the true user
    assert a2c.true_reward == Interval(9.5, 9.0, 10.0)
    assert hsrl.true_reward == Interval(7.0, None, None)  # of the seeds that have it
    assert a2c.true_to_reference == Interval(2.0, None, None)


def test_variants_come_after_hsrl_as_they_come() -> None:
    results = [
        make_result("hsrl", 0, 1.0, variant="w/o entropy"),
        make_result("hsrl", 0, 2.0, variant="at 16"),
        make_result("hsrl", 0, 3.0),
        make_result("a.module:Mine", 0, 4.0),
        make_result("hsrl", 0, 3.0, task="RL4RS"),
    ]
    lines = by_line(results)
    assert {task: list(own) for task, own in lines.items()} == {
        "ML1M": ["hsrl", "a.module:Mine", "w/o entropy", "at 16"],
        "RL4RS": ["hsrl"],
    }
    summaries = summarise(results)
    assert [one.label for one in summaries] == ["HSRL", "Mine", "w/o entropy", "at 16", "HSRL"]
    assert summaries[2].method.name == "hsrl"
    assert summaries[2].reward_to_reference == Interval(-2.0, None, None)


def test_tau_counts_pairs_in_the_same_order() -> None:
    # Ranked 1 2 3 4 by the learned user, 1 3 2 4 by the true one: 5 pairs agree, 1 does not.
    pairs = {"random": (1.0, 1.0), "a2c": (3.0, 2.0), "sl": (2.0, 3.0), "hsrl": (4.0, 4.5)}
    (belief,) = believe([make_result(name, 0, learned, true=true) for name, (learned, true) in pairs.items()])
    assert belief.tau == pytest.approx(4 / 6)
    reversed_pairs = {"sl": (1.0, 3.0), "a2c": (2.0, 2.0), "hsrl": (3.0, 1.0)}
    (reverse,) = believe([make_result(name, 0, one, true=other) for name, (one, other) in reversed_pairs.items()])
    assert reverse.tau == -1.0


def test_means_over_seeds_are_ranked() -> None:
    """Single runs of the two methods lie across each other, their means do not."""
    results = [
        make_result(name, seed, learned, true=true)
        for seed, runs in enumerate([(("sl", 1.0, 9.0), ("hsrl", 4.0, 4.0)), (("sl", 5.0, 1.0), ("hsrl", 4.0, 8.0))])
        for name, learned, true in runs
    ]
    (belief,) = believe(results)
    assert belief.repeated == -1.0
    third = [make_result("sl", 2, 2.0, true=1.0), make_result("hsrl", 2, 3.0, true=1.0)]
    (longer,) = believe([*results, *third, make_result("a2c", 7, 9.0, true=9.0)])
    assert longer.repeated == pytest.approx((-1.0 + 1.0 - 1.0) / 3)  # seeds 0 and 2 agree; seed 7 has one method alone
    assert belief.tau == 1.0


def test_runs_that_nobody_could_check_do_not_count() -> None:
    unchecked = [make_result("sl", 1, 100.0), make_result("a2c", 0, 3.0), make_result("sl", 0, 1.0, task="real")]
    (belief,) = believe([make_result("sl", 0, 1.0, true=2.0), *unchecked])
    assert belief == Belief("ML1M", None)  # one method has no ranking
    (tied,) = believe([make_result("sl", 0, 1.0, true=2.0), make_result("a2c", 0, 1.0, true=3.0)])
    assert tied.tau is None  # nor has a tie


def test_the_user_that_was_learned_from_is_another_judge() -> None:
    results = [
        replace(make_result(name, 0, reward), train_score=score(2.0 * reward))
        for name, reward in (("sl", 1.0), ("hsrl", 2.0))
    ]
    assert believe(results) == [Belief("ML1M", 1.0, "train_user")]
