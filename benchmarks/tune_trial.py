"""One run of a trial: learn from the `train` users, be scored by them with other seeds; `eval` stays unseen."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace

from hsrl_agent.methods import Agent
from hsrl_agent.vec_env import as_sb3
from hsrl_gym.errors import HsrlError
from plugins import resolve
from runner import evaluate, make_eval_envs
from spec import SEED_STRIDE, RunSpec, find_env, train_seed
from workers import Slot, _deaf_to_interrupts, one_line

SIMULATOR = "train"
TUNE_SEEDS = 2**41  # above the seeds that a table is scored with


@dataclass(frozen=True)
class Outcome:
    """What a run came to: a Total Reward, or a line about what went wrong."""

    spec: RunSpec
    value: float | None
    seconds: float
    message: str = ""


def tune_seed(spec: RunSpec) -> int:
    """Return the seed of the first user that scores a trial: none that was learnt from, none that a table has."""
    return TUNE_SEEDS + spec.seed * SEED_STRIDE


def make_agent(spec: RunSpec) -> Agent:
    """Return the agent of a run, which has not learned yet, among the `train` users.

    Raises:
        HsrlError: for an environment with a user of its own, which tuning would see.
    """
    own = find_env(spec.env).kwargs.get("simulator")
    if own is not None:
        raise HsrlError(
            f"{spec.env} has one user, {own!r}, to learn from and to be scored by; tune another environment."
        )
    method = resolve(spec.method, spec.settings)
    users = as_sb3(make_eval_envs(spec, method.action_mode, spec.n_envs, SIMULATOR))
    users.seed(train_seed(spec))
    return method.make(users, train_seed(spec), spec.device, dict(spec.settings))


def score(spec: RunSpec) -> float:
    """Learn, and return the mean Total Reward of the greedy policy."""
    agent = make_agent(spec)
    agent.learn(spec.steps)
    users = make_eval_envs(spec, resolve(spec.method).action_mode, spec.n_eval_episodes, SIMULATOR)
    return float(evaluate(agent, users, spec.n_eval_episodes, tune_seed(spec)).reward.mean())


def try_score(spec: RunSpec) -> Outcome:
    """Return the score, or what went wrong: settings that make a method diverge are nothing unusual."""
    began = time.perf_counter()
    try:
        value = score(spec)
    except Exception as error:
        return Outcome(spec, None, time.perf_counter() - began, one_line(error))
    seconds = time.perf_counter() - began
    if not math.isfinite(value):
        return Outcome(spec, None, seconds, f"its Total Reward is {value}")
    return Outcome(spec, value, seconds)


class TrialSlot(Slot):
    """A process of the table's kind that scores trials."""

    def submit_trial(self, spec: RunSpec) -> Future[Outcome]:
        """Start a run."""
        with _deaf_to_interrupts():  # the process inherits this, so that Ctrl-C is the parent's to handle
            return self.executor.submit(try_score, spec)


def with_settings(spec: RunSpec, settings: dict[str, object]) -> RunSpec:
    """Return the run with settings on top of its own."""
    return replace(spec, settings={**spec.settings, **settings})
