"""compare.py as it is used: two processes, a second call, Ctrl-C, runs that fail, calls that cannot be run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

import compare
from configuration import read_preset
from display import BarDisplay, LineDisplay, clock, make_display
from hsrl_gym.errors import HsrlError
from plan import cost, make_plan
from results import LABELS
from spec import RunSpec
from workers import Ended, one_line

ENV = "HSRL-RL4RS-v0"
ROOT = Path(__file__).parents[2]
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

class Endless(Fine):
    def learn(self, total_timesteps):
        open("endless_began", "w").close()
        while True: ...
"""


@dataclass(frozen=True)
class Call:
    """What a call of compare.py came to."""

    status: int
    output: str
    errors: str


def call(arguments: list[str]) -> Call:
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = compare.main(arguments)
    return Call(status, output.getvalue(), errors.getvalue())


def is_alive(group: int) -> bool:
    """Return whether a process of the group is still there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with agents in it."""
    path = tmp_path_factory.mktemp("compare")
    (path / "agents_of_mine.py").write_text(AGENTS)
    before, paths = Path.cwd(), list(sys.path)
    os.chdir(path)
    yield path
    os.chdir(before)
    sys.path[:] = paths


@pytest.fixture(scope="module")
def arguments(folder: Path, tiny_bundle_folder: Path) -> list[str]:
    """Two methods, two seeds, tiny runs on two processes."""
    sizes = {"steps": "256", "n-envs": "8", "episodes": "20", "checkpoints": "2"}
    small = [f"--{name}={value}" for name, value in {**sizes, "jobs": "2", "out": "out", "seeds": "0,1"}.items()]
    return [f"--envs={ENV}", f"--bundle={ENV}={tiny_bundle_folder}", "--methods=random,hsrl", *small]


@pytest.fixture(scope="module")
def first(arguments: list[str]) -> Call:
    """A call in which one agent of three plugged in works; the one that kills its process is among the first."""
    agents = [f"--agent=agents_of_mine:{name}" for name in ("Dies", "Fails", "Fine")]
    changed = [text.replace("0,1", "0") for text in arguments]
    return call([*changed, *agents])


def test_failing_runs_do_not_stop_the_others(first: Call, folder: Path) -> None:
    assert first.status == 1
    lines = first.output.splitlines()
    assert lines[0] == "5 runs: 5 to do on 2 processes."
    failed = [line for line in lines if "FAILED" in line]
    assert len(failed) == 2
    assert any("agents_of_mine:Fails seed 0: FAILED: RuntimeError: out of [bold]luck" in line for line in failed)
    assert any("agents_of_mine:Dies seed 0: FAILED: its process died" in line for line in failed)
    assert sum(f"{ENV} {name} seed 0: Total Reward" in first.output for name in ("random", "hsrl")) == 2
    assert first.errors == "compare.py: 2 of 5 runs failed; the same command tries them again.\n"
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
    assert [row["method"] for row in rows] == ["random", "hsrl", "agents_of_mine:Fine"]
    table = (out / "table2.md").read_text()
    for row in rows:
        name = {"random": "Random", "hsrl": "HSRL"}.get(row["method"], "Fine")
        assert f"| {name} | {row['total_reward']:.2f} [n/a] | {row['depth']:.2f} [n/a] |" in table
        assert f"{row['total_reward']:.2f} [n/a]" in first.output
    assert len(list((out / "runs").glob("*.json"))) == 3
    for name in ("table2.md", "table2.csv", "results.jsonl", "learning_curves.png", "learning_curves_seconds.png"):
        assert f"written: {Path('out') / name}" in first.output
        assert (out / name).stat().st_size > 100
    assert "Synthetic data, no real user" in first.output


