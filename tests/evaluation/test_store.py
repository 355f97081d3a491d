"""Results on disk: they come back equal, a broken one is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_results import make_result

from hsrl_agent.evaluation.store import (
    read_results,
    read_runs,
    read_together,
    results_frame,
    write_result,
    write_results,
)
from hsrl_gym.errors import HsrlError

ONE = make_result("hsrl", 0, 10.0, true=9.0, extra={"share": 0.25}, settings={"gamma": 0.9})
OTHER = make_result("some.module:Class/../x", 3, 1.0)


def test_results_come_back(tmp_path: Path) -> None:
    paths = [write_result(tmp_path, result) for result in (ONE, OTHER)]
    assert {path.parent for path in paths} == {tmp_path / "runs"}
    assert read_runs(tmp_path) == ({ONE.key: ONE, OTHER.key: OTHER}, [])
    assert read_runs(tmp_path / "nothing") == ({}, [])


def test_results_of_a_comparison_come_back(tmp_path: Path) -> None:
    file = write_results([OTHER, ONE], tmp_path)
    assert read_results(file) == read_results(tmp_path) == [OTHER, ONE]
    write_result(tmp_path / "runs alone", ONE)
    assert read_results(tmp_path / "runs alone") == [ONE]


@pytest.mark.parametrize(
    "content",
    [
        "",
        json.dumps(ONE.to_dict())[:-40],
        "[1, 2]",
        json.dumps({**ONE.to_dict(), "schema": 2}),
        json.dumps({name: value for name, value in ONE.to_dict().items() if name != "curve"}),
        json.dumps({**ONE.to_dict(), "score": {**ONE.to_dict()["score"], "total_reward": "12"}}),
        json.dumps({**ONE.to_dict(), "spec": {**ONE.to_dict()["spec"], "stepps": 3}}),
        "\udcff",
    ],
)
def test_a_broken_result_is_told(tmp_path: Path, content: str) -> None:
    good = write_result(tmp_path, OTHER)
    broken = good.with_name("broken.json")
    broken.write_bytes(content.encode(errors="surrogateescape"))
    found, complaints = read_runs(tmp_path)
    assert list(found) == [OTHER.key]
    (complaint,) = complaints
    assert str(broken) in complaint
    assert "that run is done again" in complaint
    assert "\n" not in complaint
    with pytest.raises(HsrlError, match=r"broken\.json cannot be used"):
        read_results(tmp_path)


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(HsrlError, match=f"{path}: no "):
            read_results(path)
    write_results([ONE], tmp_path).write_text(json.dumps(ONE.to_dict()) + "\n{}\n")
    with pytest.raises(HsrlError, match=r"results\.jsonl, line 2: got a result of schema None, expected 3"):
        read_results(tmp_path)


def test_results_of_several_places_are_put_together(tmp_path: Path) -> None:
    write_results([ONE], tmp_path / "a")
    write_results([OTHER, ONE], tmp_path / "b")
    assert read_together([tmp_path / "a", tmp_path / "b"]) == [ONE, OTHER]


def test_two_runs_of_one_cell_are_refused(tmp_path: Path) -> None:
    write_results([ONE], tmp_path / "a")
    write_results([replace(ONE, key="another")], tmp_path / "b")
    with pytest.raises(
        HsrlError, match=r"two different runs for ML1M hsrl seed 0: ML1M-hsrl-0 in .*a and another in .*b"
    ):
        read_together([tmp_path / "a", tmp_path / "b"])
    for key in ("old", "new"):
        write_result(tmp_path / "c", replace(ONE, key=key))
    with pytest.raises(HsrlError, match="two different runs"):
        read_together([tmp_path / "c"])


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(tmp_path, make_result("hsrl", 0, float("nan")))
    assert not list(tmp_path.rglob("*.json"))


def test_a_frame_has_a_row_a_run() -> None:
    frame = results_frame([ONE, OTHER])
    assert frame["method"].tolist() == ["hsrl", "some.module:Class/../x"]
    assert frame["total_reward"].tolist() == [10.0, 1.0]
    assert frame["true_total_reward"].tolist()[0] == 9.0
    assert frame["true_total_reward"].isna().tolist() == [False, True]
    assert frame.loc[0, "settings"] == '{"gamma": 0.9}'
    assert frame.loc[0, ["share", "data_name", "reward", "code", "seed"]].tolist() == [
        0.25,
        "x",
        "mean_with_cost",
        "c0de",
        0,
    ]
