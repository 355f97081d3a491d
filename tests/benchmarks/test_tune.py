"""Tuning: the trials it makes, what it may see, what it writes; nearly all with a made-up objective."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import optuna
import pytest
from optuna.trial import TrialState

import trials
import tune
from hsrl_agent.evaluation import pool, run
from hsrl_agent.evaluation.settings import read_tuned
from hsrl_agent.evaluation.spec import EVAL_SEEDS, RunSpec
from hsrl_agent.evaluation.tasks import bundle_digest
from hsrl_agent.evaluation.workers import Ended
from search import Choice
from trials import PROTOCOL, MethodStudy, learn_and_score_on_train, open_storage, tune_seed

ENV = "HSRL-RL4RS-v0"
RECORDED = Path(__file__).parents[2] / "benchmarks" / "results" / "tuning.journal"
SEARCH_YAML = """\
a2c:
  learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}
  n_steps: {low: 1, high: 4}
hsrl:
  learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}
  batch_size: {choices: [64, 128, 256]}
"""


def peak(spec: RunSpec, seed: int) -> float:
    """Return what is best at a learning rate of 5e-4, a little better with an odd seed."""
    return 10.0 - abs(math.log(spec.settings["learning_rate"] / 5e-4)) + 0.1 * (seed % 2)


class FakePool:
    """Stands in for `run_all`: answers at once, with what `objective` says."""

    def __init__(self) -> None:
        self.objective: Callable[[RunSpec, int], float] = peak
        self.seen: list[RunSpec] = []
        self.interrupt_after = 10_000

    def __call__(self, next_spec: Callable[[], RunSpec | None], jobs: int, watcher: Any, backend: Any) -> None:
        running: list[RunSpec] = []
        while True:
            while len(running) < jobs and (spec := next_spec()) is not None:
                if len(self.seen) >= self.interrupt_after:
                    raise KeyboardInterrupt
                self.seen.append(spec)
                running.append(spec)
                watcher.started(spec)
            if not running:
                return
            watcher.ended(self.end_of(running.pop()))  # the last one first: the order must not matter

    def end_of(self, spec: RunSpec) -> Ended:
        try:
            rewards = {str(seed): self.objective(spec, seed) for seed in spec.protocol_kwargs["seeds"]}
        except ArithmeticError as error:
            return Ended(spec, message=f"it said {error}")
        return Ended(spec, SimpleNamespace(extra=rewards))  # type: ignore[arg-type]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    made = FakePool()
    monkeypatch.setattr(pool, "run_all", made)
    return made


@pytest.fixture
def call(tiny_bundle_folder: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "search.yaml").write_text(SEARCH_YAML)
    sizes = {"trials": 8, "steps": 64, "seeds": "100,101", "episodes": 10, "n-envs": 4, "jobs": 2}
    files = {"search": tmp_path / "search.yaml", "journal": tmp_path / "journal", "write": tmp_path / "mine.yaml"}
    options = {"env": ENV, "bundle": tiny_bundle_folder, **sizes, **files}
    return [f"--{name}={value}" for name, value in options.items()]


def trials_of(journal: Path, method: str) -> list[optuna.trial.FrozenTrial]:
    """Return the finished trials of the only study of a method, through Optuna alone."""
    storage = open_storage(journal)
    (name,) = [name for name in optuna.get_all_study_names(storage) if name.split()[-2] == method]
    found = optuna.load_study(study_name=name, storage=storage).trials
    return [trial for trial in found if "seconds" in trial.user_attrs]


def tried(journal: Path, method: str) -> list[Any]:
    return [(trial.user_attrs["settings"], trial.user_attrs["values"]) for trial in trials_of(journal, method)]


def test_finds_what_is_better_and_writes_it_down(
    call: list[str], fake: FakePool, tmp_path: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main(call) == 0
    assert len(fake.seen) == 2 * 8  # methods, trials: the same for both
    assert {(spec.steps, spec.protocol) for spec in fake.seen} == {(64, PROTOCOL)}
    written = read_tuned(tmp_path / "mine.yaml")
    assert (written.name, written.bundle) == ("mine", bundle_digest(tiny_bundle_folder))
    assert written.reward == "sweet_point"
    for method in ("a2c", "hsrl"):
        found = trials_of(tmp_path / "journal", method)
        first, best = found[0], max(found, key=lambda trial: trial.value or 0.0)
        assert first.user_attrs["settings"]["learning_rate"] == {"a2c": 1e-3, "hsrl": 5e-4}[method]
        values = first.user_attrs["values"]
        assert values["101"] - values["100"] == pytest.approx(0.1)
        assert first.value == pytest.approx(sum(values.values()) / 2)
        assert best.value >= first.value + (method == "a2c") * 0.1  # hsrl has the best as it is
        assert written.methods[method] == best.user_attrs["settings"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert len(lines) == 16
    first_line = "[a2c 1/8] Total Reward 9.36 (9.31, 9.41) * learning_rate=0.001, n_steps=1 ("  # then the seconds
    assert any(line.startswith(first_line) for line in lines)


def test_the_journal_says_how_a_study_was_made(call: list[str], fake: FakePool, tmp_path: Path) -> None:
    assert tune.main([*call, "--methods=a2c", "--trials=1"]) == 0
    storage = open_storage(tmp_path / "journal")
    (name,) = optuna.get_all_study_names(storage)
    facts = optuna.load_study(study_name=name, storage=storage).user_attrs
    expected = {"env": ENV, "method": "a2c", "steps": 64, "seeds": [100, 101], "simulator": "train", "episodes": 10}
    assert expected.items() <= facts.items()
    assert facts["command"].startswith(f"python benchmarks/tune.py --env={ENV}")
    assert {"bundle", "commit", "code", "versions", "machine", "date"} <= set(facts)


def test_what_the_method_has_wins_if_nothing_beats_it(call: list[str], fake: FakePool, tmp_path: Path) -> None:
    fake.objective = lambda spec, seed: 5.0 if spec.settings["learning_rate"] == 5e-4 else 1.0
    assert tune.main([*call, "--methods=hsrl"]) == 0
    assert read_tuned(tmp_path / "mine.yaml").methods["hsrl"] == {"learning_rate": 5e-4, "batch_size": 256}


def test_goes_on_as_if_never_interrupted(call: list[str], fake: FakePool, tmp_path: Path) -> None:
    assert tune.main([*call, "--methods=hsrl", "--jobs=1"]) == 0
    whole = tried(tmp_path / "journal", "hsrl")
    again = [*call, "--methods=hsrl", f"--journal={tmp_path / 'other'}", "--settings=none"]
    (tmp_path / "mine.yaml").unlink()
    fake.interrupt_after, fake.seen = 3, []
    assert tune.main(again) == 130
    assert not (tmp_path / "mine.yaml").exists()
    fake.interrupt_after, fake.seen = 10_000, []
    assert tune.main(again) == 0
    assert len(fake.seen) == 5
    assert tried(tmp_path / "other", "hsrl") == whole
    fake.seen = []
    assert tune.main(again) == 0
    assert fake.seen == []
    assert tune.main([*again, "--trials=9", f"--settings={tmp_path / 'mine.yaml'}"]) == 0  # from other settings
    assert len(fake.seen) == 1
    assert tried(tmp_path / "other", "hsrl")[:8] == whole


def test_what_the_method_has_is_tried_first_even_after_an_interruption(
    call: list[str], fake: FakePool, tmp_path: Path
) -> None:
    fake.interrupt_after = 0
    assert tune.main([*call, "--methods=hsrl", "--trials=2"]) == 130
    fake.interrupt_after = 10_000
    assert tune.main([*call, "--methods=hsrl", "--trials=2"]) == 0
    assert fake.seen[0].settings == {"learning_rate": 5e-4, "batch_size": 256}
    assert len(fake.seen) == 2


def test_settings_outside_the_space_stay(call: list[str], fake: FakePool, tmp_path: Path) -> None:
    """They are run, and written beside what was chosen; what other methods have in the file is kept."""
    mine = tmp_path / "mine.yaml"
    bundle = next(one for one in call if one.startswith("--bundle=")).removeprefix("--bundle=")
    mine.write_text(f"bundle: {bundle_digest(Path(bundle))}\nmethods:\n  a2c: {{gamma: 0.8}}\n  td3: {{tau: 0.5}}\n")
    assert tune.main([*call, "--methods=a2c", "--trials=1", f"--settings={mine}"]) == 0
    assert fake.seen[0].settings == {"gamma": 0.8, "learning_rate": 1e-3, "n_steps": 1}
    written = read_tuned(mine).methods
    assert written == {"a2c": {"gamma": 0.8, "learning_rate": 1e-3, "n_steps": 1}, "td3": {"tau": 0.5}}


def test_another_reward_rule_draws_other_settings(call: list[str], fake: FakePool, tmp_path: Path) -> None:
    assert tune.main([*call, "--methods=a2c", "--trials=6"]) == 0
    elsewhere = [spec.settings["learning_rate"] for spec in fake.seen]
    fake.seen = []
    other = ["--reward=mean_with_cost", "--settings=none", f"--write={tmp_path / 'other.yaml'}"]
    assert tune.main([*call, "--methods=a2c", "--trials=6", *other]) == 0
    assert fake.seen[0].env_kwargs == {"reward": "mean_with_cost"}
    here = [spec.settings["learning_rate"] for spec in fake.seen]
    assert set(here[1:]).isdisjoint(elsewhere[1:])  # the first trial is what the method has


def test_a_renamed_bundle_draws_the_same_settings(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """Arguments of the environment may be of any type."""
    copied = shutil.copytree(tiny_bundle_folder, tmp_path / "renamed")
    space = {"learning_rate": Choice(optuna.distributions.FloatDistribution(1e-4, 1e-2))}
    drawn = []
    for folder, cost in ((tiny_bundle_folder, 0.1), (copied, 0.1), (copied, 0.2)):
        spec = RunSpec("t", ENV, "a2c", 0, 8, str(folder), env_kwargs={"miss_cost": cost})
        study = MethodStudy(spec, space, {"learning_rate": 1e-3}, 2, optuna.storages.InMemoryStorage(), {})
        study.next_run()
        study.record(Ended(spec, message="not run"), 0.0)
        second = study.next_run()
        assert second is not None
        drawn.append(second.settings["learning_rate"])
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_trial_that_fails_counts_and_does_not_win(
    call: list[str], fake: FakePool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverges(spec: RunSpec, seed: int) -> float:
        if spec.settings["learning_rate"] > 8e-4 and seed == 101:
            raise ArithmeticError("nan")
        return 100 * spec.settings["learning_rate"]

    fake.objective = diverges
    assert tune.main([*call, "--methods=a2c"]) == 0
    found = trials_of(tmp_path / "journal", "a2c")
    assert len(found) == 8
    assert (found[0].state, found[0].user_attrs["message"]) == (TrialState.FAIL, "it said nan")
    assert read_tuned(tmp_path / "mine.yaml").methods["a2c"]["learning_rate"] <= 8e-4
    assert "[a2c 1/8] FAILED: it said nan learning_rate=0.001" in capsys.readouterr().out


def test_nothing_is_chosen_if_all_fail(
    call: list[str], fake: FakePool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(spec: RunSpec, seed: int) -> float:
        raise ArithmeticError("no")

    fake.objective = fails
    assert tune.main([*call, "--methods=a2c", "--trials=2"]) == 1
    assert not (tmp_path / "mine.yaml").exists()
    assert "tune.py: a2c: every trial failed; nothing was chosen" in capsys.readouterr().err


def test_a_dry_run_tries_nothing(
    call: list[str], fake: FakePool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main([*call, "--dry-run"]) == 0
    assert fake.seen == []
    assert not (tmp_path / "journal").exists()
    output = capsys.readouterr().out
    assert "2 methods, 8 trials each, 2 seeds each, 64 user-steps, 2 processes" in output
    assert "hsrl: batch_size: 64 | 128 | 256, now 256" in output
    assert "a2c: learning_rate: 0.0001 .. 0.003 (log), now 0.001" in output


@pytest.mark.slow
def test_a_real_run(call: list[str], tmp_path: Path, tiny_bundle_folder: Path) -> None:
    """A process of its own learns for real, and what it says can be had again."""
    assert tune.main([*call, "--methods=a2c", "--trials=2"]) == 0
    settings, values = tried(tmp_path / "journal", "a2c")[1]
    spec = RunSpec(
        "tiny", ENV, "a2c", 0, 64, str(tiny_bundle_folder), 4, 10, settings=settings, protocol_kwargs={"seeds": [101]}
    )
    with run.one_thread():
        assert learn_and_score_on_train(spec, run.no_progress).extra == pytest.approx({"101": values["101"]})


def test_the_eval_user_stays_unseen(tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, make_vec, seeds = [], gymnasium.make_vec, []
    evaluate = trials.evaluate

    def spy(*args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs["simulator"])
        return make_vec(*args, **kwargs)

    def evaluated(agent: Any, envs: Any, n: int, seed: int) -> Any:
        seeds.append(seed)
        return evaluate(agent, envs, n, seed)

    monkeypatch.setattr(gymnasium, "make_vec", spy)
    monkeypatch.setattr(trials, "evaluate", evaluated)
    spec = RunSpec("t", ENV, "a2c", 0, 8, str(tiny_bundle_folder), 4, 10, protocol_kwargs={"seeds": [100, 101]})
    result = learn_and_score_on_train(spec, run.no_progress)
    assert set(asked) == {"train"}
    assert seeds == [tune_seed(replace(spec, seed=seed)) for seed in (100, 101)]
    assert list(result.extra) == ["100", "101"]
    assert tune_seed(replace(spec, seed=0)) > replace(spec, seed=40_000).eval_seed > EVAL_SEEDS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--trials=0"], "--trials: got 0, expected a whole number of at least 1"),
        (["--seeds=a"], "--seeds: got 'a', expected whole numbers"),
        (["--methods=hrsl"], "unknown method 'hrsl'; did you mean hsrl"),
        (["--methods=random"], "no space for 'random', expected one of a2c, hsrl"),
        (["--env=HSRL-RL4R-v0"], "unknown environment 'HSRL-RL4R-v0'"),
        (["--env=HSRL-World-v0"], "is learned from and scored by one user, 'true'; tune another environment"),
        (["--reward=sweet"], "--reward: invalid choice: 'sweet'"),
        (["--bundle=nowhere"], "nowhere"),
        (["--search=nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--settings=nobody"], "unknown settings 'nobody'"),
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


def test_settings_of_another_bundle_are_not_overwritten(
    call: list[str], fake: FakePool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = "bundle: another\nmethods: {a2c: {gamma: 0.8}}\n"
    (tmp_path / "mine.yaml").write_text(before)
    assert tune.main(call) == 2
    assert "tuned on another bundle; name another file with --write" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text() == before
    assert fake.seen == []


def test_settings_under_another_rule_are_not_overwritten(
    call: list[str], fake: FakePool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main([*call, "--methods=a2c", "--trials=1"]) == 0
    before = (tmp_path / "mine.yaml").read_text()
    assert tune.main([*call, "--methods=a2c", "--trials=1", "--reward=mean_with_cost"]) == 2
    assert "tuned under another reward rule; name another file with --write" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text() == before


def test_optuna_reads_the_trials_behind_the_packaged_settings() -> None:
    """The best trial of each study is what the packaged settings have."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    storage = open_storage(RECORDED)
    tuned = {
        name: read_tuned(RECORDED.parents[2] / f"hsrl_agent/evaluation/tuned/{name}.yaml") for name in ("rl4rs", "ml1m")
    }
    checked = 0
    for study_name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=study_name, storage=storage)
        where, *_, method = study_name.split()
        assert len(study.trials) >= 6
        if where in tuned:
            assert tuned[where].methods[method] == study.best_trial.user_attrs["settings"]
            checked += 1
    assert checked == 24