def test_a_second_call_goes_on(first: Call, arguments: list[str], folder: Path) -> None:
    """Of four runs two are there, one of them cut in half: that one and the missing ones are done."""
    runs = folder / "out" / "runs"
    (kept,) = runs.glob("*-hsrl-seed0-*.json")
    (half,) = runs.glob("*-random-seed0-*.json")
    whole = json.loads(half.read_text())
    half.write_text(half.read_text()[:100])
    stamp = kept.stat().st_mtime_ns
    arguments = [*arguments, "--jobs=1"]
    second = call(arguments)
    assert second.status == 0
    assert second.errors == ""
    lines = second.output.splitlines()
    assert str(half.relative_to(folder)) in lines[0]
    assert "cannot be used" in lines[0]
    assert lines[1] == f"4 runs: 1 found finished in {Path('out/runs')}, 3 to do on 1 process."
    assert kept.stat().st_mtime_ns == stamp
    assert json.loads(half.read_text())["total_reward"] == whole["total_reward"]  # and the same numbers come out
    third = call(arguments)
    assert third.status == 0
    assert third.output.splitlines()[0] == f"4 runs: 4 found finished in {Path('out/runs')}, 0 to do."
    assert not [line for line in third.output.splitlines() if line.startswith("[")]
    assert kept.stat().st_mtime_ns == stamp
    table = (folder / "out" / "table2.md").read_text()
    assert "Fine" not in table  # was not asked for this time
    assert "2 seeds (0, 1)" in table


def test_rows_of_other_code_are_told(first: Call, arguments: list[str], folder: Path, tmp_path: Path) -> None:
    (kept,) = (folder / "out" / "runs").glob("*-hsrl-seed0-*.json")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / kept.name).write_text(json.dumps({**json.loads(kept.read_text()), "code": "older"}))
    again = [*arguments, "--methods=hsrl", "--seeds=0", f"--out={tmp_path}"]
    found = call(again)
    assert found.status == 0
    assert "1 of the finished runs come from another state of hsrl_gym or hsrl_agent" in found.output


def test_ctrl_c_keeps_what_is_finished(arguments: list[str], folder: Path, tmp_path: Path) -> None:
    """The run that never ends is stopped with its process; the one before it is there when the command is repeated."""
    changes = [
        "--methods=random",
        "--agent=agents_of_mine:Endless",
        "--seeds=0",
        "--jobs=1",
        "--steps=32",
        f"--out={tmp_path}",
    ]
    command = [sys.executable, str(ROOT / "benchmarks" / "compare.py"), *arguments, *changes]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True
    )
    try:
        end = time.monotonic() + 60
        while not (folder / "endless_began").exists() and time.monotonic() < end:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        output, errors = process.communicate(timeout=30)
        end = time.monotonic() + 10
        while time.monotonic() < end and is_alive(process.pid):
            time.sleep(0.05)
        assert not is_alive(process.pid), "a worker has outlived compare.py"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert f"[1/2] {ENV} random seed 0: Total Reward" in output
    assert errors == (
        f"compare.py: interrupted; 1 of 2 runs are finished and kept in {tmp_path / 'runs'}, the same command goes on "
        "from here.\n"
    )
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--methods", "hrsl"], "unknown method 'hrsl'; did you mean hsrl"),
        (["--envs", "HSRL-RL4S-v0"], "unknown environment 'HSRL-RL4S-v0'; did you mean HSRL-RL4RS-v0"),
        (["--preset", "quik"], "unknown preset 'quik'; did you mean quick"),
        (["--preset", "methods"], "unknown preset 'methods'"),
        (["--steps", "many"], "got --steps many, expected a whole number of at least 1"),
        (["--steps", "-5"], "got --steps -5, expected a whole number of at least 1"),
        (["--steps", "0"], "got --steps 0, expected"),
        (["--steps", "1e6"], "got --steps 1e6, expected"),
        (["--episodes", "0"], "got --episodes 0, expected"),
        (["--jobs", "0"], "got --jobs 0, expected"),
        (["--seeds", "0,x"], "got --seeds '0,x', expected whole numbers separated by commas"),
        (["--seeds", "-1"], "got --seeds '-1', expected whole numbers"),
        (["--seeds", "0,,1"], "without empty places"),
        (["--seeds", "99999999"], "got seed 99999999, expected 0 to"),
        (["--bundle", ENV], f"got --bundle '{ENV}', expected ENV=VALUE"),
        (["--bundle", "HSRL-ML1M-v0=x"], "unknown environment in --bundle 'HSRL-ML1M-v0'; did you mean HSRL-RL4RS-v0"),
        (["--bundle", f"{ENV}=x"], f"got --bundle twice for {ENV}"),
        (["--reward", f"{ENV}=sweet"], "unknown reward rule 'sweet'; did you mean sweet_point"),
        (["--device", "tpu"], "got --device tpu, expected cpu, cuda or cuda:N"),
        (["--device", "cuda:99"], "got --device cuda:99, but torch sees"),
        (["--agent", "nowhere_at_all:X"], "no module 'nowhere_at_all'"),
        (["--out", __file__], "which is a file, expected a folder"),
        (["--out", f"{__file__}/sub"], "Not a directory"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate; see --help"),
    ],
)
def test_a_call_that_cannot_be_run_gets_one_line(arguments: list[str], changes: list[str], message: str) -> None:
    got = call([*arguments, *changes])
    assert got.status == 2
    assert message in got.errors
    assert got.errors.count("\n") == 1
    assert got.errors.startswith("compare.py: ")
    assert "[" not in got.output  # nothing was run


