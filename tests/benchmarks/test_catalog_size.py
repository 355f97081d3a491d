"""Total Reward against the size of the catalog: one real run on tiny catalogs, resumed, and bad calls."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from catalog_report import by_size, true
from catalog_size import main
from hsrl_gym.bundle.build import build_bundle
from hsrl_gym.users.fit import FitSettings
from results import read_rows


def test_two_catalogs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(build_bundle, settings=FitSettings(max_epochs=1, min_steps=1), progress=False)
    monkeypatch.setattr("catalog_size.build_bundle", quick)
    call = ["--items", "50,80", "--methods", "oracle,random", "--slates", "300", "--episodes", "20", "--jobs", "1"]
    call += ["--seeds", "0", "--out", str(tmp_path)]
    assert main(call) == 0
    rows = list(read_rows(tmp_path)[0].values())
    cells = by_size(rows)
    assert {method: {size: len(values) for size, values in found.items()} for method, found in cells.items()} == {
        "random": {50: 1, 80: 1},
        "oracle": {50: 1, 80: 1},
    }
    assert min(cells["oracle"][80]) > max(cells["random"][80])  # the oracle sees what it needs
    table = (tmp_path / "catalog_size.md").read_text()
    assert "| by the learned user [95%] | 50 items | 80 items |" in table
    assert min(by_size(rows, true)["oracle"][80]) > max(by_size(rows, true)["random"][80])
    assert (tmp_path / "catalog_size.png").stat().st_size > 5_000
    bundles = {path: path.stat().st_mtime_ns for path in tmp_path.glob("bundles/*/bundle.yaml")}
    capsys.readouterr()
    assert main(call) == 0  # again: nothing is made anew
    assert "seed 0:" not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("bundles/*/bundle.yaml")} == bundles


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["--items", "20"], "got --items 20, expected at least 40: slates hold 10."),
        (["--items", "many"], "got --items 'many', expected whole numbers"),
        (["--methods", "hslr"], "unknown method 'hslr'; did you mean hsrl"),
        (["--jobs", "0"], "got --jobs 0, expected a whole number of at least 1."),
        (["--steps", "0"], "got --steps 0, expected a whole number of at least 1."),
    ],
)
def test_a_call_that_cannot_be(
    call: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*call, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
