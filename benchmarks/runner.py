"""One run: learn with the `train` user, be scored by the `eval` user, give one row."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from hsrl_agent.methods import Agent
from hsrl_agent.vec_env import make_vec_env, slate_vector_env
from hsrl_gym.catalog import PACKAGED
from hsrl_gym.errors import HsrlError
from hsrl_gym.vector_env import SlateVectorEnv
from plugins import resolve
from provenance import code_digest, device_name, git_commit, versions
from spec import ROW_SCHEMA, RunSpec, bundle_digest, bundle_folder, eval_seed, find_env, train_seed

CURVE_EPISODES = 200

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Scores:
    """What n sessions brought: total reward, depth (steps), clicks and items shown, each (n,)."""

    reward: NDArray[np.float64]
    depth: NDArray[np.float64]
    clicks: NDArray[np.float64]
    shown: NDArray[np.float64]


def evaluate(agent: Agent, envs: SlateVectorEnv, n_episodes: int, seed: int) -> Scores:
    """Play one session for each of `n_episodes` users at once, with the greedy policy.

    A user who has left is replaced by the environment; what the newcomer does no longer counts.

    Raises:
        HsrlError: if `envs` is not that many users.
    """
    if envs.num_envs != n_episodes:
        raise HsrlError(f"got a vector of {envs.num_envs} users for {n_episodes} sessions, expected as many.")
    observation, _ = envs.reset(seed=seed)
    reward, depth, clicks, shown = (np.zeros(n_episodes) for _ in range(4))
    playing = np.ones(n_episodes, dtype=bool)
    while playing.any():
        answer = agent.predict(observation, deterministic=True)
        actions = np.asarray(answer[0] if isinstance(answer, tuple) else answer)
        observation, rewards, terminated, truncated, info = envs.step(actions)
        reward += np.where(playing, rewards, 0.0)
        depth += playing
        clicks += np.where(playing, info["clicks"].sum(1), 0)
        shown += playing * info["clicks"].shape[1]
        playing &= ~(terminated | truncated)
    return Scores(reward, depth, clicks, shown)


@contextmanager
def undisturbed(agent: Agent) -> Iterator[None]:
    """Leave random numbers and the policy's training mode after the block as they were before it."""
    policy = getattr(agent, "policy", None)
    training = getattr(policy, "training", None)
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002  (SB3 draws from them)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield
    np.random.set_state(numpy_state)  # noqa: NPY002
    random.setstate(python_state)
    if isinstance(policy, torch.nn.Module) and isinstance(training, bool):
        policy.train(training)


class CurveCallback(BaseCallback):
    """Score an SB3 agent before it learns and at even steps while it does; the last score is left to the caller."""

    def __init__(self, spec: RunSpec, envs: SlateVectorEnv, progress: Progress) -> None:
        super().__init__()
        self.spec, self.envs, self.progress = spec, envs, progress
        self.targets = [spec.steps * point // spec.n_checkpoints for point in range(1, spec.n_checkpoints)]
        self.points: list[list[float]] = []
        self.seconds_scoring = 0.0

    def _on_training_start(self) -> None:
        self.started = time.perf_counter()
        self._score()

    def _on_step(self) -> bool:
        self.progress(self.num_timesteps)
        if self.targets and self.num_timesteps >= self.targets[0]:
            self.targets = [target for target in self.targets if target > self.num_timesteps]
            self._score()
        return True

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
    curve, train_seconds, curve_seconds = learn(spec, agent, method.action_mode, progress)
    envs = make_eval_envs(spec, method.action_mode, spec.n_eval_episodes)
    before = time.perf_counter()
    scores = evaluate(agent, envs, spec.n_eval_episodes, eval_seed(spec))
    learnt = agent.num_timesteps if isinstance(agent, BaseAlgorithm) else spec.steps
    curve.append(_point(learnt, train_seconds, scores))
    return {
        "schema": ROW_SCHEMA,
        "key": spec.key(),
        **{name: getattr(spec, name) for name in ("env", "method", "seed", "steps", "n_envs", "device")},
        "settings": dict(spec.settings),
        "learns_online": method.learns_online,
        "total_reward": float(scores.reward.mean()),
        "total_reward_se": _standard_error(scores.reward),
        "depth": float(scores.depth.mean()),
        "depth_se": _standard_error(scores.depth),
        "click_rate": float(scores.clicks.sum() / scores.shown.sum()),
        "n_episodes": spec.n_eval_episodes,
        "curve": curve,
        "train_seconds": round(train_seconds, 3),
        "eval_seconds": round(curve_seconds + time.perf_counter() - before, 3),
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


def learn(spec: RunSpec, agent: Agent, action_mode: str, progress: Progress) -> tuple[list[list[float]], float, float]:
    """Let the agent learn; return its curve without the last point, and the seconds of learning and of scoring."""
    started = time.perf_counter()
    progress(0)
    curve: list[list[float]] = []
    scoring = 0.0
    if isinstance(agent, BaseAlgorithm):
        envs = make_eval_envs(spec, action_mode, min(CURVE_EPISODES, spec.n_eval_episodes))
        callback = CurveCallback(spec, envs, progress)
        started = time.perf_counter()
        agent.learn(spec.steps, callback=callback)
        curve, scoring = callback.points, callback.seconds_scoring
    else:
        agent.learn(spec.steps)
    seconds = time.perf_counter() - started - scoring
    progress(spec.steps)
    return curve, seconds, scoring


def make_eval_envs(spec: RunSpec, action_mode: str, n_users: int) -> SlateVectorEnv:
    """Return `n_users` held-out users, played by the `eval` user model."""
    arguments = _env_arguments(spec, action_mode, "eval")
    return slate_vector_env(
        gymnasium.make_vec(spec.env, num_envs=n_users, vectorization_mode="vector_entry_point", **arguments)
    )


def _env_arguments(spec: RunSpec, action_mode: str, simulator: str) -> dict[str, Any]:
    folder = str(bundle_folder(spec.env, spec.bundle))  # named even if it is the default, so that nothing warns
    return {
        "bundle": folder,
        "simulator": simulator,
        "action_mode": action_mode,
        "device": spec.device,
        **spec.env_kwargs,
    }


def _point(steps: int, seconds: float, scores: Scores) -> list[float]:
    return [steps, round(seconds, 3), float(scores.reward.mean()), float(scores.depth.mean())]


def _standard_error(values: NDArray[np.float64]) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


__all__ = [
    "CURVE_EPISODES",
    "CurveCallback",
    "RunSpec",
    "Scores",
    "evaluate",
    "learn",
    "make_eval_envs",
    "run",
    "undisturbed",
]
