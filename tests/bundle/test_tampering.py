"""Bundles of strangers, some hundreds of them: each plays, or is refused in one line. See `tampering`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tampering import run_cases


@pytest.mark.parametrize("block", range(4))
def test_what_is_changed_at_random_plays_or_is_refused(tiny_bundle_folder: Path, tmp_path: Path, block: int) -> None:
    counts = run_cases(tiny_bundle_folder, tmp_path, range(block * 100, (block + 1) * 100))
    assert counts["played"] >= 5
    assert counts["refused"] >= 50
    assert list(tmp_path.iterdir()) == []
