"""The trials of one method: which settings come next, what they brought, and what Optuna's storage keeps of them."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from hsrl_agent.evaluation.curve import Progress
from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.pool import Ended
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.run import learn, make_eval_envs, make_result
from hsrl_agent.evaluation.scoring import evaluate
from hsrl_agent.evaluation.spec import SEED_STRIDE, RunSpec
from search import Space, rounded

PROTOCOL = "trials:learn_and_score_on_train"
_TRAIN = "train"
_TUNE_SEEDS = 2**41  # above the seeds that tables are scored with
_STARTUP_TRIALS = 5  # drawn at random before the sampler looks at what the others brought


def learn_and_score_on_train(spec: RunSpec, progress: Progress) -> RunResult:
    """Learn from the `train` users and be scored by them with other seeds; the `eval` user stays unseen.

    The `score` of the result is that of the `train` user. There is no learning curve.
    """
    started_at = datetime.now(timezone.utc)
    method = resolve(spec.method, spec.settings)
    learned = learn(spec, method, progress, with_curve=False)
    envs = make_eval_envs(spec, method.action_mode, simulator=_TRAIN)
    scores = evaluate(learned.agent, envs, spec.n_eval_episodes, tune_seed(spec))
    return make_result(spec, learned, envs, scores, started_at, seconds_scoring=0.0)


def tune_seed(spec: RunSpec) -> int:
    """Return the seed of the first user that scores a trial: none that was learned from, none that scores a table."""
    return _TUNE_SEEDS + spec.seed * SEED_STRIDE


def open_storage(journal: Path) -> BaseStorage:
    """Return Optuna's storage in a file of JSON lines, which is made if it is not there."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(journal)))


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Attributes:
        number: counted from 0, which is what the method had.
        settings: that were tried.
        values: Total Reward by seed; of a failed trial those that came through.
        seconds: of all seeds together.
        message: what went wrong; "" for nothing.
    """

    number: int
    settings: dict[str, Any]
    values: dict[int, float]
    seconds: float
    message: str = ""

    @property
    def value(self) -> float | None:
        """The mean over the seeds, None for a failed trial."""
        return None if self.message else float(np.mean(list(self.values.values())))


class MethodStudy:
    """Trials one after the other, the seeds of each side by side; the same for every number of processes.

    Args:
        specs: a run for each seed, with the settings that the method has now.
        space: what may be chosen.
        now: what the method has for the keywords of `space`; the first trial.
        n_trials: in all, with those that the storage holds already.
        storage: of `open_storage`.
        about: facts that the storage keeps of a new study.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        space: Space,
        now: Mapping[str, Any],
        n_trials: int,
        storage: BaseStorage,
        about: Mapping[str, Any],
    ) -> None:
        self.specs, self.space, self.n_trials = list(specs), space, n_trials
        self.method = specs[0].method
        name = f"{specs[0].task} {self.method} {_study_key(specs, space)}"
        self.study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        if not self.study.trials:
            for key, value in about.items():
                self.study.set_user_attr(key, value)
            self.study.enqueue_trial(dict(now))
        for trial in self.study.trials:
            if trial.state == TrialState.RUNNING:  # an earlier call was interrupted
                self.study.tell(trial.number, state=TrialState.FAIL)
                self.study.enqueue_trial(trial.params)
        self._waiting: list[RunSpec] = []
        self._n_running = 0
        self._ends: list[Ended] = []
        self._asked: optuna.Trial | None = None

    def finished(self) -> list[Trial]:
        """Return the trials that have ended."""
        ended = [trial for trial in self.study.trials if "values" in trial.user_attrs and trial.state.is_finished()]
        return [_trial(number, trial) for number, trial in enumerate(ended)]

    @property
    def is_done(self) -> bool:
        """Whether all trials have ended."""
        return len(self.finished()) >= self.n_trials

    def best(self) -> Trial | None:
        """Return the trial with the largest mean, the earliest of equals; None if all have failed."""
        whole = [trial for trial in self.finished() if trial.value is not None]
        return max(whole, key=lambda trial: (trial.value, -trial.number), default=None)

    def next_run(self) -> RunSpec | None:
        """Return the next run to start, None while others have to end before there is one."""
        if self._asked is None and not self.is_done:
            self._ask()
        if not self._waiting:
            return None
        self._n_running += 1
        return self._waiting.pop(0)

    def hear(self, end: Ended) -> Trial | None:
        """Take note of a run that has ended; return the trial if that was its last run."""
        self._n_running -= 1
        self._ends.append(end)
        if end.result is None:
            self._waiting = []  # the trial has failed, whatever its other seeds bring
        if self._waiting or self._n_running:
            return None
        self._tell()
        return self.finished()[-1]

    def _ask(self) -> None:
        n_finished = len(self.finished())
        # A new sampler for each trial, so that a study that was interrupted draws what it would have drawn. Its seed
        # depends on the data: with one seed for all, what was chosen on other data would be drawn a second time.
        place = zlib.crc32(_place(self.specs[0]).encode())
        seed = int(np.random.SeedSequence((place, n_finished)).generate_state(1)[0])
        self.study.sampler = TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
        self._asked = self.study.ask({name: choice.distribution for name, choice in self.space.items()})
        settings = rounded(self._asked.params) if n_finished else self._asked.params
        self._asked.set_user_attr("settings", settings)
        self._waiting = [replace(spec, settings={**spec.settings, **settings}) for spec in self.specs]
        self._ends = []

    def _tell(self) -> None:
        assert self._asked is not None
        results = {str(end.spec.seed): end.result for end in self._ends if end.result is not None}
        values = {seed: result.score.total_reward for seed, result in results.items()}
        message = next((end.message for end in self._ends if end.result is None), "")
        if not np.isfinite(list(values.values())).all():
            message = f"its Total Reward is {values}"
        seconds = sum(result.train_seconds for result in results.values())
        for key, value in (("seconds", round(seconds, 1)), ("message", message), ("values", values)):
            self._asked.set_user_attr(key, value)
        if message:
            self.study.tell(self._asked, state=TrialState.FAIL)
        else:
            self.study.tell(self._asked, float(np.mean(list(values.values()))))
        self._asked = None


def _place(spec: RunSpec) -> str:
    """Return what the draws of a study depend on: environment, bundle folder's name and reward rule."""
    bundle = [] if spec.bundle is None else [Path(spec.bundle).absolute().name]
    reward = spec.env_kwargs.get("reward")
    return "/".join([spec.env, *bundle, *([] if reward is None else [reward])])


def _study_key(specs: Sequence[RunSpec], space: Space) -> str:
    """Return a hash of all that decides the trials of a study; what the search itself chooses is not among it."""
    keys = [
        replace(spec, settings={name: value for name, value in spec.settings.items() if name not in space}).key()
        for spec in specs
    ]
    identity = {"runs": keys, "space": {name: choice.text() for name, choice in space.items()}}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _trial(number: int, trial: optuna.trial.FrozenTrial) -> Trial:
    said = trial.user_attrs
    values = {int(seed): value for seed, value in sorted(said["values"].items())}
    return Trial(number, said["settings"], values, said["seconds"], said["message"])
