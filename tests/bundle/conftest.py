"""A bundle that may be spoiled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def folder(tiny_bundle_folder: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that may be spoiled."""
    return Path(shutil.copytree(tiny_bundle_folder, tmp_path / "bundle"))
