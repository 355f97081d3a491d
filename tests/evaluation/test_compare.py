"""The comparison as it is used: two processes, a second call, runs that fail, a call that cannot be run."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pool_runs import standing_in

from hsrl_agent.evaluation import cli
from hsrl_agent.evaluation.pool import run_all
from hsrl_agent.evaluation.workers import Ended

ENV = "HSRL-RL4RS-v0"
AGENTS = """
import os

class Fine:
    action_mode = "item"
    def __init__(self, env, seed=0): self.env = env
    def learn(self, total_timesteps): ...
    def predict(self, observation, deterministic=True): return [[0, 1, 2, 3]] * len(observation["profile"])

class Fails(Fine):
    def learn(self, total_timesteps): raise RuntimeError("out\\nof [bold]luck")

class Dies(Fine):
    def learn(self, total_timesteps): os._exit(3)
"""


@dataclass(frozen=True)
class Call:
    """What a call came to."""

    status: int
    output: str
    errors: str


def call(*arguments: str) -> Call:
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = cli.main(arguments)
    return Call(status, output.getvalue(), errors.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with agents in it."""
    with standing_in(tmp_path_factory.mktemp("compare"), "agents_of_mine", AGENTS) as path:
        yield path


@pytest.fixture(scope="module")
def arguments(folder: Path, tiny_bundle_folder: Path) -> list[str]:
    """Two methods, two seeds, tiny runs on two processes."""
    sizes = {"steps": "256", "n-envs": "8", "episodes": "20", "checkpoints": "2"}
    small = [f"--{name}={value}" for name, value in {**sizes, "jobs": "2", "out": "out", "seeds": "0,1"}.items()]
    return ["compare", f"--envs={ENV}", f"--bundle={ENV}={tiny_bundle_folder}", "--methods=random,a2c", *small]


@pytest.fixture(scope="module")
def first(arguments: list[str]) -> Call:
    """A call in which one agent of three plugged in works; the one that kills its process is among the first."""
    agents = [f"--agent=agents_of_mine:{name}" for name in ("Dies", "Fails", "Fine")]
    return call(*(text.replace("0,1", "0") for text in arguments), *agents)


def test_failing_runs_do_not_stop_the_others(first: Call, folder: Path) -> None:
    assert first.status == 1
    lines = first.output.splitlines()
    assert lines[:2] == [
        "RL4RS tiny: settings: the code's defaults; none were tuned on this bundle.",
        "5 runs: 5 to do on 2 processes.",
    ]
    failed = [line for line in lines if "FAILED" in line]
    assert len(failed) == 2
    assert any("agents_of_mine:Fails seed 0: FAILED: RuntimeError: out of [bold]luck" in line for line in failed)
    assert any("agents_of_mine:Dies seed 0: FAILED: its process died" in line for line in failed)
    assert sum(f"RL4RS tiny {name} seed 0: Total Reward" in first.output for name in ("random", "a2c")) == 2
    assert first.errors == "hsrl-agent compare: 2 of 5 runs failed; the same command tries them again.\n"
    traces = list((folder / "out" / "failed").iterdir())
    assert len(traces) == 1
    assert "RuntimeError: out\nof [bold]luck" in traces[0].read_text()


def test_a_log_holds_no_control_characters(first: Call) -> None:
    assert all(letter.isprintable() or letter == "\n" for letter in first.output)
    assert [line.split("]")[0] for line in first.output.splitlines() if line.startswith("[")] == [
        f"[{number}/5" for number in range(1, 6)
    ]


def test_tables_are_printed_and_written(first: Call, folder: Path) -> None:
    out = folder / "out"
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {row["kind"] for row in rows} == {"table2"}
    assert [row["spec"]["method"] for row in rows] == ["random", "a2c", "agents_of_mine:Fine"]
    table = (out / "table2.md").read_text()
    for row in rows:
        assert f"{row['score']['total_reward']:.2f} [n/a]" in table
        assert f"{row['score']['total_reward']:.2f}" in first.output
    assert len(list((out / "runs").glob("*.json"))) == 3
    for name in ("table2.md", "table2.csv", "results.jsonl", "learning_curves.png", "report.html"):
        assert f"written: {Path('out') / name}" in first.output
        assert (out / name).stat().st_size > 100


