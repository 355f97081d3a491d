"""Behaviour vectors: near are the items that users answer to alike, and that leave them alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.items.behaviour import WIDTH, behaviour_vectors
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.ensemble import as_one

N_ITEMS = 40


class Known(UserResponseModel):
    """Affinity of user u for item i: taste[i] . u, and -mood[last item clicked]."""

    def __init__(self, taste: Tensor, mood: Tensor) -> None:
        super().__init__(SimulatorConfig(N_ITEMS, 1, taste.shape[1], width=4), torch.zeros(N_ITEMS + 1, 1))
        self.taste, self.mood = taste, mood

    def arrive(self, tables: object, profile: Tensor) -> tuple[Tensor, Tensor]:
        return profile, profile

    def affinity(
        self, tables: object, users: tuple[Tensor, Tensor], history: Tensor, length: Tensor, slate: Tensor
    ) -> Tensor:
        return torch.einsum("bp,bkp->bk", users[0], self.taste[slate]) - self.mood[history[:, -1]].unsqueeze(1)


@pytest.fixture(scope="module")
def pool() -> LoggedSlates:
    generator = np.random.default_rng(0)
    profile = generator.normal(size=(300, 3)).astype(np.float32)
    history = generator.integers(0, 2, size=(300, 1)) * generator.integers(1, N_ITEMS + 1, size=(300, 5))
    return LoggedSlates(profile, history.astype(np.int32), np.ones((300, 2), np.int32), np.ones((300, 2), np.uint8))


def known() -> Known:
    torch.manual_seed(0)
    taste = torch.randn(N_ITEMS + 1, 3)
    taste[2] = taste[1]  # liked alike,
    mood = torch.randn(N_ITEMS + 1)
    mood[0] = 0.0
    mood[3] = mood[1]  # leave alike
    return Known(taste, mood)


def test_the_axes_are_those_of_taste_and_of_what_follows(pool: LoggedSlates) -> None:
    """Three axes of taste, one of mood: each half spans them, whatever else there is room for."""
    model = known()
    vectors = behaviour_vectors(model, pool)
    assert vectors.shape == (N_ITEMS + 1, 2 * WIDTH)
    assert not vectors[0].any()
    answers, follows = vectors[1:, :WIDTH], vectors[1:, WIDTH:]
    for half, n_axes in ((answers, 3), (follows, 1)):
        assert np.square(half).sum(1).mean() == pytest.approx(1.0, rel=1e-4)
        assert np.square(half[:, n_axes:]).sum() < 1e-6 * np.square(half).sum()
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
    np.testing.assert_allclose(follows[0], follows[2], atol=1e-5)
    assert abs(np.corrcoef(follows[:, 0], model.mood[1:].numpy())[0, 1]) > 0.999


def test_seed_and_batches(pool: LoggedSlates, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed decides who is asked; how many are asked at once changes nothing."""
    model = known()
    vectors = behaviour_vectors(model, pool, seed=1)
    assert not np.allclose(vectors, behaviour_vectors(model, pool, seed=2), atol=1e-3)
    monkeypatch.setattr("hsrl_gym.items.behaviour._ROWS_AT_ONCE", 50)
    distances = [
        np.linalg.norm(v[1:, None] - v[None, 1:], axis=2) for v in (vectors, behaviour_vectors(model, pool, 1))
    ]
    np.testing.assert_allclose(*distances, atol=1e-4)


def test_of_a_learned_user(tiny_bundle: Bundle) -> None:
    """A pool smaller than the number of users that are asked will do."""
    users = tiny_bundle.users["train"]
    few = LoggedSlates(users.profile[:20], users.history[:20], users.slate[:20], users.clicks[:20])
    vectors = behaviour_vectors(tiny_bundle.simulators["train"], few)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert vectors[1:].std() > 0.0


@pytest.mark.parametrize("ensemble_size", [1, 2])
def test_of_a_large_catalog(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, ensemble_size: int) -> None:
    """Responses as of a small one; effects of the items not measured are predicted from their tables."""
    users = tiny_bundle.users["train"]
    model = as_one([tiny_bundle.simulators[name] for name in ("train", "eval")][:ensemble_size])  # type: ignore[misc]
    small = behaviour_vectors(model, users)
    monkeypatch.setattr("hsrl_gym.users.large.LARGE_FROM", 1)
    monkeypatch.setattr("hsrl_gym.items.behaviour._ITEMS_AT_ONCE", 7)
    monkeypatch.setattr("hsrl_gym.items.behaviour._N_MEASURED", 45)
    monkeypatch.setattr("hsrl_gym.items.behaviour._N_KERNELS", 30)
    large = behaviour_vectors(model, users)
    assert large.shape == small.shape
    assert large.dtype == np.float32
    assert not large[0].any()
    distances = [
        [
            np.linalg.norm(vectors[1:31, half] - vectors[31:, half], axis=1)
            for half in (slice(WIDTH), slice(WIDTH, None))
        ]
        for vectors in (small, large)
    ]
    np.testing.assert_allclose(distances[1][0], distances[0][0], atol=2e-3)
    assert np.corrcoef(distances[1][1], distances[0][1])[0, 1] > 0.95
