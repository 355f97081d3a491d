"""Fitting the user: against a known world, and on logs."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from hsrl_gym.data.log import InteractionLog
from hsrl_gym.data.rl4rs import load_rl4rs
from hsrl_gym.envs.synthetic_log import write_log
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import fit_codebook
from hsrl_gym.users import fit as train_simulator
from hsrl_gym.users.click_model import UserResponseModel
from hsrl_gym.users.fidelity import evaluate_simulator, fidelity_of, predict_logits
from hsrl_gym.users.fit import FitSettings, fit_simulator
from hsrl_gym.users.profile import fit_profile_encoder
from hsrl_gym.users.synthetic import SyntheticWorld

SEMIREAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "rl4rs-semireal"
QUICK = FitSettings(
    batch_size=128, learning_rate=5e-3, weight_decay=1e-2, max_epochs=5, min_steps=1, patience=3, holdout=0.1
)


def quick_fit(log: InteractionLog, seed: int = 0, **changes: Any) -> UserResponseModel:
    return fit_simulator(log, width=8, settings=replace(QUICK, **changes), seed=seed, progress=False)


def logit(probability: Any) -> NDArray[np.float64]:
    return np.log(np.asarray(probability) / (1.0 - np.asarray(probability)))


def saturated(probability: NDArray[np.float64]) -> float:
    """Return the share of predictions within 0.02 of 0 or 1."""
    return float(((probability < 0.02) | (probability > 0.98)).mean())


# --- fitting


def test_the_seed_decides_the_weights(tiny_log: InteractionLog) -> None:
    few = tiny_log.rows(slice(0, 400))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = quick_fit(few, seed=3, max_epochs=2)
    assert torch.equal(torch.get_rng_state(), state)  # the caller's generator is left alone
    torch.manual_seed(1)
    same, other = quick_fit(few, seed=3, max_epochs=2), quick_fit(few, seed=4, max_epochs=2)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name]), name
    assert not torch.equal(one.item_map.weight, other.item_map.weight)


def test_it_comes_back_ready_for_use(tiny_log: InteractionLog) -> None:
    user = quick_fit(tiny_log.rows(slice(0, 200)), max_epochs=1)
    assert not user.training
    assert not any(weight.requires_grad for weight in user.parameters())
    assert (user.config.n_items, user.config.width, user.config.history_length) == (60, 8, 50)
    np.testing.assert_array_equal(user.get_buffer("item_features").numpy(), tiny_log.item_features)


def scripted(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> list[dict[str, Tensor]]:
    """Let the held-out losses be these; return the list that the weights of each epoch are put into."""
    seen: list[dict[str, Tensor]] = []

    def held_out_loss(model: UserResponseModel, log: InteractionLog) -> float:
        seen.append({name: weight.clone() for name, weight in model.state_dict().items()})
        return losses[len(seen) - 1]

    monkeypatch.setattr(train_simulator, "_log_loss", held_out_loss)
    return seen


@pytest.mark.parametrize(
    ("losses", "n_epochs", "best"),
    [
        ([0.7, 0.5, 0.6, 0.55, 0.52, 0.1], 5, 1),  # three epochs without a better one
        ([0.7, 0.5, 0.6, 0.4, 0.6, 0.6], 6, 3),  # a better one starts the count again; then the epochs are over
        ([0.7, 0.7 - 1e-6, 0.7, 0.7, 0.1, 0.1], 4, 0),  # too little better to count
        ([0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 6, 5),
    ],
)
def test_early_stopping_keeps_the_best_weights(
    tiny_log: InteractionLog, monkeypatch: pytest.MonkeyPatch, losses: list[float], n_epochs: int, best: int
) -> None:
    seen = scripted(monkeypatch, losses)
    user = quick_fit(tiny_log.rows(slice(0, 100)), max_epochs=6, patience=3)
    assert len(seen) == n_epochs
    for name, weight in user.state_dict().items():
        assert torch.equal(weight, seen[best][name]), name
    others = [index for index in range(n_epochs) if index != best]
    assert all(not torch.equal(user.item_map.weight, seen[index]["item_map.weight"]) for index in others)


def test_the_loss_that_is_printed_is_that_of_the_weights_kept(
    tiny_log: InteractionLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(monkeypatch, [0.7, 0.5, 0.6])
    few = tiny_log.rows(slice(0, 100))
    fit_simulator(few, width=8, settings=replace(QUICK, max_epochs=3))
    assert capsys.readouterr().err.endswith(", held_out=0.5000\n")
    monkeypatch.setattr("hsrl_gym.users.large.LARGE_FROM", 1)  # then items have weights of their own
    scripted(monkeypatch, [0.7, 0.5, 0.6, 0.45, 0.4, 0.48])
    fit_simulator(few, width=8, settings=replace(QUICK, max_epochs=3))
    assert capsys.readouterr().err.endswith(", held_out=0.4000\n")


def test_the_latest_rows_decide_when_to_stop_and_are_not_fitted_to(
    tiny_log: InteractionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs: dict[str, InteractionLog] = {}
    tensors = InteractionLog.tensors

    def held_out_loss(model: UserResponseModel, log: InteractionLog) -> float:
        logs["held out"] = log
        return 0.5

    def fitted_columns(log: InteractionLog, device: torch.device) -> Any:
        logs["fitted"] = log
        return tensors(log, device)

    monkeypatch.setattr(train_simulator, "_log_loss", held_out_loss)
    monkeypatch.setattr(InteractionLog, "tensors", fitted_columns)
    quick_fit(tiny_log.rows(slice(0, 200)), max_epochs=1, holdout=0.25)
    assert logs["fitted"].time.tolist() == list(range(150))
    assert logs["held out"].time.tolist() == list(range(150, 200))


@pytest.mark.parametrize(("min_steps", "n_steps"), [(1, 3), (3, 3), (7, 7)])
def test_an_epoch_is_a_pass_or_so_many_steps(
    tiny_log: InteractionLog, monkeypatch: pytest.MonkeyPatch, min_steps: int, n_steps: int
) -> None:
    seen: list[list[float]] = []

    class Recorder(UserResponseModel):
        def forward(self, profile: Tensor, *rest: Any, **settings: Any) -> Tensor:
            seen.append(profile[:, 0].tolist())
            return super().forward(profile, *rest, **settings)

    monkeypatch.setattr(train_simulator, "UserResponseModel", Recorder)
    monkeypatch.setattr(train_simulator, "_log_loss", lambda model, log: 0.5)
    numbered = replace(tiny_log.rows(slice(0, 100)), profile=np.arange(100, dtype=np.float32)[:, None])
    quick_fit(numbered, batch_size=32, min_steps=min_steps, max_epochs=2, holdout=0.2)
    assert len(seen) == 2 * n_steps
    for first in range(0, len(seen) - 2, 3):  # whole passes, whatever the epoch: each row once, in a new order
        rows = list(chain(*seen[first : first + 3]))
        assert sorted(rows) == list(range(80))
        assert rows != sorted(rows)
    assert seen[0] != seen[3]


@pytest.mark.parametrize("click", [0, 1])
def test_a_log_with_one_kind_of_answer_is_refused(tiny_log: InteractionLog, click: int) -> None:
    one_kind = replace(tiny_log, clicks=np.full_like(tiny_log.clicks, click))
    with pytest.raises(HsrlError, match=f"every click is {click}, expected both 0 and 1"):
        fit_simulator(one_kind, progress=False)


def test_settings_as_plain_numbers() -> None:
    assert FitSettings(**QUICK.to_dict()) == QUICK  # type: ignore[arg-type]


def test_a_fitted_user_comes_near_the_known_one(tiny_world: SyntheticWorld) -> None:
    log = write_log(tiny_world, 6_000, personal=0.0)
    train, test = log.split_by_time(0.8)
    known = evaluate_simulator(tiny_world, test)
    shown, clicked = (
        np.bincount(train.slate.ravel(), weights=weights, minlength=61) for weights in (None, train.clicks.ravel())
    )
    item_mean = fidelity_of(logit((clicked + 1) / (shown + 2))[test.slate], test.clicks)
    fitted = evaluate_simulator(fit_simulator(train, 16, QUICK, progress=False), test)
    assert known.log_loss < fitted.log_loss < known.log_loss + 0.06
    assert fitted.log_loss < item_mean.log_loss - 0.2
    assert item_mean.auc + 0.2 < fitted.auc < known.auc
    assert fitted.ece < 0.05
    assert known.ece < 0.03


class ProbabilitiesForLogits(UserResponseModel):
    """The reference code's bug: a sigmoid at the end, and binary cross-entropy *with logits* on top."""

    def forward(self, *shown: Any, **settings: Any) -> Tensor:
        return torch.sigmoid(super().forward(*shown, **settings))


