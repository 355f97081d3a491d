"""From a log to a bundle: what is fitted to which rows. The fit itself is replaced; `test_train_simulator` has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_gym.bundle import build
from hsrl_gym.bundle.build import build_bundle, with_codebook
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.behaviour import behaviour_vectors
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.fidelity import evaluate_simulator
from hsrl_gym.users.fit import FitSettings

Build = Callable[..., tuple[Bundle, list[dict[str, Any]]]]


@pytest.fixture
def build_only(tiny_log: InteractionLog, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return a build with users of random weights, and how they were asked for."""
    calls: list[dict[str, Any]] = []

    def untrained(
        log: InteractionLog,
        width: int,
        settings: FitSettings,
        seed: int,
        device: str,
        progress: bool,
        description: str,
    ) -> UserResponseModel:
        calls.append({"log": log, "width": width, "settings": settings, "seed": seed, "description": description})
        config = SimulatorConfig(log.n_items, log.item_features.shape[1], log.profile.shape[1], width=width)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return UserResponseModel(config, torch.as_tensor(log.item_features)).eval()

    def run(log: InteractionLog = tiny_log, **settings: Any) -> tuple[Bundle, list[dict[str, Any]]]:
        calls.clear()
        return build_bundle(log, **{"vocabulary": 8, "progress": False, **settings}), list(calls)

    monkeypatch.setattr(build, "fit_simulator", untrained)
    return run


def test_the_train_user_sees_the_earliest_rows_the_eval_user_all(tiny_log: InteractionLog, build_only: Build) -> None:
    settings = FitSettings(max_epochs=5)
    bundle, (train, score) = build_only(seed=7, width=12, settings=settings)
    assert train["log"].time.tolist() == list(range(1_600))
    assert score["log"].time.tolist() == list(range(2_000))
    assert (train["seed"], score["seed"]) == (7, 8)
    assert (train["description"], score["description"]) == ("train user", "eval user")
    assert train["settings"] is score["settings"] is settings
    assert [bundle.simulators[name].config.width for name in ("train", "eval")] == [12, 12]
    for call in (train, score):
        np.testing.assert_array_equal(call["log"].item_features, bundle.codebook.features)
        np.testing.assert_array_equal(call["log"].slate, tiny_log.slate[: len(call["log"])])


def test_pools_are_of_the_earliest_and_the_latest_rows(tiny_log: InteractionLog, build_only: Build) -> None:
    bundle, _ = build_only()
    encoded = bundle.profile_encoder(tiny_log.profile)
    for name, rows in (("train", slice(0, 1_600)), ("eval", slice(1_600, 2_000))):
        users = bundle.users[name]
        for column in ("history", "slate", "clicks"):
            np.testing.assert_array_equal(getattr(users, column), getattr(tiny_log, column)[rows])
        np.testing.assert_array_equal(users.profile, encoded[rows])


def test_small_pools_are_spread_over_time(tiny_log: InteractionLog, build_only: Build) -> None:
    bundle, _ = build_only(pool_rows=5)
    rows = [0, 400, 800, 1_199, 1_599]  # quarters of 1,599 to the nearest row
    np.testing.assert_array_equal(bundle.users["train"].slate, tiny_log.slate[rows])
    assert len(bundle.users["eval"]) == 5
    for users in bundle.users.values():
        assert users.row is not None
        np.testing.assert_array_equal(users.slate, tiny_log.slate[users.row])
    assert bundle.provenance["pool_rows"] == 5


def test_encoder_and_priorities_know_nothing_of_the_latest_rows(tiny_log: InteractionLog, build_only: Build) -> None:
    later = np.arange(2_000) >= 1_600
    changed = replace(
        tiny_log,
        profile=np.where(later[:, None], 100.0, tiny_log.profile).astype(np.float32),
        clicks=np.where(later[:, None], 1 - tiny_log.clicks, tiny_log.clicks).astype(np.uint8),
    )
    (bundle, _), (other, _) = build_only(), build_only(changed)
    assert bundle.profile_encoder == other.profile_encoder
    np.testing.assert_allclose(bundle.profile_encoder.mean, tiny_log.profile[:1_600].mean(0), atol=1e-6)
    np.testing.assert_array_equal(bundle.codebook.priority, other.codebook.priority)
    counts = [int(tiny_log.clicks[:1_600][tiny_log.slate[:1_600] == item].sum()) for item in range(61)]
    assert bundle.codebook.priority.tolist() == counts


def test_fidelity_is_measured_on_the_latest_rows(build_only: Build) -> None:
    bundle, (_, score) = build_only()
    _, test = score["log"].split_by_time(0.8)
    for name, seen in (("train", False), ("eval", True)):
        got = dict(bundle.fidelity[name])
        assert (got.pop("scored_on"), got.pop("seen_in_fit")) == ("the latest 20% of the log", seen)
        assert got == evaluate_simulator(bundle.simulators[name], test).to_dict()
        assert got["n_slates"] == 400


