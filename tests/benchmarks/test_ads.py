"""The measurements of HSRL-Ads-v0: one run in a small market, and bad calls."""

from __future__ import annotations

from pathlib import Path

import pytest

import ads
from hsrl_gym.envs.ads import sessions
from hsrl_gym.envs.ads.config import AdsConfig


def test_it_measures_and_ranks_policies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = AdsConfig(n_ads=2_000, n_campaigns=250, n_users=500, n_candidates=50, n_days=7)
    monkeypatch.setattr(sessions, "from_json", lambda *_: small)
    assert ads.main(["--sessions", "300", "--seconds", "0.05", "--batches", "1,4", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "ads.md").read_text()
    assert capsys.readouterr().out.startswith(text.rstrip())
    rows = [line.split(" | ") for line in text.splitlines() if line.count("|") == 7]
    reward = {row[0].strip("| "): float(row[1]) for row in rows[1:] if "---" not in row[0]}
    assert list(reward) == ["random", "predicted", "oracle, on arrival", "oracle", "far-sighted oracle"]
    assert reward["random"] < reward["predicted"] < reward["oracle, on arrival"]
    assert reward["random"] < reward["oracle"]
    assert "user-steps a second, 4 at once" in text


def test_a_call_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ads.main(["--batches", "many", "--out", str(tmp_path / "out")]) == 2
    assert "--batches: got 'many'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
