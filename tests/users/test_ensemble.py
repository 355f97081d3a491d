"""Several fits as one user: the mean of what they say, in every way in which a user is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hsrl_gym.bundle.build import build_bundle
from hsrl_gym.bundle.folder import load_bundle, save_bundle
from hsrl_gym.cli import main
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.ensemble import UserEnsemble, as_one, ensemble_size_of
from hsrl_gym.users.fit import FitSettings

CONFIG = SimulatorConfig(n_items=12, n_item_features=3, n_profile=2, history_length=5, width=4, n_topics=2)
PROFILE = torch.tensor([[0.3, -1.0], [1.0, 0.2], [-0.5, 0.5]])
HISTORY = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 4, 9, 1], [12, 3, 3, 7, 2]])
SLATE = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])


def a_user(seed: int) -> UserResponseModel:
    torch.manual_seed(seed)
    user = UserResponseModel(CONFIG, torch.randn(13, 3))
    with torch.no_grad():
        user.item_free.weight.normal_()
    return user.eval().requires_grad_(False)


@pytest.fixture
def members() -> list[UserResponseModel]:
    return [a_user(seed) for seed in range(3)]


def test_its_probability_is_the_mean_of_its_members(members: list[UserResponseModel]) -> None:
    expected = torch.stack([torch.sigmoid(user(PROFILE, HISTORY, SLATE)) for user in members]).mean(0)
    ensemble = UserEnsemble(members)
    torch.testing.assert_close(torch.sigmoid(ensemble(PROFILE, HISTORY, SLATE)), expected)
    prepared = ensemble.prepared(PROFILE)
    torch.testing.assert_close(prepared(torch.arange(3), HISTORY, SLATE), expected)
    appeal = torch.stack([user.appeal(PROFILE, HISTORY, SLATE) for user in members]).mean(0)
    torch.testing.assert_close(ensemble.appeal(PROFILE, HISTORY, SLATE), appeal)


def test_one_member_is_itself(members: list[UserResponseModel]) -> None:
    assert as_one(members[:1]) is members[0]
    assert [ensemble_size_of(as_one(members[:count])) for count in (1, 2, 3)] == [1, 2, 3]


def test_a_bundle_of_ensembles_is_kept_whole(tiny_log: InteractionLog, tmp_path: Path) -> None:
    """Users of two different fits each, the same after a journey over the disk; none of the four fits is another's."""
    bundle = build_bundle(
        tiny_log,
        vocabulary=8,
        width=8,
        settings=FitSettings(max_epochs=1, min_steps=3),
        progress=False,
        ensemble_size=2,
    )
    loaded = load_bundle(save_bundle(bundle, tmp_path / "ensemble"))
    users = bundle.users["eval"]
    rows = slice(0, 20)
    columns = [torch.as_tensor(column[rows]) for column in (users.profile, users.history, users.slate)]
    profile, history, slate = columns[0], columns[1].long(), columns[2].long()
    weights = []
    for name, user in bundle.simulators.items():
        assert ensemble_size_of(user) == ensemble_size_of(loaded.simulators[name]) == 2
        torch.testing.assert_close(loaded.simulators[name](profile, history, slate), user(profile, history, slate))
        weights += [fit.item_map.weight.numpy() for fit in user.members]  # type: ignore[union-attr]
    assert len({weight.tobytes() for weight in weights}) == 4
    assert bundle.provenance["ensemble_size"] == 2
    assert np.isfinite(bundle.codebook.vectors).all()


def test_no_member_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "synthetic", "--ensemble-size", "0", "--out", str(tmp_path / "none")]) == 2
    assert "got --ensemble-size 0, expected at least 1." in capsys.readouterr().err
