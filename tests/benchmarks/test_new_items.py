"""New items: one real run, resumed; the table; bad calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_gym.bundle.folder import Bundle, save_bundle
from new_items import Trial, main, make, table, take_over


def row(method: str, seed: int, **scores: float) -> dict[str, Any]:
    facts = {"bundle": "a world", "percent_new": 50, "steps": 64, "episodes": 10}
    return {"method": method, "seed": seed, **facts, **scores}


def test_the_table() -> None:
    scores = {"before": 1.0, "after": 2.0, "whole": 4.0, "share_new": 0.25}
    text = table([row("hsrl", 0, **scores), row("sl", 0, **scores), row("sl", 1, **{**scores, "after": 3.0})])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[2:] == [
        "| SL | 1.00 [1.00, 1.00] | 2.50 [2.00, 3.00] | 4.00 [4.00, 4.00] | 0.25 [0.25, 0.25] |",
        "| HSRL | 1.00 [n/a] | 2.00 [n/a] | 4.00 [n/a] | 0.25 [n/a] |",
    ]
    assert "50% of the items were not on sale" in text


def test_a_run(tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The oracle gains by what comes on sale; who learned shows some of it."""
    save_bundle(tiny_bundle, tmp_path / "bundle")
    call = ["--bundle", str(tmp_path / "bundle"), "--methods", "oracle,hsrl", "--steps", "64", "--episodes", "20"]
    call += ["--seeds", "0", "--jobs", "1", "--out", str(tmp_path / "out")]
    assert main(call) == 0
    assert "2 runs: 2 to do." in capsys.readouterr().out
    rows = {row["method"]: row for row in map(json.loads, (p.read_text() for p in (tmp_path / "out/runs").iterdir()))}
    assert rows["oracle"]["after"] == rows["oracle"]["whole"]
    assert rows["oracle"]["before"] < rows["oracle"]["after"]
    assert 0 < rows["hsrl"]["share_new"] < 1
    assert main(call) == 0
    assert "2 runs: 0 to do." in capsys.readouterr().out


@pytest.mark.parametrize("method", ["sl", "hac", "hsrl"])
def test_new_items_come_with_nothing_of_their_own(method: str, tiny_bundle: Bundle) -> None:
    trial = Trial(method, 0, "", "", steps=64, episodes=10, percent_new=50)
    agent, learned, new = make(trial, tiny_bundle), make(trial, tiny_bundle), np.array([2, 5])
    network, other = (getattr(one, "policy", one).network for one in (agent, learned))  # type: ignore[attr-defined]
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(1.0)
    take_over(agent, learned, new)
    free, known = network.encoder.item_free.weight, other.encoder.item_free.weight
    assert (free[new] == 0).all()
    assert torch.equal(free[[1, 3, 4, 6]], known[[1, 3, 4, 6]])
    if method == "hac":
        assert (network.kernel_free[[1, 4]] == 0).all()
        assert torch.equal(network.kernel_free[[0, 2, 3]], other.kernel_free[[0, 2, 3]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["--methods", "ddpg"], "unknown method 'ddpg'"),
        (["--percent-new", "95"], "got --percent-new 95, expected 1 to 90."),
    ],
)
def test_a_call_that_cannot_be(call: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(call) == 2
    assert message in capsys.readouterr().err
