"""One run: learn with the `train` user, be scored by the `eval` user and by one that says how far, give one row."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any

import gymnasium
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from hsrl_agent.algorithm import SlateActorCritic
from hsrl_agent.methods import Agent
from hsrl_agent.vec_env import make_vec_env, slate_vector_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.bundle.simulators import knows_world
from hsrl_gym.bundle.store import PACKAGED
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.users.true_user import TRUE_USER, TrueUsers
from plugins import resolve
from provenance import code_digest, device_name, git_commit, versions
from scoring import Scores, describe_codebook, evaluate, undisturbed
from spec import ROW_SCHEMA, RunSpec, bundle_digest, bundle_folder, eval_seed, find_env, train_seed

CURVE_EPISODES = 200

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Learning:
    """How learning went: the curve without its last point, seconds of learning and of scoring, what the agent said."""

    curve: list[list[float]]
    seconds: float
    seconds_scoring: float
    diagnostics: dict[str, list[Any]]


class CurveCallback(BaseCallback):
    """Score an SB3 agent before it learns and at even steps while it does; the last score is left to the caller.

    What a slate algorithm says of itself (`last_facts`, a new dictionary every some updates) is noted on the way.
    """

    def __init__(self, spec: RunSpec, envs: SlateVectorEnv, progress: Progress) -> None:
        super().__init__()
        self.spec, self.envs, self.progress = spec, envs, progress
        self.targets = [spec.steps * point // spec.n_checkpoints for point in range(1, spec.n_checkpoints)]
        self.points: list[list[float]] = []
        self.seconds_scoring = 0.0
        self.noted: list[tuple[int, dict[str, float]]] = []
        self.started = time.perf_counter()  # what an agent does before its first step counts as well

    def _on_training_start(self) -> None:
        self._score()

    def _on_step(self) -> bool:
        self.progress(self.num_timesteps)
        self._note()
        if self.targets and self.num_timesteps >= self.targets[0]:
            self.targets = [target for target in self.targets if target > self.num_timesteps]
            self._score()
        return True

    def _on_training_end(self) -> None:
        self._note()  # of the updates after the last step

    def _note(self) -> None:
        facts = self.model.last_facts if isinstance(self.model, SlateActorCritic) else {}
        if facts and (not self.noted or facts is not self.noted[-1][1]):
            self.noted.append((self.num_timesteps, facts))

    def diagnostics(self) -> dict[str, list[Any]]:
        """Return what was noted, a column each beside `steps`; {} if the agent says nothing of itself."""
        if not self.noted:
            return {}
        return {
            "steps": [steps for steps, _ in self.noted],
            **{name: [_finite(facts.get(name)) for _, facts in self.noted] for name in self.noted[0][1]},
        }

    def _score(self) -> None:
        before = time.perf_counter()
        seconds = before - self.started - self.seconds_scoring
        with undisturbed(self.model):
            scores = evaluate(self.model, self.envs, self.envs.num_envs, eval_seed(self.spec))
        self.points.append(_point(self.num_timesteps, seconds, scores))
        self.seconds_scoring += time.perf_counter() - before


def run(spec: RunSpec, progress: Progress = lambda steps: None) -> dict[str, Any]:
    """Learn, score, and return the row of the run, plain numbers and texts only.

    Args:
        spec: what to run.
        progress: called with the user-steps learnt from so far.

    Raises:
        HsrlError: for whatever is wrong with the spec.
    """
    started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    method = resolve(spec.method, spec.settings)
    find_env(spec.env)
    train_envs = make_vec_env(spec.env, spec.n_envs, **_env_arguments(spec, method.action_mode, "train"))
    train_envs.seed(train_seed(spec))  # SB3's algorithms do this themselves, with the same seed
    agent = method.make(train_envs, train_seed(spec), spec.device, dict(spec.settings))
    learning = learn(spec, agent, method.action_mode, progress)
    envs = make_eval_envs(spec, method.action_mode, spec.n_eval_episodes)
    before = time.perf_counter()
    scores = evaluate(agent, envs, spec.n_eval_episodes, eval_seed(spec))
    others = _other_scores(spec, agent, envs, method.action_mode)
    scoring = learning.seconds_scoring + time.perf_counter() - before
    learnt = agent.num_timesteps if isinstance(agent, BaseAlgorithm) else spec.steps
    return {
        "schema": ROW_SCHEMA,
        "key": spec.key(),
        **{name: getattr(spec, name) for name in ("env", "method", "variant", "seed", "steps", "n_envs", "device")},
        "settings": dict(spec.settings),
        "learns_online": method.learns_online,
        **scores.summary(),
        **others,
        "n_episodes": spec.n_eval_episodes,
        "curve": [*learning.curve, _point(learnt, learning.seconds, scores)],
        "step_profile": scores.step_profile(envs.sessions.params.max_steps),
        "diagnostics": learning.diagnostics,
        "codebook": describe_codebook(envs.bundle.codebook),
        "train_seconds": round(learning.seconds, 3),
        "eval_seconds": round(scoring, 3),
        "session": asdict(envs.sessions.params),
        "bundle": {
            "name": envs.bundle.name,
            "source": envs.bundle.source,
            "packaged": bundle_folder(spec.env, spec.bundle).is_relative_to(PACKAGED),
            "sha256": bundle_digest(bundle_folder(spec.env, spec.bundle)),
        },
        "device_name": device_name(spec.device),
        "versions": versions(),
        "git_commit": git_commit(),
        "code": code_digest(),
        "started_at": started_at,
    }


def learn(spec: RunSpec, agent: Agent, action_mode: str, progress: Progress) -> Learning:
    """Let the agent learn; only SB3's algorithms have a curve and are scored on the way."""
    started = time.perf_counter()
    progress(0)
    callback = None
    if isinstance(agent, BaseAlgorithm):
        envs = make_eval_envs(spec, action_mode, min(CURVE_EPISODES, spec.n_eval_episodes))
        callback = CurveCallback(spec, envs, progress)
        started = time.perf_counter()
        agent.learn(spec.steps, callback=callback)
    else:
        agent.learn(spec.steps)
    seconds = time.perf_counter() - started
    progress(spec.steps)
    if callback is None:
        return Learning([], seconds, 0.0, {})
    scoring = callback.seconds_scoring
    return Learning(callback.points, seconds - scoring, scoring, callback.diagnostics())


