"""What a catalog costs: that it is measured and written, and that HSRL learns no weight per item; never how fast."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import scale


def test_the_command_measures_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OWN_ROWS", "SHARED_ROWS"):
        monkeypatch.setattr(f"hsrl_agent.encoder.{name}", 150)
    call = ["--sizes", "100,200,300", "--candidates", "20", "--rounds", "1", "--most", "9000"]
    assert scale.main([*call, f"--out={tmp_path}"]) == 0
    found = pd.read_csv(tmp_path / "scale.csv").set_index(["method", "items"])
    assert list(found.index) == [(method, n) for n in (100, 200, 300) for method in ("HSRL", "item space")][:5]
    hsrl, items = (found.loc[method] for method in ("HSRL", "item space"))
    assert hsrl["weights"][200] == hsrl["weights"][300]
    assert hsrl["weights"][200] - hsrl["weights"][100] == 50 * 32  # 150 free vectors instead of 100
    assert items["weights"][200] > items["weights"][100] + 50 * 32
    assert (found["decide_ms"] > 0).all()
    assert (hsrl["update_ms"] > 0).all()
    assert pd.isna(items["update_ms"][200])  # 256 x 200 numbers are more than --most
    assert hsrl["decide_ratio"][100] == 1.0
    assert "1 thread; 20 candidates; torch" in (tmp_path / "scale.md").read_text(encoding="utf-8")
    assert (tmp_path / "scale.png").stat().st_size > 5_000
    assert "written:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "5"], "got --sizes 5, expected 20 to 2,097,152 items"),
        (["--sizes", "100,9000000"], "got --sizes 100,9000000, expected 20 to 2,097,152 items"),
        (["--candidates", "2", "--sizes", "100"], "got n_candidates=2, expected at least the 10 of a slate"),
    ],
)
def test_wrong_calls_end_with_a_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scale.main([*arguments, f"--out={tmp_path / 'none'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