def test_a_folder_that_is_no_bundle_is_refused_before_anything_runs(tmp_path: Path) -> None:
    got = call([f"--envs={ENV}", f"--bundle={ENV}={tmp_path}", "--out", str(tmp_path / "out")])
    assert got.status == 2
    assert f"{tmp_path}: no bundle.yaml here" in got.errors
    assert not (tmp_path / "out").exists()


def test_options_win_over_the_preset(tiny_bundle_folder: Path) -> None:
    bundle = f"--bundle={ENV}={tiny_bundle_folder}"
    quick = make_plan([f"--envs={ENV}", bundle, "--jobs=3"])
    numbers = read_preset("quick")
    assert [(spec.method, spec.seed) for spec in quick.specs] == [
        (method, seed)
        for method in LABELS  # in the order of the tables
        if method in numbers["methods"]
        for seed in numbers["seeds"]
    ]
    assert {spec.steps for spec in quick.specs} == {numbers["steps"]}
    assert {spec.n_eval_episodes for spec in quick.specs} == {numbers["episodes"]}
    assert (quick.jobs, quick.threads) == (3, 1) or quick.threads > 1
    full = make_plan(
        [f"--envs={ENV}", bundle, "--preset=full", "--seeds=3", "--methods=a2c", "--reward", f"{ENV}=mean_with_cost"]
    )
    (only,) = full.specs
    assert (only.steps, only.seed, only.env_kwargs) == (1_600_000, 3, {"reward": "mean_with_cost"})
    assert full.jobs == 1
    assert full.seeds() == {ENV: [3]}
    assert full.notes == ()
    (note,) = make_plan([f"--envs={ENV}", "--methods=random"]).notes
    assert note.startswith(f"{ENV}: no --bundle was named, so its users were learned from SyntheticWorld")
    assert "synthetic data, no real user" in note


def test_longest_runs_cost_most(tiny_bundle_folder: Path) -> None:
    costs = [cost(RunSpec(ENV, method, 0, 32_000, str(tiny_bundle_folder))) for method in ("hsrl", "a2c", "random")]
    assert costs == sorted(costs, reverse=True)
    more = cost(RunSpec(ENV, "hsrl", 0, 64_000, str(tiny_bundle_folder)))
    assert more == pytest.approx(2 * costs[0])


def test_bars_of_a_terminal(tiny_bundle_folder: Path) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=30, _environ={"TERM": "xterm"})
    spec = RunSpec(ENV, "hsrl", 0, 1000, str(tiny_bundle_folder))
    other = RunSpec(ENV, "a2c", 0, 1000, str(tiny_bundle_folder))
    with make_display(console, {spec.name: 3.0, other.name: 1.0}) as display:
        assert isinstance(display, BarDisplay)
        display.started(spec)
        display.started(other)
        display.stepped(spec, 0)
        display.stepped(spec, 500)
        assert display.bars.tasks[0].percentage == pytest.approx(100 * 1.5 / 4)
        display.ended(Ended(other, message="no luck"))
        assert display.bars.tasks[0].percentage == pytest.approx(100 * 2.5 / 4)
        display.bars.refresh()
    shown = file.getvalue()
    assert "1 of 2 runs" in shown
    assert "left" in shown
    assert "user-steps/s" in shown
    assert f"[1/2] {other.name}: FAILED: no luck" in shown
    plain = make_display(Console(file=io.StringIO()), {spec.name: 1.0})
    assert type(plain) is LineDisplay


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0.4, 61, 3599.6, 7261)] == ["0:00", "1:01", "1:00:00", "2:01:01"]


def test_errors_on_one_line() -> None:
    assert one_line(HsrlError("got 3,\nexpected 4.")) == "got 3, expected 4."
    assert one_line(KeyError("x")) == "KeyError: 'x'"
    assert one_line(MemoryError()) == "MemoryError"
