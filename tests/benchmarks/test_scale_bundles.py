"""What a bundle costs: every stage is timed, and the table names it."""

from __future__ import annotations

from pathlib import Path

import pytest

import scale_bundles
from hsrl_gym.users.fit import FitSettings
from scale_bundles import STAGES, measure, table


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale_bundles, "SLATES", 300)
    monkeypatch.setattr(scale_bundles, "VOCABULARY", 8)


def test_every_stage_is_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cost = measure(60, tmp_path, FitSettings(batch_size=128, max_epochs=1, min_steps=1))
    assert set(cost.clock) == set(cost.processor) == set(STAGES)
    assert all(seconds > 0 for seconds in cost.clock.values())
    assert 0.1 < cost.held_out < 2.0
    assert cost.peak_gigabytes > 0.1
    assert (tmp_path / "bundles" / "ml1m-60" / "bundle.yaml").is_file()
    assert cost.bundle_megabytes > 0.01
    assert "60 items, change:" in capsys.readouterr().err
    text = table([cost], "a machine").markdown()
    assert "| 60 |" in text
    assert all(label in text for label in STAGES.values())
