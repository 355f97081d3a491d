"""Measurements of speed: what they say is there and adds up, on real processes; never how fast it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import growth
import throughput
from stopwatch import rounds, summary

REPOSITORY = Path(__file__).parents[2]


def test_the_command_measures_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Start and steps for real, in turn with this very checkout as the other one."""
    call = ["--parts", "start,step", "--batch", "8", "--seconds", "0.05", "--against", str(REPOSITORY)]
    monkeyed = pytest.MonkeyPatch()
    monkeyed.setattr(throughput, "N_ROUNDS", 1)
    with monkeyed.context():
        assert throughput.main([*call, "--out", str(tmp_path)]) == 0
    monkeyed.undo()
    found = json.loads((tmp_path / "throughput.json").read_text(encoding="utf-8"))
    assert set(found["measurements"]) == {"start", "step of 32 users", "step of 8 users"}
    step = found["measurements"]["step of 32 users"]
    for side in ("here", "there"):
        assert 0 < step[side]["steps"]["median"] <= step[side]["steps"]["best"]
        assert 0 < step[side]["own_share"] < 1
    assert step["ratio"] == pytest.approx(step["here"]["steps"]["median"] / step["there"]["steps"]["median"])
    assert found["machine"]["versions"]["torch"]
    text = " ".join(capsys.readouterr().out.split())
    for part in ("start", "step of 8 users", "user-steps/s on the same tensors", "written:"):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "steps"], "unknown part 'steps'; known: start, single, step, train, profile, growth"),
        (["--against", "nowhere"], "--against: got nowhere, which is no folder"),
        (["--against", "tests"], "--against: got tests, expected a checkout with hsrl_gym and hsrl_agent"),
        (["--seconds", "0"], "--seconds and --batch take positive numbers"),
        (["--batch", "-1"], "--seconds and --batch take positive numbers"),
    ],
)
def test_wrong_calls_end_with_a_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        throughput.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_measurement_that_fails_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["--parts", "single", "--env", "HSRL-Nowhere-v0", "--out", str(tmp_path / "none")]
    assert throughput.main(call) == 1
    assert "throughput.py: a measurement failed: gymnasium.error." in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_rounds_are_sorted_and_the_first_call_does_not_count() -> None:
    calls: list[int] = []
    taken = rounds(lambda: calls.append(1), seconds=0.0, least=5)
    assert len(calls) == 6
    assert len(taken) == 5
    assert taken == sorted(taken)
    assert summary([0.5, 1.0, 2.0], per_call=10) == {"best": 20.0, "median": 10.0}


def test_growth_measures_what_it_says(tmp_path: Path) -> None:
    axes = [replace(axis, values=axis.values[:2]) for axis in growth.AXES]
    found = {
        axis.name: list(growth.sweep(axis, "cpu", seconds=0.0)) for axis in axes if axis.name in ("batch", "slate")
    }
    assert [row["batch"] for row in found["batch"]] == [1, 4]
    assert [row["slate"] for row in found["slate"]] == [1, 2]
    assert all(row["seconds"] > 0 and row["mb"] >= 0 for rows in found.values() for row in rows)
    assert all(row["update_seconds"] > 0 for row in found["slate"])
    growth.draw_growth(found, tmp_path / "growth.png", "a machine")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_an_unlearned_bundle_has_its_shape() -> None:
    bundle = growth.unlearned_bundle(growth.Shape(history=7, slate=3, catalog=40))
    assert (bundle.n_items, bundle.slate_size) == (40, 3)
    assert bundle.users["train"].history.shape == (growth.N_USERS, 7)
    assert (bundle.users["train"].history > 0).all()