def test_it_learns_from_logits_and_does_not_saturate(
    tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user whose clicks are seldom sure; taught by probabilities, the model makes half of them so."""
    mild = replace(tiny_world.config, base=-0.3, taste=0.7, quality=0.5, weariness=1.0, satiation=2.0)
    world = SyntheticWorld(mild)
    train, test = write_log(world, 2_000, personal=0.0).split_by_time(0.8)
    assert saturated(expit(predict_logits(world, test))) < 0.01
    ours = expit(predict_logits(quick_fit(train, batch_size=64), test))
    monkeypatch.setattr(train_simulator, "UserResponseModel", ProbabilitiesForLogits)
    theirs = predict_logits(quick_fit(train, batch_size=64), test)  # probabilities already
    assert 0.0 <= theirs.min() < theirs.max() <= 1.0
    assert saturated(ours) < 0.01
    assert saturated(theirs) > 0.3
    rate = test.clicks.mean()
    assert abs(ours.mean() - rate) < 0.05 < abs(theirs.mean() - rate)


@pytest.mark.skipif(not (SEMIREAL / "train.csv").is_file(), reason=f"the semi-real RL4RS log is not at {SEMIREAL}")
@pytest.mark.skipif(os.environ.get("HSRL_SLOW_TESTS") != "1", reason="takes minutes; set HSRL_SLOW_TESTS=1 to run it")
def test_the_default_fit_is_as_good_as_can_be_on_semireal_rl4rs() -> None:
    """A perfect model of this user has AUC 0.7349 and log-loss 0.5070 on the latest rows."""
    log = load_rl4rs(SEMIREAL)
    train, _ = log.split_by_time(0.8)
    encode = fit_profile_encoder(train.profile, log.n_categorical)
    features = fit_codebook(log.item_features).features
    encoded = replace(log, profile=encode(log.profile), item_features=features, n_categorical=0)
    train, test = encoded.split_by_time(0.8)
    got = evaluate_simulator(fit_simulator(train, progress=False), test)
    assert got.auc == pytest.approx(0.7349, abs=0.003)
    assert got.log_loss == pytest.approx(0.5070, abs=0.004)
    assert got.ece <= 0.015


def test_small_logs_spend_no_time_on_padding(tiny_log: InteractionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users with short histories go together, up to the number of slates that makes a log small."""
    seen: list[bool] = []

    class Recorder(UserResponseModel):
        def forward(self, *shown: Any, grouped: bool = False, **settings: Any) -> Tensor:
            seen.append(grouped and self.training)
            return super().forward(*shown, grouped=grouped, **settings)

    monkeypatch.setattr(train_simulator, "UserResponseModel", Recorder)
    rows = tiny_log.rows(slice(0, 100))
    quick_fit(rows, min_steps=1, max_epochs=1)
    monkeypatch.setattr("hsrl_gym.users.small.SMALL_LOG", 100)
    quick_fit(rows, min_steps=1, max_epochs=1)
    assert seen == [True, False, False, False]  # a step and the held-out loss, twice
