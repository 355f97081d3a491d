"""One small data set and its bundle for all tests; one thread, so that they take the same time everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from hsrl_gym.bundle.build import build_bundle
from hsrl_gym.bundle.folder import Bundle, save_bundle
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.envs.synthetic_log import write_log
from hsrl_gym.users.fit import FitSettings
from hsrl_gym.users.synthetic import SyntheticWorld, WorldConfig

torch.set_num_threads(1)
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # windows open in memory, not on a screen
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

# Everything is said here, so that no test depends on the defaults of the worlds in the package.
TINY = WorldConfig(
    "tiny",
    n_items=60,
    slate_size=4,
    n_item_features=12,
    n_profile=6,
    n_users=200,
    n_clusters=12,
    n_latent=8,
    base=-1.0,
    taste=2.0,
    quality=1.0,
    sweetness=0.8,
    weariness=5.0,
    drift=1.0,
    satiation=12.0,
    tolerated=0.15,
)


@pytest.fixture(scope="session")
def tiny_world() -> SyntheticWorld:
    return SyntheticWorld(TINY)


@pytest.fixture(scope="session")
def tiny_log(tiny_world: SyntheticWorld) -> InteractionLog:
    return write_log(tiny_world, 2_000)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_log: InteractionLog) -> Bundle:
    """60 items, K = 4, L = 3, V = 8; its users were hardly trained."""
    settings = FitSettings(batch_size=128, learning_rate=3e-3, max_epochs=2, min_steps=1)
    return build_bundle(tiny_log, n_levels=3, vocabulary=8, width=16, settings=settings, progress=False)


@pytest.fixture(scope="session")
def tiny_bundle_folder(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `tiny_bundle` was saved; not to be written to."""
    return save_bundle(tiny_bundle, tmp_path_factory.mktemp("bundles") / "tiny")
