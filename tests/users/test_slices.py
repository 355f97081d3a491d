"""Slices of the logged impressions: who is in which, and what is said of them, counted by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.bundle.simulators import responses_of
from hsrl_gym.data.log import InteractionLog, LoggedSlates
from hsrl_gym.terminal import print_fidelity
from hsrl_gym.users.fidelity import predict_logits
from hsrl_gym.users.slices import Slice, popularity_groups, predict, score_slices, score_users
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld

POPULARITY = np.array([-1, *(item // 6 for item in range(60))])  # groups of six items by id


@pytest.fixture
def predicted(tiny_bundle: Bundle) -> dict[str, NDArray[np.float64]]:
    return predict(responses_of(tiny_bundle), tiny_bundle.users["eval"])


def of_kind(slices: list[Slice], kind: str) -> dict[str, Slice]:
    return {part.name: part for part in slices if part.kind == kind}


def pool(history_lengths: list[int], slate: list[list[int]], clicks: list[list[int]]) -> LoggedSlates:
    history = np.zeros((len(slate), 50), dtype=np.int32)
    for row, length in enumerate(history_lengths):
        history[row, 50 - length :] = 1
    n = len(slate)
    return LoggedSlates(np.zeros((n, 6), np.float32), history, np.array(slate, np.int32), np.array(clicks, np.uint8))


def test_predictions_are_those_of_the_users_on_the_eval_pool(
    tiny_bundle: Bundle, tiny_log: InteractionLog, predicted: dict[str, NDArray[np.float64]]
) -> None:
    users = tiny_bundle.users["eval"]
    assert list(predicted) == ["train", "eval"]  # nobody in the package knows the world "tiny"
    log = replace(tiny_log.split_by_time(0.8)[1], profile=users.profile)
    for name, model in tiny_bundle.simulators.items():
        np.testing.assert_allclose(predicted[name], expit(predict_logits(model, log)), atol=1e-5)
    scores = score_users(tiny_bundle.users["eval"].clicks, predicted)
    for name, fidelity in tiny_bundle.fidelity.items():  # measured when it was built, on the same 400 rows
        got = scores[name]
        assert (got.auc, got.log_loss, got.ece) == pytest.approx(
            (fidelity["auc"], fidelity["log_loss"], fidelity["ece"]), abs=1e-4
        )
        assert got.error is None


def test_the_true_user_stands_beside_them(
    tiny_bundle: Bundle, tiny_world: SyntheticWorld, tiny_log: InteractionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)
    predicted = predict(responses_of(tiny_bundle), tiny_bundle.users["eval"])
    assert list(predicted) == ["train", "eval", "true"]
    true = expit(predict_logits(tiny_world, tiny_log.split_by_time(0.8)[1]))
    np.testing.assert_allclose(predicted["true"], true, atol=1e-6)
    scores = score_users(tiny_bundle.users["eval"].clicks, predicted)
    assert scores["true"].error == 0.0
    assert scores["true"].log_loss < scores["eval"].log_loss
    for name in ("train", "eval"):
        assert scores[name].error == pytest.approx(np.abs(predicted[name] - true).mean(), abs=1e-6)


def test_slices_by_hand() -> None:
    users = pool([0, 3, 5, 6, 50], [[1, 2], [3, 4], [1, 3], [2, 4], [1, 4]], [[1, 0], [1, 1], [0, 0], [1, 0], [0, 1]])
    said = {"eval": np.array([[0.9, 0.2], [0.8, 0.6], [0.5, 0.4], [0.3, 0.7], [0.1, 0.95]])}
    slices = score_slices(users, POPULARITY, said)
    slots = of_kind(slices, "slot")
    assert {name: (part.n, part.observed) for name, part in slots.items()} == {"1": (5, 0.6), "2": (5, 0.4)}
    assert slots["1"].scores["eval"].predicted == pytest.approx(0.52)
    # Clicked 0.9, 0.8, 0.3; not 0.5, 0.1: 5 of 6 pairs in order.
    assert slots["1"].scores["eval"].auc == pytest.approx(5 / 6)
    loss = -np.log([0.9, 0.8, 0.5, 0.3, 0.9]).mean()
    assert slots["1"].scores["eval"].log_loss == pytest.approx(loss)
    lengths = of_kind(slices, "history")
    assert {name: (part.n, part.observed) for name, part in lengths.items()} == {
        "0": (2, 0.5),
        "1-5": (4, 0.5),
        "6-10": (2, 0.5),
        "36-50": (2, 0.5),  # what nobody has, 11-20 and 21-35, is left out
    }
    assert lengths["1-5"].scores["eval"].predicted == pytest.approx(0.575)
    for kind in ("slot", "popularity", "history"):
        assert sum(part.n for part in slices if part.kind == kind) == 10  # every impression in one slice of each kind


def test_without_clicks_or_misses_there_is_no_auc(capsys: pytest.CaptureFixture[str]) -> None:
    users = pool([0, 3], [[1, 2], [3, 4]], [[1, 0], [1, 1]])
    said = {"eval": np.array([[0.9, 0.2], [0.8, 0.6]])}
    slices = score_slices(users, POPULARITY, said)
    slots = of_kind(slices, "slot")
    assert np.isnan(slots["1"].scores["eval"].auc)  # clicked alone
    assert slots["2"].scores["eval"].auc == 1.0
    print_fidelity(slices, score_users(users.clicks, said))
    first = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("│ 1 "))
    assert [cell.strip() for cell in first.split("│")][3:5] == ["1.000", "-"]


def test_popularity_goes_by_impressions_of_the_train_pool(
    tiny_bundle: Bundle, predicted: dict[str, NDArray[np.float64]]
) -> None:
    shown = Counter(tiny_bundle.users["train"].slate.ravel().tolist())
    group = popularity_groups(tiny_bundle.users["train"].slate, 60)
    assert group[0] == -1
    assert Counter(group[1:].tolist()) == dict.fromkeys(range(10), 6)  # 60 items
    counts = np.array([shown[item] for item in range(61)])
    for number in range(9):
        assert counts[group == number].max() <= counts[group == number + 1].min()
    slices = of_kind(score_slices(tiny_bundle.users["eval"], group, predicted), "popularity")
    slate, clicks = tiny_bundle.users["eval"].slate, tiny_bundle.users["eval"].clicks
    most = np.isin(slate, np.flatnonzero(group == 9))
    assert (slices["10"].n, slices["10"].observed) == (most.sum(), pytest.approx(clicks[most].mean()))


def test_items_shown_equally_often_go_by_id() -> None:
    users = pool([0], [[4, 5]], [[0, 1]])
    group = popularity_groups(users.slate, 60)
    rest = [item for item in range(1, 61) if item not in (4, 5)]
    assert group[[*rest, 4, 5]].tolist() == [place // 6 for place in range(60)]


def test_certainty_is_no_error() -> None:
    users = pool([0, 1], [[1, 2], [3, 4]], [[1, 0], [1, 1]])
    certain: dict[str, Any] = {"eval": np.array([[1.0, 0.0], [1.0, 1.0]])}
    assert all(np.isfinite(part.scores["eval"].log_loss) for part in score_slices(users, POPULARITY, certain))
    assert score_users(users.clicks, certain)["eval"].log_loss < 1e-6