def _other_scores(
    spec: RunSpec, agent: Agent, envs: SlateVectorEnv, action_mode: str
) -> dict[str, dict[str, float | None] | None]:
    """Return what others than the `eval` user make of the agent, on the users and the noise that just scored it.

    "true_user": the users of `envs` themselves. "train_user": where nobody knows them, the user model that agents learn
    from, which tells how much of a score is an agent's answer to that one model. Each None where it says nothing new.
    """
    others: dict[str, dict[str, float | None] | None] = {"true_user": None, "train_user": None}
    if isinstance(envs.sessions.core.respond, TrueUsers):
        return others
    if knows_world(envs.bundle):
        who, players = "true_user", make_eval_envs(spec, action_mode, spec.n_eval_episodes, TRUE_USER)
    else:
        models = {**envs.bundle.simulators, "eval": envs.bundle.simulators["train"]}
        bundle = replace(envs.bundle, simulators=models)
        who, players = "train_user", make_eval_envs(spec, action_mode, spec.n_eval_episodes, bundle=bundle)
    others[who] = evaluate(agent, players, spec.n_eval_episodes, eval_seed(spec)).summary()
    return others


def make_eval_envs(
    spec: RunSpec, action_mode: str, n_users: int, simulator: str = "eval", bundle: Bundle | None = None
) -> SlateVectorEnv:
    """Return `n_users` held-out users, played by the `eval` user model (of another bundle, if given) or themselves."""
    arguments = _env_arguments(spec, action_mode, simulator)
    if bundle is not None:
        arguments["bundle"] = bundle
    return slate_vector_env(
        gymnasium.make_vec(spec.env, num_envs=n_users, vectorization_mode="vector_entry_point", **arguments)
    )


def _env_arguments(spec: RunSpec, action_mode: str, simulator: str) -> dict[str, Any]:
    folder = str(bundle_folder(spec.env, spec.bundle))  # named even if it is the default, so that nothing warns
    return {
        "bundle": folder,
        "simulator": find_env(spec.env).kwargs.get("simulator", simulator),  # HSRL-World-v0 has its own
        "action_mode": action_mode,
        "device": spec.device,
        **spec.env_kwargs,
    }


def _point(steps: int, seconds: float, scores: Scores) -> list[float]:
    return [steps, round(seconds, 3), float(scores.reward.mean()), float(scores.depth.mean())]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # JSON has no NaN


__all__ = [
    "CURVE_EPISODES",
    "CurveCallback",
    "Learning",
    "RunSpec",
    "Scores",
    "describe_codebook",
    "evaluate",
    "learn",
    "make_eval_envs",
    "run",
    "undisturbed",
]
