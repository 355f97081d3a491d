"""Tuning: the trials it makes, what it may see, what it writes; nearly all with a made-up objective."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import yaml

import tune
import tune_trial
from configuration import read_settings
from hsrl_gym.errors import HsrlError
from search_space import SEARCH_FILE
from spec import EVAL_SEEDS, RunSpec, eval_seed
from tune_trial import Outcome, make_agent, score, try_score, tune_seed

ENV = "HSRL-RL4RS-v0"
METHODS_YAML = """\
# What stands above stays.
random: {}
a2c:
  # why it is so
  default: {gamma: 0.8}

hsrl: {}  # nothing yet
"""
SEARCH_YAML = """\
a2c:
  learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}
  n_steps: {low: 1, high: 4}
hsrl:
  learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}
  batch_size: {choices: [64, 128, 256]}
"""


def peak(spec: RunSpec) -> float:
    """Return what is best at a learning rate of 5e-4, a little better with an odd seed."""
    return 10.0 - abs(math.log(spec.settings["learning_rate"] / 5e-4)) + 0.1 * (spec.seed % 2)


class FakeSlot:
    """A process that answers at once, with what `objective` says."""

    objective: Callable[[RunSpec], float] = staticmethod(peak)
    seen: list[RunSpec]
    interrupt_after = 10_000

    def __init__(self, out: Path, threads: int) -> None: ...

    def submit_trial(self, spec: RunSpec) -> Future[Outcome]:
        if len(type(self).seen) >= type(self).interrupt_after:
            raise KeyboardInterrupt
        type(self).seen.append(spec)
        future: Future[Outcome] = Future()
        try:
            future.set_result(Outcome(spec, type(self).objective(spec), 1.0))
        except ArithmeticError as error:
            future.set_result(Outcome(spec, None, 1.0, f"it said {error}"))
        return future

    def close(self) -> None: ...


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> type[FakeSlot]:
    monkeypatch.setattr(tune_trial, "TrialSlot", FakeSlot)
    monkeypatch.setattr(FakeSlot, "seen", [], raising=False)
    monkeypatch.setattr(FakeSlot, "interrupt_after", 10_000)
    monkeypatch.setattr(FakeSlot, "objective", staticmethod(peak))
    return FakeSlot


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    (folder / "tuned").mkdir(parents=True)
    (folder / "methods.yaml").write_text(METHODS_YAML)
    (folder / SEARCH_FILE).write_text(SEARCH_YAML)
    return folder


@pytest.fixture
def call(configs: Path, tiny_bundle_folder: Path, tmp_path: Path) -> list[str]:
    sizes = {"trials": 8, "steps": 64, "seeds": "100,101", "episodes": 10, "n-envs": 4, "jobs": 2}
    small = [f"--{name}={value}" for name, value in sizes.items()]
    return [
        f"--env={ENV}",
        f"--bundle={tiny_bundle_folder}",
        *small,
        f"--configs={configs}",
        f"--out={tmp_path / 'out'}",
    ]


@pytest.fixture
def spec(tiny_bundle_folder: Path) -> RunSpec:
    return RunSpec(ENV, "a2c", 100, 32, str(tiny_bundle_folder), n_envs=4, n_eval_episodes=10)


def record_of(configs: Path, method: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((configs / "tuned" / f"{ENV}-tiny-{method}.yaml").read_text())
    return found


def test_finds_what_is_better_and_writes_it_down(
    call: list[str], slots: type[FakeSlot], configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main(call) == 0
    assert len(slots.seen) == 2 * 8 * 2  # methods, trials, seeds: the same for both
    for method in ("a2c", "hsrl"):
        own = [one for one in slots.seen if one.method == method]
        assert {one.steps for one in own} == {64}
        assert [one.seed for one in own[:2]] == [100, 101]
        record = record_of(configs, method)
        assert len(record["trials"]) == 8
        first, best = record["trials"][0], max(record["trials"], key=lambda trial: trial["total_reward"])
        assert first["settings"]["learning_rate"] == {"a2c": 1e-3, "hsrl": 5e-4}[method]
        assert first["by_seed"][101] - first["by_seed"][100] == pytest.approx(0.1)
        assert first["total_reward"] == pytest.approx(sum(first["by_seed"].values()) / 2)
        assert record["total_reward"] == {"chosen": best["total_reward"], "before": first["total_reward"]}
        assert best["total_reward"] >= first["total_reward"] + (method == "a2c") * 0.1  # hsrl has the best as it is
        assert (record["simulator"], record["steps"], record["seeds"]) == ("train", 64, [100, 101])
        assert record["command"].startswith(f"python benchmarks/tune.py --env={ENV}")
        settings = read_settings(configs / "methods.yaml")[method][f"{ENV}/tiny"]
        assert settings == best["settings"] == {k: v for k, v in record["chosen"].items() if k != "trial"}
    assert slots.seen[0].settings == {"gamma": 0.8, "learning_rate": 1e-3, "n_steps": 1}  # what methods.yaml says stays
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert len(lines) == 16
    assert lines[0].startswith("[a2c 1/8] Total Reward 9.36 (9.31, 9.41) * learning_rate=0.001, n_steps=1 (2 s)")


def test_what_the_method_has_wins_if_nothing_beats_it(call: list[str], slots: type[FakeSlot], configs: Path) -> None:
    def spoilt(spec: RunSpec) -> float:
        return 5.0 if spec.settings["learning_rate"] == 1e-3 else 1.0

    slots.objective = staticmethod(spoilt)
    assert tune.main([*call, "--methods=hsrl"]) == 0
    assert record_of(configs, "hsrl")["chosen"] == {"trial": 0, "learning_rate": 5e-4, "batch_size": 256}


def test_goes_on_as_if_never_interrupted(call: list[str], slots: type[FakeSlot], configs: Path, tmp_path: Path) -> None:
    assert tune.main([*call, "--methods=hsrl", "--jobs=1"]) == 0
    whole = record_of(configs, "hsrl")["trials"]
    (configs / "methods.yaml").write_text(METHODS_YAML)
    slots.interrupt_after, slots.seen = 13, []
    again = [*call, "--methods=hsrl", f"--out={tmp_path / 'other'}", "--jobs=2"]
    assert tune.main(again) == 130
    assert (configs / "methods.yaml").read_text() == METHODS_YAML
    slots.interrupt_after, slots.seen = 10_000, []
    assert tune.main(again) == 0
    assert len(slots.seen) == 4  # the two trials that were not whole
    assert record_of(configs, "hsrl")["trials"] == whole
    slots.seen = []
    assert tune.main(again) == 0
    assert slots.seen == []
    assert tune.main([*again, "--trials=9"]) == 0  # though methods.yaml has other values now
    assert len(slots.seen) == 2
    assert record_of(configs, "hsrl")["trials"][:8] == whole


def test_what_the_method_has_is_tried_first_even_after_an_interruption(
    call: list[str], slots: type[FakeSlot], configs: Path
) -> None:
    slots.interrupt_after = 1
    assert tune.main([*call, "--methods=hsrl", "--jobs=1", "--trials=3"]) == 130
    slots.interrupt_after, slots.seen = 10_000, []
    assert tune.main([*call, "--methods=hsrl", "--jobs=1", "--trials=3"]) == 0
    assert len(slots.seen) == 6
    assert record_of(configs, "hsrl")["trials"][0]["settings"] == {"learning_rate": 5e-4, "batch_size": 256}


def test_what_was_chosen_on_a_bundle_is_where_the_next_call_starts(
    call: list[str], slots: type[FakeSlot], configs: Path
) -> None:
    (configs / "methods.yaml").write_text(f"a2c:\n  {ENV}/tiny: {{learning_rate: 0.0005}}\n")
    assert tune.main([*call, "--methods=a2c", "--trials=1"]) == 0
    assert slots.seen[0].settings["learning_rate"] == 5e-4
    assert read_settings(configs / "methods.yaml")["a2c"] == {f"{ENV}/tiny": {"learning_rate": 5e-4, "n_steps": 1}}


def test_another_reward_rule_has_settings_of_its_own(call: list[str], slots: type[FakeSlot], configs: Path) -> None:
    assert tune.main([*call, "--methods=a2c", "--trials=1", "--reward=mean_with_cost"]) == 0
    assert slots.seen[0].env_kwargs == {"reward": "mean_with_cost"}
    assert set(read_settings(configs / "methods.yaml")["a2c"]) == {"default", f"{ENV}/tiny/mean_with_cost"}
    assert (configs / "tuned" / f"{ENV}-tiny-mean_with_cost-a2c.yaml").is_file()
    assert tune.main([*call, "--methods=a2c", "--trials=1", "--reward=sweet_point"]) == 0  # the environment's own
    assert f"{ENV}/tiny" in read_settings(configs / "methods.yaml")["a2c"]


def test_what_was_chosen_elsewhere_is_not_drawn_again(call: list[str], slots: type[FakeSlot], configs: Path) -> None:
    assert tune.main([*call, "--methods=a2c", "--trials=6"]) == 0
    elsewhere = [one.settings["learning_rate"] for one in slots.seen]
    slots.seen = []
    assert tune.main([*call, "--methods=a2c", "--trials=6", "--reward=mean_with_cost"]) == 0
    here = [one.settings["learning_rate"] for one in slots.seen]
    assert set(here[2:]).isdisjoint(elsewhere[2:])  # the first trial, two seeds of it, is what the method has


def test_other_steps_are_another_study(call: list[str], slots: type[FakeSlot]) -> None:
    assert tune.main([*call, "--methods=a2c", "--trials=2"]) == 0
    assert tune.main([*call, "--methods=a2c", "--trials=2", "--steps=65"]) == 0
    assert len(slots.seen) == 8


def test_a_trial_that_fails_counts_and_does_not_win(
    call: list[str], slots: type[FakeSlot], configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverges(spec: RunSpec) -> float:
        if spec.settings["learning_rate"] > 8e-4 and spec.seed == 101:
            raise ArithmeticError("nan")
        return 100 * spec.settings["learning_rate"]

    slots.objective = staticmethod(diverges)
    assert tune.main([*call, "--methods=a2c"]) == 0
    trials = record_of(configs, "a2c")["trials"]
    assert len(trials) == 8
    assert trials[0]["failed"] == "it said nan"
    assert "total_reward" not in trials[0]
    assert list(trials[0]["by_seed"]) == [100]
    assert record_of(configs, "a2c")["chosen"]["learning_rate"] <= 8e-4
    assert "[a2c 1/8] FAILED: it said nan learning_rate=0.001" in capsys.readouterr().out


def test_nothing_is_chosen_if_all_fail(
    call: list[str], slots: type[FakeSlot], configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(spec: RunSpec) -> float:
        raise ArithmeticError("no")

    slots.objective = staticmethod(fails)
    assert tune.main([*call, "--methods=a2c", "--trials=2"]) == 1
    assert (configs / "methods.yaml").read_text() == METHODS_YAML
    assert "tune.py: a2c: every trial failed; nothing was chosen" in capsys.readouterr().err


def test_a_dry_run_tries_nothing(
    call: list[str], slots: type[FakeSlot], configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main([*call, "--dry-run"]) == 0
    assert slots.seen == []
    assert not (tmp_path / "out").exists()
    output = capsys.readouterr().out
    assert "2 methods, 8 trials each, 2 seeds each, 64 user-steps: 32 runs on 2 processes" in output
    assert "hsrl: batch_size: 64 | 128 | 256, now 256" in output
    assert "a2c: learning_rate: 0.0001 .. 0.003 (log), now 0.001" in output


def test_a_real_run(call: list[str], configs: Path) -> None:
    """Two processes learn for real, and what they say can be had again."""
    assert tune.main([*call, "--methods=a2c", "--trials=2"]) == 0
    record = record_of(configs, "a2c")
    assert [set(trial["by_seed"]) for trial in record["trials"]] == [{100, 101}] * 2
    bundle = next(one for one in call if one.startswith("--bundle=")).removeprefix("--bundle=")
    settings = {"gamma": 0.8, **record["trials"][1]["settings"]}
    one = RunSpec(ENV, "a2c", 101, 64, bundle, n_envs=4, n_eval_episodes=10, settings=settings)
    assert score(one) == pytest.approx(record["trials"][1]["by_seed"][101])


def test_the_eval_user_stays_unseen(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, make_vec, seeds = [], gymnasium.make_vec, []
    evaluate = tune_trial.evaluate

    def spy(*args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs["simulator"])
        return make_vec(*args, **kwargs)

    def evaluated(agent: Any, envs: Any, n: int, seed: int) -> Any:
        seeds.append(seed)
        return evaluate(agent, envs, n, seed)

    monkeypatch.setattr(gymnasium, "make_vec", spy)
    monkeypatch.setattr(tune_trial, "evaluate", evaluated)
    score(spec)
    assert asked == ["train", "train"]
    assert seeds == [tune_seed(spec)]
    assert tune_seed(replace(spec, seed=0)) > eval_seed(replace(spec, seed=40_000)) > EVAL_SEEDS


def test_a_run_that_fails_says_why(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    end = try_score(replace(spec, settings={"gama": 1}))
    assert end.value is None
    assert end.message.startswith("unknown setting of 'a2c' 'gama'")
    monkeypatch.setattr(tune_trial, "score", lambda spec: float("nan"))
    assert try_score(spec).message == "its Total Reward is nan"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--trials=0"], "got --trials 0, expected a whole number of at least 1"),
        (["--steps=many"], "got --steps many, expected a whole number"),
        (["--seeds=a"], "got --seeds 'a', expected whole numbers"),
        (["--methods=hrsl"], "unknown method 'hrsl'; did you mean hsrl"),
        (["--methods=random"], "says nothing of 'random', expected one of a2c, hsrl"),
        (["--env=HSRL-RL4R-v0"], "unknown environment 'HSRL-RL4R-v0'"),
        (["--reward=sweet"], "unknown reward rule 'sweet'"),
        (["--bundle=nowhere"], "nowhere"),
        (["--configs=nowhere"], "nowhere"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate; see --help"),
    ],
)
def test_a_call_that_cannot_be_run_gets_one_line(
    call: list[str], changes: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main([*call, *changes]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert errors.startswith("tune.py: ")


def test_refuses_a_folder_that_no_section_can_be_named_after(
    call: list[str], tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(tiny_bundle_folder, tmp_path / "two words")
    assert tune.main([*call, f"--bundle={copy}"]) == 2
    assert "or ENV/NAME/REWARD, the name without blanks and signs" in capsys.readouterr().err


def test_refuses_an_environment_that_has_one_user(spec: RunSpec) -> None:
    worlds = [name for name, one in gymnasium.registry.items() if "simulator" in one.kwargs]
    for name in worlds:
        with pytest.raises(HsrlError, match="to learn from and to be scored by; tune another environment"):
            make_agent(replace(spec, env=name, bundle=None))
