"""The trials of one method: which settings come next and what they brought, kept by Optuna's own storage."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from hsrl_agent.evaluation.curve import Progress
from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.run import learn, make_eval_envs, make_result
from hsrl_agent.evaluation.scoring import evaluate
from hsrl_agent.evaluation.spec import SEED_STRIDE, RunSpec
from hsrl_agent.evaluation.tasks import bundle_digest
from hsrl_agent.evaluation.workers import Ended
from hsrl_gym.errors import HsrlError
from search import Space, rounded

PROTOCOL = "trials:learn_and_score_on_train"
_TUNE_SEEDS = 2**41  # above the seeds that tables are scored with
_STARTUP_TRIALS = 5  # drawn at random before the sampler looks at what the others brought


def learn_and_score_on_train(spec: RunSpec, progress: Progress) -> RunResult:
    """Learn from the `train` users and be scored by them with other seeds, for each seed; `eval` stays unseen.

    `protocol_kwargs["seeds"]` names the seeds. `extra` holds the Total Reward of each by its text; all other numbers of
    the result are those of the last seed, its `score` by the `train` user.
    """
    started_at = datetime.now(timezone.utc)
    method = resolve(spec.method, spec.settings)
    rewards: dict[str, float] = {}
    for seed in spec.protocol_kwargs["seeds"]:
        one = replace(spec, seed=seed)
        learned = learn(one, method, progress, with_curve=False)
        before = time.perf_counter()
        envs = make_eval_envs(one, method.action_mode, simulator="train")
        scores = evaluate(learned.agent, envs, spec.n_eval_episodes, tune_seed(one))
        rewards[str(seed)] = float(scores.reward.mean())
        if not np.isfinite(rewards[str(seed)]):
            raise HsrlError(f"its Total Reward is {rewards[str(seed)]} with seed {seed}.")
    return make_result(spec, learned, envs, scores, started_at, time.perf_counter() - before, extra=rewards)


def tune_seed(spec: RunSpec) -> int:
    """Return the seed of the first user that scores a trial: none that was learned from, none that scores a table."""
    return _TUNE_SEEDS + spec.seed * SEED_STRIDE


def open_storage(journal: Path) -> BaseStorage:
    """Return Optuna's storage in a file of JSON lines, which is made if it is not there."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(journal)))


class MethodStudy:
    """Trials of a method, one after the other: the same whatever runs beside them.

    A finished trial keeps "settings" as they were run, "values" by seed, "seconds", and "message" if it failed.

    Args:
        spec: the run of a trial, with the settings that the method has now.
        space: what may be chosen.
        now: what the method has for the keywords of `space`; the first trial.
        n_trials: in all, with those that the storage holds already.
        storage: of Optuna.
        about: facts that the storage keeps of a new study.
    """

    def __init__(
        self,
        spec: RunSpec,
        space: Space,
        now: Mapping[str, Any],
        n_trials: int,
        storage: BaseStorage,
        about: Mapping[str, Any],
    ) -> None:
        self.spec, self.space, self.now, self.n_trials = spec, space, now, n_trials
        name = f"{spec.task} {spec.method} {_study_key(spec, space)}"
        self.study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        if not self.study.trials:
            for key, value in about.items():
                self.study.set_user_attr(key, value)
            self.study.enqueue_trial(dict(now))
        for trial in self.study.trials:
            if trial.state == TrialState.RUNNING:  # an earlier call was interrupted
                self.study.tell(trial.number, state=TrialState.FAIL)
                self.study.enqueue_trial(trial.params)
        self._asked: optuna.Trial | None = None

    def finished(self) -> list[FrozenTrial]:
        """Return the trials that have ended, failed ones among them, without those that were interrupted."""
        return [trial for trial in self.study.trials if trial.state.is_finished() and "seconds" in trial.user_attrs]

    def best(self) -> FrozenTrial | None:
        """Return the trial with the largest Total Reward, the earliest of equals; None if all have failed."""
        whole = [trial for trial in self.finished() if trial.state == TrialState.COMPLETE]
        return max(whole, key=lambda trial: trial.value or 0.0, default=None)

    def next_run(self) -> RunSpec | None:
        """Return the run of the next trial; None while one runs, and after the last."""
        n_finished = len(self.finished())
        if self._asked is not None or n_finished >= self.n_trials:
            return None
        # A new sampler for each trial, so that a study that was interrupted draws what it would have drawn. Its seed
        # depends on the data: with one seed for all, what was chosen on other data would be drawn a second time.
        place = zlib.crc32(_place(self.spec).encode())
        seed = int(np.random.SeedSequence((place, n_finished)).generate_state(1)[0])
        self.study.sampler = TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
        self._asked = self.study.ask({name: choice.distribution for name, choice in self.space.items()})
        settings = rounded(self._asked.params) if n_finished else self._asked.params
        self._asked.set_user_attr("settings", settings)
        return replace(self.spec, settings={**self.spec.settings, **settings})

    def record(self, end: Ended, seconds: float) -> FrozenTrial:
        """Store how the run of the trial ended, after that time, and return the trial."""
        assert self._asked is not None
        self._asked.set_user_attr("seconds", round(seconds, 1))
        self._asked.set_user_attr("values", dict(end.result.extra) if end.result is not None else {})
        if end.result is None:
            self._asked.set_user_attr("message", end.message)
            self.study.tell(self._asked, state=TrialState.FAIL)
        else:
            self.study.tell(self._asked, float(np.mean(list(end.result.extra.values()))))
        self._asked = None
        return self.finished()[-1]


def _place(spec: RunSpec) -> str:
    """Return what the draws of a study depend on: environment, content of a bundle that was named, its arguments.

    Where the folder lies and what it is called must not matter.
    """
    bundle = [] if spec.bundle is None else [bundle_digest(Path(spec.bundle))]
    return "/".join([spec.env, *bundle, *(str(value) for _, value in sorted(spec.env_kwargs.items()))])


def _study_key(spec: RunSpec, space: Space) -> str:
    """Return a hash of all that decides the trials of a study; what the search itself chooses is not among it."""
    fixed = {name: value for name, value in spec.settings.items() if name not in space}
    identity = [replace(spec, settings=fixed).key(), {name: choice.text() for name, choice in space.items()}]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
