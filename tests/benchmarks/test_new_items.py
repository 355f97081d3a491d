"""New items: one real run, resumed; the table; bad calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hsrl_gym.bundle import Bundle, save_bundle
from new_items import main, table


def row(method: str, seed: int, **scores: float) -> dict[str, Any]:
    facts = {"bundle": "a world", "percent_hidden": 50, "steps": 64, "episodes": 10}
    return {"method": method, "seed": seed, **facts, **scores}


def test_the_table() -> None:
    scores = {"before": 1.0, "after": 2.0, "whole": 4.0, "share_new": 0.25}
    text = table([row("hsrl", 0, **scores), row("sl", 0, **scores), row("sl", 1, **{**scores, "after": 3.0})])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[2:] == [
        "| SL | 1.00 [1.00, 1.00] | 2.50 [2.00, 3.00] | 4.00 [4.00, 4.00] | 0.25 [0.25, 0.25] |",
        "| HSRL | 1.00 [n/a] | 2.00 [n/a] | 4.00 [n/a] | 0.25 [n/a] |",
    ]
    assert "50% of the items were hidden" in text


def test_a_run(tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The oracle looks at all that is on sale: with everything back it is what it is with everything from the start."""
    save_bundle(tiny_bundle, tmp_path / "bundle")
    call = ["--bundle", str(tmp_path / "bundle"), "--methods", "oracle,hsrl", "--steps", "64", "--episodes", "20"]
    call += ["--seeds", "0", "--jobs", "1", "--out", str(tmp_path / "out")]
    assert main(call) == 0
    assert "2 runs: 2 to do." in capsys.readouterr().out
    rows = {row["method"]: row for row in map(json.loads, (p.read_text() for p in (tmp_path / "out/runs").iterdir()))}
    assert rows["oracle"]["after"] == rows["oracle"]["whole"]
    assert rows["oracle"]["before"] != rows["oracle"]["after"]
    assert 0 < rows["hsrl"]["share_new"] < 1
    assert main(call) == 0
    assert "2 runs: 0 to do." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["--methods", "ddpg"], "unknown method 'ddpg'"),
        (["--percent-hidden", "95"], "got --percent-hidden 95, expected 1 to 90."),
    ],
)
def test_a_call_that_cannot_be(call: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(call) == 2
    assert message in capsys.readouterr().err
