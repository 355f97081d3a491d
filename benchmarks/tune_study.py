"""The trials of one method in one environment: which settings come next, what they brought, what is kept on disk."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configuration import section_name
from hsrl_gym.errors import HsrlError
from provenance import code_digest
from search_space import Space, rounded
from spec import RunSpec
from tune_trial import Outcome, with_settings

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL = "journal.log"
_STARTUP_TRIALS = 5  # drawn at random before the sampler looks at what the others brought


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
        """Return the mean over the seeds, None for a failed trial."""
        return None if self.message else float(np.mean(list(self.values.values())))


def open_storage(out: Path) -> BaseStorage:
    """Return the journal in a folder, a file of JSON lines.

    Raises:
        HsrlError: if Optuna is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise HsrlError("tuning needs Optuna; install it with pip install -c constraints.txt -e '.[tune]'.") from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(out / JOURNAL)))


class MethodStudy:
    """Trials one after the other, the seeds of one side by side; the same whatever the number of processes.

    Args:
        specs: a run for each seed, with the settings that methods.yaml has.
        space: of the method.
        now: what the method has for the keywords of `space`.
        n_trials: all in all, those included that the journal holds already.
        storage: of `open_storage`.
    """

    def __init__(
        self, specs: Sequence[RunSpec], space: Space, now: dict[str, Any], n_trials: int, storage: BaseStorage
    ) -> None:
        import optuna

        self.specs, self.space, self.n_trials = list(specs), space, n_trials
        self.env, self.method = specs[0].env, specs[0].method
        self.section = section_name(self.env, specs[0].bundle, specs[0].env_kwargs.get("reward"))  # of methods.yaml
        self.distributions = {name: choice.distribution() for name, choice in space.items()}
        name = f"{self.env} {self.method} {study_key(specs, space)}"
        self.study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        if not self.study.trials:
            self.study.set_user_attr("code", code_digest())
            self.study.enqueue_trial(now)
        for trial in self.study.trials:
            if trial.state == optuna.trial.TrialState.RUNNING:  # when an earlier call was interrupted
                self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                self.study.enqueue_trial(trial.params)
        self.waiting: list[RunSpec] = []
        self.n_running = 0
        self.outcomes: list[Outcome] = []
        self.asked: optuna.Trial | None = None

    @property
    def is_of_other_code(self) -> bool:
        """Return whether its trials began with another state of the packages."""
        return bool(self.study.user_attrs.get("code") != code_digest())

    def finished(self) -> list[Trial]:
        """Return the trials that have ended."""
        ended = [trial for trial in self.study.trials if "values" in trial.user_attrs and trial.state.is_finished()]
        return [_trial(number, trial) for number, trial in enumerate(ended)]

    @property
    def is_done(self) -> bool:
        """Return whether all trials have ended."""
        return len(self.finished()) >= self.n_trials

    def best(self) -> Trial | None:
        """Return the trial with the largest mean, the earliest of equals; None if all have failed."""
        whole = [trial for trial in self.finished() if trial.value is not None]
        return max(whole, key=lambda trial: (trial.value, -trial.number), default=None)

    def next_run(self) -> RunSpec | None:
        """Return the next run to start, None while others have to end before there is one."""
        if self.asked is None and not self.is_done:
            self._ask()
        if not self.waiting:
            return None
        self.n_running += 1
        return self.waiting.pop(0)

    def _ask(self) -> None:
        from optuna.samplers import TPESampler

        n_finished = len(self.finished())
        # A sampler for each trial, so that a study that was interrupted draws what it would have drawn; another for
        # each section, where what was chosen elsewhere, which is trial 0, would else be drawn a second time.
        seed = int(np.random.SeedSequence((zlib.crc32(self.section.encode()), n_finished)).generate_state(1)[0])
        self.study.sampler = TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
        self.asked = self.study.ask(self.distributions)
        settings = rounded(self.asked.params) if n_finished else self.asked.params
        self.asked.set_user_attr("settings", settings)
        self.waiting = [with_settings(spec, settings) for spec in self.specs]
        self.outcomes = []

    def hear(self, outcome: Outcome) -> Trial | None:
        """Take note of a run that has ended; return the trial if that was its last."""
        self.n_running -= 1
        self.outcomes.append(outcome)
        if outcome.value is None:
            self.waiting = []  # the trial has failed, whatever its other seeds bring
        if self.waiting or self.n_running:
            return None
        self._tell()
        return self.finished()[-1]

    def _tell(self) -> None:
        from optuna.trial import TrialState

        assert self.asked is not None
        values = {str(one.spec.seed): one.value for one in self.outcomes if one.value is not None}
        message = next((one.message for one in self.outcomes if one.value is None), "")
        self.asked.set_user_attr("seconds", round(sum(one.seconds for one in self.outcomes), 1))
        self.asked.set_user_attr("message", message)
        self.asked.set_user_attr("values", values)
        if message:
            self.study.tell(self.asked, state=TrialState.FAIL)
        else:
            self.study.tell(self.asked, float(np.mean(list(values.values()))))
        self.asked = None


def study_key(specs: Sequence[RunSpec], space: Space) -> str:
    """Return a hash of all that decides a study's trials; what the search itself chooses is not among it."""
    keys = [
        replace(spec, settings={name: value for name, value in spec.settings.items() if name not in space}).key()
        for spec in specs
    ]
    identity = {"runs": keys, "space": {name: choice.data() for name, choice in space.items()}}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _trial(number: int, trial: FrozenTrial) -> Trial:
    said = trial.user_attrs
    values = {int(seed): value for seed, value in sorted(said["values"].items())}
    return Trial(number, said["settings"], values, said["seconds"], said["message"])
