"""Throughput: that measurements are there and written, never how fast it was."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import throughput
from throughput import Speed, rounds, table


@pytest.mark.slow
def test_the_command_measures_and_writes(
    tmp_path: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--batches", "8,16", "--updates", "32", "--methods", "a2c", "--seconds", "0"]
    assert throughput.main([*call, f"--bundle={tiny_bundle_folder}", f"--out={tmp_path}"]) == 0
    found = pd.read_csv(tmp_path / "throughput.csv")
    assert list(zip(found["what"], found["size"], found["unit"], strict=True)) == [
        ("one environment, random actions", 1, "user-steps"),
        ("vector environment, random actions", 8, "user-steps"),
        ("vector environment, random actions", 16, "user-steps"),
        ("update of hsrl-scratch", 32, "updates"),
        ("iteration of a2c", 32, "iterations"),
    ]
    assert (found["best"] >= found["median"]).all()
    assert (found["median"] > 0).all()
    text = (tmp_path / "throughput.md").read_text(encoding="utf-8")
    assert "1 thread; torch" in text
    assert "| update of hsrl-scratch | 32 |" in text
    assert "written:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "steps"], "unknown part 'steps'; did you mean step"),
        (["--methods", "a2"], "unknown method 'a2'; did you mean a2c"),
        (["--batches", "0"], "got a size of 0 in --batches or --updates, expected 1 at least"),
        (["--env", "HSRL-Nowhere-v0"], "unknown environment 'HSRL-Nowhere-v0'"),
        (["--device", "tpu"], "--device: got tpu, expected cpu, cuda or cuda:N"),
    ],
)
def test_wrong_calls_end_with_a_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--parts", "iteration", "--seconds", "0", f"--out={tmp_path / 'none'}"]
    assert throughput.main([*call, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_rounds_are_sorted_and_the_first_call_does_not_count() -> None:
    calls: list[int] = []
    taken = rounds(lambda: calls.append(1), seconds=0.0, least=5)
    assert len(calls) == 6
    assert len(taken) == 5
    assert taken == sorted(taken)


def test_speeds_are_units_of_work_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "rounds", lambda action, seconds: [0.5, 1.0, 2.0])
    options = throughput.parser().parse_args([])
    speed = throughput.measure("it", 32, "user-steps", lambda: None, 10, options)
    assert speed == Speed("it", 32, "user-steps", best=20.0, median=10.0)
    assert "| it | 32 | user-steps | 20.0 | 10.0 |" in table([speed], "a machine").markdown()
