"""Total Reward against the size of the catalog: one real run on tiny catalogs, resumed, and bad calls."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from catalog_size import main
from hsrl_agent.evaluation.store import read_results
from hsrl_gym.bundle.build import build_bundle
from hsrl_gym.users.fit import FitSettings


@pytest.mark.slow
def test_two_catalogs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(build_bundle, settings=FitSettings(max_epochs=1, min_steps=1), progress=False)
    monkeypatch.setattr("catalog_size.build_bundle", quick)
    call = ["--items", "50,80", "--methods", "oracle,random", "--slates", "300", "--episodes", "20", "--jobs", "1"]
    call += ["--seeds", "0", "--out", str(tmp_path)]
    assert main(call) == 0
    results = {
        (result.spec.method, result.spec.protocol_kwargs["n_items"]): result for result in read_results(tmp_path)
    }
    assert set(results) == {("random", 50), ("random", 80), ("oracle", 50), ("oracle", 80)}
    best, worst = results["oracle", 80], results["random", 80]
    assert best.score.total_reward > worst.score.total_reward  # the oracle sees what it needs
    assert best.true_score is not None
    assert worst.true_score is not None
    assert best.true_score.total_reward > worst.true_score.total_reward
    assert {result.spec.task for result in results.values()} == {"ML1M, 50 items", "ML1M, 80 items"}
    table = (tmp_path / "catalog_size.md").read_text()
    assert "| 50 items [95%] | 80 items [95%] |" in table
    assert (tmp_path / "catalog_size.png").stat().st_size > 5_000
    bundles = {path: path.stat().st_mtime_ns for path in tmp_path.glob("bundles/*/bundle.yaml")}
    capsys.readouterr()
    assert main(call) == 0  # again: nothing is made anew
    assert "4 found finished" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("bundles/*/bundle.yaml")} == bundles


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["--items", "20"], "got --items 20, expected at least 40: slates hold 10."),
        (["--items", "many"], "--items: got 'many', expected whole numbers"),
        (["--methods", "hslr"], "unknown method 'hslr'; did you mean hsrl"),
        (["--jobs", "0"], "--jobs: got 0, expected a whole number of at least 1"),
        (["--settings", "nobody"], "unknown settings 'nobody'"),
    ],
)
def test_a_call_that_cannot_be(
    call: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*call, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
