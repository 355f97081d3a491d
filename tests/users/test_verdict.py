"""The verdict in words: its limits, and that it follows what is measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.bundle.simulators import responses_of
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.fidelity import ece_by_chance, fidelity_of
from hsrl_gym.users.verdict import Evidence, grade, verdict, weigh

GOOD = Evidence(auc=0.75, ece=0.01, flattery=-0.001, rare=0.0, slate_size=10, synthetic=False)


@pytest.mark.parametrize(
    ("measure", "value", "expected"),
    [
        ("auc", 0.70, "good"),
        ("auc", 0.69, "fair"),
        ("auc", 0.6, "fair"),
        ("auc", 0.5, "poor"),
        ("auc", float("nan"), "poor"),
        ("ece", 0.02, "good"),
        ("ece", 0.05, "fair"),
        ("ece", 0.06, "poor"),
        ("flattery", -0.3, "good"),
    ],
)
def test_grades(measure: str, value: float, expected: str) -> None:
    assert grade(measure, value) == expected


def test_five_sentences() -> None:
    said = verdict(GOOD)
    assert said[0].startswith("This user is good for ranking methods that differ clearly")
    assert said[1] == "It tells clicks from misses well: AUC 0.75 on slates it has not seen (good: 0.70 or more)."
    assert said[2].startswith("Its click probabilities can be taken at their word: off by 0.010 on average")
    assert "it expects 0.01 clicks of 10 fewer than the eval user (good: 0.20 more, or less)" in said[3]
    assert said[4].startswith("100% of the items were shown to it 30 times or more")
    assert len(said) == 5


def test_the_worst_measure_decides() -> None:
    assert "do not rank close ones by it" in verdict(replace(GOOD, ece=0.04))[0]
    poor = verdict(replace(GOOD, flattery=0.3, synthetic=True))
    assert poor[0].startswith("This synthetic user is good for running everything; do not believe a result of it.")
    assert poor[0].endswith("It says nothing of real users.")
    assert "It much overrates its favourites: on the slates it likes best it expects 3.00 clicks of 10 more" in poor[3]


def test_what_chance_gives_is_no_fault() -> None:
    """A perfectly calibrated user, on a small log: 20 bins of 24 impressions."""
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.2, 0.8, (80, 6))
    drawn = [fidelity_of(np.log(probability / (1 - probability)), rng.binomial(1, probability)) for _ in range(20)]
    mean = np.mean([one.ece for one in drawn])
    assert mean > 0.05  # poor, if chance were a fault
    assert ece_by_chance(drawn[0].reliability) == pytest.approx(mean, rel=0.1)
    said = verdict(replace(GOOD, ece=0.076, ece_by_chance=0.07))
    assert said[2] == (
        "Its click probabilities can be taken at their word: off by 0.076 on average (chance alone gives 0.070; good: "
        "0.02 more, or less)."
    )
    assert "good for ranking methods that differ clearly" in said[0]
    assert "cannot be taken" in verdict(replace(GOOD, ece=0.15, ece_by_chance=0.07))[2]
    assert "can be taken" in verdict(replace(GOOD, ece=0.05, ece_by_chance=0.07))[2]
    assert ece_by_chance([(0.5, 0.4, 100), (0.0, 0.0, 100)]) == pytest.approx(0.5 * np.sqrt(2 / np.pi * 0.25 / 100))
    assert ece_by_chance([]) == 0.0


def test_evidence_by_hand() -> None:
    """Item i has probability i / 10 by one user; the other gives 0.1 less to items 3 and 4."""
    by_train = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])
    by_eval = torch.tensor([0.0, 0.1, 0.2, 0.2, 0.3])
    slate = np.array([[1, 2], [1, 2], [1, 3]], np.int32)
    pool = LoggedSlates(np.zeros((3, 1), np.float32), np.zeros((3, 5), np.int32), slate, np.zeros((3, 2), np.uint8))
    evidence = weigh(
        {"train": {"auc": 0.8, "ece": 0.03, "reliability": [[0.5, 0.4, 50], [0.5, 0.6, 50]]}},
        {
            "train": lambda user, history, slate: by_train[slate],
            "eval": lambda user, history, slate: by_eval[slate],
        },
        {"train": pool, "eval": pool},
        n_items=4,
        n_train_slates=45,  # the pool is a fifteenth: items were shown 45, 30, 15 and 0 times
    )
    assert (evidence.auc, evidence.ece, evidence.rare, evidence.slate_size) == (0.8, 0.03, 0.5, 2)
    assert evidence.flattery == pytest.approx(0.1)
    assert evidence.ece_by_chance == pytest.approx(np.sqrt(2 / np.pi * 0.25 / 50))
    assert not evidence.synthetic


def test_a_bundle_is_weighed(tiny_bundle: Bundle) -> None:
    evidence = weigh(tiny_bundle.fidelity, responses_of(tiny_bundle), tiny_bundle.users, tiny_bundle.n_items, 1600)
    assert evidence.auc == tiny_bundle.fidelity["train"]["auc"]
    assert abs(evidence.flattery) < 0.5
    assert evidence.rare < 0.1
    assert len(verdict(evidence)) == 5