def test_categories_are_encoded_once(tiny_log: InteractionLog, build_only: Build) -> None:
    code = (np.arange(2_000) % 3)[:, None]
    log = replace(tiny_log, profile=np.hstack([code, tiny_log.profile]).astype(np.float32), n_categorical=1)
    bundle, (train, _) = build_only(log)
    assert bundle.users["train"].profile.shape == (1_600, 3 + 6)
    assert bundle.users["train"].profile[:4, :3].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert train["log"].n_categorical == 0
    assert bundle.simulators["train"].config.n_profile == 9


def test_codebook_settings(build_only: Build) -> None:
    bundle, _ = build_only(n_levels=2, vocabulary=(4, 16))
    assert bundle.codebook.vocabulary == (4, 16)
    assert bundle.provenance["n_levels"] == 2
    assert bundle.provenance["vocabulary"] == [4, 16]
    assert build_only(seed=1)[0].codebook.codes.tolist() != build_only(seed=2)[0].codebook.codes.tolist()


def test_provenance(tiny_log: InteractionLog, build_only: Build) -> None:
    settings = FitSettings(max_epochs=5)
    bundle, _ = build_only(seed=3, width=24, settings=settings)
    expected = {
        "n_logged_slates": 2_000,
        "click_rate": round(float(tiny_log.clicks.mean()), 6),
        "split": "by time, 80% train",
        "n_levels": 3,
        "vocabulary": [8, 8, 8],
        "seed": 3,
        "width": 24,
        "fit": settings.to_dict(),
        "pool_rows": 20_000,
    }
    assert {name: bundle.provenance[name] for name in expected} == expected
    assert bundle.provenance["versions"]["torch"] == torch.__version__
    assert bundle.provenance["versions"]["numpy"] == np.__version__
    assert (bundle.name, bundle.source) == ("tiny", "SyntheticWorld('tiny', seed=0)")
    assert bundle.item_labels == tiny_log.item_labels


def test_the_same_seed_builds_the_same_bundle(tiny_log: InteractionLog) -> None:
    """With the true fit, for once."""
    settings = FitSettings(batch_size=128, max_epochs=1, min_steps=1)
    few = tiny_log.rows(slice(0, 300))
    one, same = (build_bundle(few, vocabulary=8, width=8, seed=5, settings=settings, progress=False) for _ in range(2))
    assert one.fidelity == same.fidelity
    assert one.codebook.codes.tolist() == same.codebook.codes.tolist()
    for name in ("train", "eval"):
        for key, weight in one.simulators[name].state_dict().items():
            assert torch.equal(weight, same.simulators[name].state_dict()[key]), key


def test_a_log_without_misses_is_refused(tiny_log: InteractionLog) -> None:
    with pytest.raises(HsrlError, match="every click is 1, expected both 0 and 1"):
        build_bundle(replace(tiny_log, clicks=np.ones_like(tiny_log.clicks)), vocabulary=8, progress=False)


def test_a_log_too_short_to_be_split_is_refused(tiny_log: InteractionLog) -> None:
    with pytest.raises(HsrlError, match=r"1 rows cannot be split at 0\.8"):
        build_bundle(tiny_log.rows(slice(0, 1)), vocabulary=8, progress=False)


def test_the_codebook_is_made_of_behaviour_unless_told_otherwise(build_only: Build) -> None:
    bundle, _ = build_only()
    assert bundle.provenance["codebook"] == "behaviour"
    users = bundle.users["train"]
    np.testing.assert_array_equal(bundle.codebook.vectors, behaviour_vectors(bundle.simulators["train"], users))
    plain, _ = build_only(codebook="features")
    np.testing.assert_array_equal(plain.codebook.vectors, plain.codebook.features)
    assert not np.array_equal(bundle.codebook.codes, plain.codebook.codes)
    with pytest.raises(HsrlError, match=r"unknown codebook 'feature'; did you mean features"):
        build_only(codebook="feature")


def test_other_semantic_ids_for_the_same_users(build_only: Build) -> None:
    """As if it had been built so, and the users as they were."""
    bundle, _ = build_only()
    other, _ = build_only(codebook="features", n_levels=2, vocabulary=16)
    changed = with_codebook(bundle, 2, 16, codebook="features")
    np.testing.assert_array_equal(changed.codebook.codes, other.codebook.codes)
    assert {name: changed.provenance[name] for name in ("codebook", "vocabulary", "n_levels")} == {
        "codebook": "features",
        "vocabulary": [16, 16],
        "n_levels": 2,
    }
    assert changed.simulators is bundle.simulators
    np.testing.assert_array_equal(changed.codebook.features, bundle.codebook.features)
    again = with_codebook(changed, 3, 8)
    np.testing.assert_array_equal(again.codebook.codes, bundle.codebook.codes)
    np.testing.assert_array_equal(again.codebook.vectors, bundle.codebook.vectors)