def test_a_second_call_goes_on(first: Call, arguments: list[str], folder: Path) -> None:
    """Of four runs two are there, one of them cut in half: that one and the missing ones are done."""
    runs = folder / "out" / "runs"
    (kept,) = runs.glob("*-a2c-seed0-*.json")
    (half,) = runs.glob("*-random-seed0-*.json")
    whole = json.loads(half.read_text())
    half.write_text(half.read_text()[:100])
    stamp = kept.stat().st_mtime_ns
    second = call(*arguments, "--jobs=1")
    assert second.status == 0
    assert second.errors == ""
    lines = second.output.splitlines()
    assert f"{half.relative_to(folder)} cannot be used" in lines[1]
    assert lines[2] == f"4 runs: 1 found finished in {Path('out/runs')}, 3 to do on 1 process."
    assert kept.stat().st_mtime_ns == stamp
    assert json.loads(half.read_text())["score"] == whole["score"]  # and the same numbers come out
    third = call(*arguments, "--jobs=1")
    assert third.status == 0
    assert third.output.splitlines()[1] == f"4 runs: 4 found finished in {Path('out/runs')}, 0 to do."
    assert not [line for line in third.output.splitlines() if line.startswith("[")]
    assert kept.stat().st_mtime_ns == stamp
    assert "Fine" not in (folder / "out" / "table2.md").read_text()  # was not asked for this time


def test_runs_of_other_code_are_told_and_not_used(
    first: Call, arguments: list[str], folder: Path, tmp_path: Path
) -> None:
    (kept,) = (folder / "out" / "runs").glob("*-random-seed0-*.json")
    row = json.loads(kept.read_text())
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "older.json").write_text(json.dumps({**row, "key": "older"}))
    again = call(*arguments, "--methods=random", "--seeds=0", f"--out={tmp_path}")
    assert again.status == 0
    assert "1 run: 1 to do on 1 process." in again.output
    assert "1 of the finished runs in" in again.output
    assert "come from another state of the code or the data" in again.output
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_results_are_rendered_again(first: Call, folder: Path, tmp_path: Path) -> None:
    again = call("report", "out", f"--out={tmp_path / 'again'}")
    assert again.status == 0
    assert {path.name for path in (tmp_path / "again").iterdir()} >= {"table2.md", "table2.csv", "report.html"}
    other = json.loads((folder / "out" / "results.jsonl").read_text().splitlines()[0])
    (tmp_path / "other.jsonl").write_text(json.dumps({**other, "key": "other"}) + "\n")
    mixed = call("report", "out", str(tmp_path / "other.jsonl"), f"--out={tmp_path / 'mixed'}")
    assert (mixed.status, mixed.output) == (2, "")
    assert mixed.errors.startswith("hsrl-agent report: got two different runs for RL4RS tiny random seed 0: ")
    nothing = call("report", str(tmp_path / "nowhere"), f"--out={tmp_path}")
    assert (nothing.status, nothing.output) == (2, "")
    assert nothing.errors.startswith(f"hsrl-agent report: {tmp_path / 'nowhere'}: no such file or folder")


def test_a_call_that_cannot_be_run_gets_one_line(folder: Path, tmp_path: Path) -> None:
    got = call("compare", f"--envs={ENV}", f"--bundle={ENV}={tmp_path}", "--out", str(tmp_path / "out"))
    assert (got.status, got.output) == (2, "")
    assert got.errors.startswith(f"hsrl-agent compare: {tmp_path}: no bundle.yaml here")
    assert got.errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    got = call("compare", "--methods=random", "--out", str(tmp_path / "file" / "sub"))
    assert got.status == 2
    assert "Not a directory" in got.errors


def test_a_file_edited_during_a_comparison_is_told(folder: Path, arguments: list[str], tmp_path: Path) -> None:
    """Its run fails and leaves no result that a later call would take for one of the file as it is then."""
    edits = "    def learn(self, total_timesteps):\n        with open(__file__, 'a') as file: file.write('# changed')\n"
    (folder / "edited_agent.py").write_text(f"from agents_of_mine import Fine\n\nclass Edits(Fine):\n{edits}")
    got = call(*arguments, "--methods=random", "--seeds=0", f"--out={tmp_path}", "--agent=edited_agent:Edits")
    assert got.status == 1
    assert "edited_agent:Edits seed 0: FAILED: source changed during the run" in got.output
    assert got.errors == "hsrl-agent compare: 1 of 2 runs failed; the same command tries them again.\n"
    assert ["random" in path.name for path in (tmp_path / "runs").iterdir()] == [True]


def test_a_result_that_is_not_there_counts_as_failed(
    folder: Path, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(specs: list[Any], jobs: int, watcher: Any, out: Path, backend: Any) -> list[Ended]:
        ends = run_all(specs, jobs, watcher, out, backend)
        for path in (out / "runs").iterdir():
            path.unlink()
        return ends

    monkeypatch.setattr("hsrl_agent.evaluation.pool.run_all", lose)
    got = call(*arguments, "--methods=random", "--seeds=0", f"--out={tmp_path}")
    assert got.status == 1
    assert "1 of 1 runs failed, so there is no table" in got.errors
