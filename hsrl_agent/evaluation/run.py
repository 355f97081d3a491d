"""One run: learn from the `train` user, be scored by the `eval` user and by a second judge, give one result.

`run` does what a spec says. `learn_and_score` is the standard protocol; other protocols are functions of the same form
made from the parts below it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any

import gymnasium
import torch
from stable_baselines3.common.vec_env import VecEnv

from hsrl_agent.evaluation.curve import LearningCurve, Progress, point
from hsrl_agent.evaluation.plugins import load_object, resolve, source_changed
from hsrl_agent.evaluation.provenance import code_changed, provenance
from hsrl_agent.evaluation.result import CurvePoint, DataFacts, RunResult, Score
from hsrl_agent.evaluation.scoring import Scores, describe_codebook, evaluate
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.tasks import bundle_digest, bundle_folder, find_env, packaged_name
from hsrl_agent.method import Agent, Method
from hsrl_agent.vec_env import make_vec_env, slate_vector_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.bundle.simulators import knows_world
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.true_user import TRUE_USER, TrueUsers

CURVE_EPISODES = 200  # sessions that score a point of the learning curve, at most

Protocol = Callable[[RunSpec, Progress], RunResult]


def no_progress(steps: int) -> None:
    """Say nothing."""


def run(spec: RunSpec, progress: Progress = no_progress, key: str | None = None) -> RunResult:
    """Return the result of a run, by the protocol of its spec and on one torch thread.

    The number of threads changes the order in which floats are summed. One thread gives the same result on every
    number of cores and processes.

    Args:
        spec: what to run.
        progress: called with the user-steps that the agent has learned from.
        key: of the spec when it was planned; by default that at the start of the run.

    Raises:
        HsrlError: for whatever is wrong with the spec; if the source or the bundle has changed since it was planned.
    """
    key = spec.key() if key is None else key
    check_unchanged(spec, key)
    protocol: Protocol = load_object(spec.protocol, "protocol")
    with one_thread():
        result = protocol(spec, progress)
    check_unchanged(spec, key)
    return replace(result, key=key)


def check_unchanged(spec: RunSpec, key: str) -> None:
    """Refuse a run whose key would name other code or data than those that it used.

    Raises:
        HsrlError: if the key of the spec is another one by now, or a file differs from what this process imported.
    """
    code_differs = code_changed() or source_changed(spec.method) or source_changed(spec.protocol, "protocol")
    if code_differs or spec.key() != key:
        what = "source" if code_differs else "source or bundle"
        raise HsrlError(f"{what} changed during the run or since it was planned, so its result is not kept; run again.")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch have one thread in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def learn_and_score(spec: RunSpec, progress: Progress = no_progress) -> RunResult:
    """Learn, score the greedy policy on held-out users, and return the result: the protocol of the tables."""
    started_at = datetime.now(timezone.utc)
    method = resolve(spec.method, spec.settings)
    learned = learn(spec, method, progress)
    envs = make_eval_envs(spec, method.action_mode)
    before = time.perf_counter()
    scores = evaluate(learned.agent, envs, spec.n_eval_episodes, spec.eval_seed)
    true_score, train_score = second_judge(spec, method, learned.agent, envs)
    seconds_scoring = learned.seconds_scoring + time.perf_counter() - before
    return make_result(
        spec, learned, envs, scores, started_at, seconds_scoring, true_score=true_score, train_score=train_score
    )


@dataclass(frozen=True)
class Learned:
    """An agent that has learned, and how that went.

    Attributes:
        agent, method: the agent and its record.
        envs: that it learned in.
        n_steps: user-steps that it learned from.
        curve: learning curve without its last point.
        seconds, seconds_scoring: of learning; of scoring on the way.
        metrics: what it said of itself, see `LearningCurve.metrics`.
    """

    agent: Agent
    method: Method
    envs: LearningCurve
    n_steps: int
    curve: tuple[CurvePoint, ...]
    seconds: float
    seconds_scoring: float
    metrics: Mapping[str, list[Any]]


def learn(
    spec: RunSpec,
    method: Method,
    progress: Progress = no_progress,
    bundle: Bundle | None = None,
    with_curve: bool = True,
    **further: Any,
) -> Learned:
    """Make the agent of a spec and let it learn.

    Args:
        spec: what to run.
        method: the record of `spec.method`.
        progress: called with the user-steps so far.
        bundle: to learn in, instead of that of the spec.
        with_curve: whether the agent is scored on the way.
        further: arguments of the environments that it learns in, for instance `catalog`.
    """
    score = None
    if with_curve and method.learns_online:
        n_episodes = min(CURVE_EPISODES, spec.n_eval_episodes)
        players = make_eval_envs(spec, method.action_mode, n_episodes, bundle=bundle)

        def score(agent: Agent) -> Scores:
            return evaluate(agent, players, n_episodes, spec.eval_seed)

    envs = make_train_envs(spec, method.action_mode, bundle=bundle, **further)
    curve = LearningCurve(envs, spec.steps, spec.n_checkpoints, score, progress)
    agent = method.make(curve, spec.train_seed, spec.device, spec.settings)
    progress(0)
    curve.begin(agent)
    agent.learn(spec.steps)
    seconds = time.perf_counter() - curve.started - curve.seconds_scoring
    progress(spec.steps)
    n_steps = curve.n_steps or spec.steps
    return Learned(agent, method, curve, n_steps, tuple(curve.points), seconds, curve.seconds_scoring, curve.metrics())


def make_train_envs(
    spec: RunSpec, action_mode: str, simulator: str = "train", bundle: Bundle | None = None, **further: Any
) -> VecEnv:
    """Return the users that a run learns from, seeded, as an SB3 VecEnv; arguments as those of `make_eval_envs`."""
    envs = make_vec_env(spec.env, spec.n_envs, **_env_arguments(spec, action_mode, simulator, bundle), **further)
    envs.seed(spec.train_seed)  # SB3's algorithms do this themselves, with the same seed
    return envs


def make_eval_envs(
    spec: RunSpec,
    action_mode: str,
    n_users: int | None = None,
    simulator: str = "eval",
    bundle: Bundle | None = None,
    **further: Any,
) -> SlateVectorEnv:
    """Return the users that score a run.

    Args:
        spec: what to run.
        action_mode: of the agent.
        n_users: how many; `spec.n_eval_episodes` by default.
        simulator: who plays them: the "eval" or "train" model on held-out users or those of the log, or "true".
        bundle: instead of that of the spec.
        further: arguments of the environment, for instance `catalog`.
    """
    arguments = {**_env_arguments(spec, action_mode, simulator, bundle), **further}
    n_users = n_users or spec.n_eval_episodes
    return slate_vector_env(
        gymnasium.make_vec(spec.env, num_envs=n_users, vectorization_mode="vector_entry_point", **arguments)
    )


def _env_arguments(spec: RunSpec, action_mode: str, simulator: str, bundle: Bundle | None) -> dict[str, Any]:
    return {
        # The folder is named even if it is the default one, so that nothing warns.
        "bundle": str(bundle_folder(spec.env, spec.bundle)) if bundle is None else bundle,
        "simulator": find_env(spec.env).kwargs.get("simulator", simulator),  # HSRL-World-v0 has its own
        "action_mode": action_mode,
        "device": spec.device,
        **spec.env_kwargs,
    }


def second_judge(
    spec: RunSpec, method: Method, agent: Agent, envs: SlateVectorEnv
) -> tuple[Score | None, Score | None]:
    """Return the scores of an agent by the true user, or else by the `train` user, on the users that scored it.

    The score by the `train` user tells how much of a score is an agent's answer to the model that it learned from. It
    is taken only where nobody knows the true user. Both are None where the users of `envs` are the true ones already.

    Args:
        spec, method, agent: the run.
        envs: that have scored it; the others get the same users and the same noise.
    """
    if isinstance(envs.sessions.core.respond, TrueUsers):
        return None, None
    if knows_world(envs.bundle):
        players = make_eval_envs(spec, method.action_mode, simulator=TRUE_USER)
        return evaluate(agent, players, spec.n_eval_episodes, spec.eval_seed).summary(), None
    models = {**envs.bundle.simulators, "eval": envs.bundle.simulators["train"]}
    players = make_eval_envs(spec, method.action_mode, bundle=replace(envs.bundle, simulators=models))
    return None, evaluate(agent, players, spec.n_eval_episodes, spec.eval_seed).summary()


def make_result(
    spec: RunSpec,
    learned: Learned,
    envs: SlateVectorEnv,
    scores: Scores,
    started_at: datetime,
    seconds_scoring: float,
    true_score: Score | None = None,
    train_score: Score | None = None,
    extra: Mapping[str, float] | None = None,
) -> RunResult:
    """Return the result of a run.

    Args:
        spec: what was run.
        learned: the agent after learning.
        envs: that scored it.
        scores: by `envs`.
        started_at: when the run began.
        seconds_scoring: time that scoring took.
        true_score, train_score: see `RunResult`.
        extra: further numbers of the protocol.
    """
    folder = bundle_folder(spec.env, spec.bundle)
    digest = bundle_digest(folder)
    return RunResult(
        key=spec.key(),
        spec=spec,
        score=scores.summary(),
        true_score=true_score,
        train_score=train_score,
        learns_online=learned.method.learns_online,
        curve=(*learned.curve, point(learned.n_steps, learned.seconds, scores)),
        step_profile=scores.step_profile(envs.sessions.params.max_steps),
        metrics=learned.metrics,
        codebook=describe_codebook(envs.bundle.codebook),
        session=asdict(envs.sessions.params),
        data=DataFacts(envs.bundle.name, envs.bundle.source, digest, packaged_name(digest)),
        train_seconds=round(learned.seconds, 3),
        eval_seconds=round(seconds_scoring, 3),
        provenance=provenance(spec.device, started_at),
        extra=dict(extra or {}),
    )
