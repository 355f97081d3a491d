"""AUC, log-loss and calibration of predicted clicks: by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hsrl_gym.data.log import InteractionLog
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.fidelity import evaluate_simulator, fidelity_of, predict_logits
from hsrl_gym.users.synthetic import SyntheticWorld


def logit(probability: Any) -> NDArray[np.float64]:
    return np.log(np.asarray(probability) / (1.0 - np.asarray(probability)))


def test_auc_with_ties() -> None:
    # Of the pairs of a click (0.4, 0.8) and none (0.1, 0.4): three in order, one tied.
    got = fidelity_of(logit([[0.1, 0.4], [0.4, 0.8]]), np.array([[0, 0], [1, 1]], dtype=np.uint8))
    assert got.auc == 3.5 / 4
    assert (got.n_slates, got.n_clicks) == (2, 2)


def test_auc_at_its_ends() -> None:
    scores = np.array([[-1.0, 0.0, 2.0]])
    assert fidelity_of(scores, np.array([[0, 0, 1]])).auc == 1.0
    assert fidelity_of(scores, np.array([[1, 0, 0]])).auc == 0.0
    assert fidelity_of(np.zeros((1, 3)), np.array([[1, 0, 1]])).auc == 0.5
    assert fidelity_of(scores, np.array([[1, 1, 1]])).auc == 0.5  # no pairs


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=20))
def test_auc_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    pairs = [1.0 if high > low else 0.5 if high == low else 0.0 for high in scores[labels] for low in scores[~labels]]
    expected = np.mean(pairs) if pairs else 0.5
    assert fidelity_of(scores[None].astype(float), labels[None].astype(np.uint8)).auc == pytest.approx(expected)


def test_log_loss() -> None:
    got = fidelity_of(logit([[0.75, 0.75, 0.5]]), np.array([[1, 0, 1]], dtype=np.uint8))
    assert got.log_loss == pytest.approx(-(np.log(0.75) + np.log(0.25) + np.log(0.5)) / 3)


def test_calibration_error_of_few_predictions() -> None:
    # Fewer than 20: each is a bin of its own. |0.2 - 0|, |0.4 - 1|, |0.9 - 1| in order of the prediction.
    got = fidelity_of(logit([[0.9, 0.2, 0.4]]), np.array([[1, 0, 1]], dtype=np.uint8))
    assert got.reliability == tuple((pytest.approx(p), y, 1) for p, y in [(0.2, 0.0), (0.4, 1.0), (0.9, 1.0)])
    assert got.ece == pytest.approx((0.2 + 0.6 + 0.1) / 3)


def test_calibration_error_of_equal_bins() -> None:
    # 20 bins of three: p - 0.01, p, p + 0.01 with one click each.
    middle = np.linspace(0.1, 0.86, 20)
    predictions = np.stack([middle - 0.01, middle, middle + 0.01], axis=1)
    clicks = np.zeros((20, 3), dtype=np.uint8)
    clicks[np.arange(20), np.arange(20) % 3] = 1
    shuffle = np.random.default_rng(0).permutation(60)
    got = fidelity_of(logit(predictions).ravel()[shuffle].reshape(20, 3), clicks.ravel()[shuffle].reshape(20, 3))
    assert [count for _, _, count in got.reliability] == [3] * 20
    np.testing.assert_allclose([p for p, _, _ in got.reliability], middle)
    np.testing.assert_allclose([y for _, y, _ in got.reliability], 1 / 3)
    assert got.ece == pytest.approx(np.abs(middle - 1 / 3).mean())


def test_errors_of_a_bin_cancel_those_of_bins_do_not() -> None:
    predictions, clicks = np.full((20, 2), 0.5), np.tile(np.array([[1, 0]], dtype=np.uint8), (20, 1))
    assert fidelity_of(logit(predictions), clicks).ece == pytest.approx(0.0)
    # The 20 lower ones were always clicked, the 20 higher ones never.
    predictions[:, 0], predictions[:, 1] = 0.4, 0.6
    assert fidelity_of(logit(predictions), clicks).ece == pytest.approx(0.6)


def test_extreme_logits_stay_finite() -> None:
    got = fidelity_of(np.array([[-1000.0, 1000.0, 1000.0]]), np.array([[0, 1, 0]], dtype=np.uint8))
    assert got.log_loss == pytest.approx(1000 / 3)
    assert got.ece == pytest.approx(1 / 3)


def test_fidelity_as_plain_numbers() -> None:
    got = fidelity_of(logit([[0.25, 0.75]]), np.array([[0, 1]], dtype=np.uint8)).to_dict()
    assert got["auc"] == 1.0
    assert got["reliability"] == [[0.25, 0.0, 1], [0.75, 1.0, 1]]
    assert list(got) == ["n_slates", "n_clicks", "auc", "log_loss", "ece", "reliability"]


def test_predictions_do_not_depend_on_the_batch(tiny_world: SyntheticWorld, tiny_log: InteractionLog) -> None:
    few = tiny_log.rows(slice(0, 100))
    whole = predict_logits(tiny_world, few)
    assert whole.shape == (100, 4)
    assert whole.dtype == np.float64
    np.testing.assert_allclose(predict_logits(tiny_world, few, batch=7), whole, atol=1e-5)


def test_a_user_is_measured_without_dropout(tiny_log: InteractionLog) -> None:
    features = torch.as_tensor(tiny_log.item_features)
    user = UserResponseModel(SimulatorConfig(60, features.shape[1], tiny_log.profile.shape[1]), features).train()
    assert evaluate_simulator(user, tiny_log) == evaluate_simulator(user.train(), tiny_log)
    assert not user.training
