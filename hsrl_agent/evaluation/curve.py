"""The learning curve: any agent is scored while it learns, by a wrapper around the environments it learns in."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from hsrl_agent.evaluation.result import CurvePoint
from hsrl_agent.evaluation.scoring import Scores, undisturbed
from hsrl_agent.method import Agent

Progress = Callable[[int], None]


class LearningCurve(VecEnvWrapper):
    """Environments to learn in that count user-steps, report progress and score the agent at even distances.

    The greedy policy is scored before the first step, and at every checkpoint after the step that reaches it, before
    the agent has learned from that step. The last score, after learning, is the caller's. Scoring leaves random numbers
    and the policy's training mode as they were. An agent that never steps has no points.

    Attributes:
        n_steps: user-steps so far.
        points: of the curve.
        seconds_scoring: how much of the time since `begin` went into scoring.
    """

    def __init__(
        self,
        envs: VecEnv,
        steps: int,
        n_checkpoints: int,
        score: Callable[[Agent], Scores] | None,
        progress: Progress = lambda steps: None,
    ) -> None:
        """Wrap the environments.

        Args:
            envs: to learn in.
            steps: user-steps to learn from.
            n_checkpoints: number of points after the first, of which the last, at the end, is the caller's.
            score: plays greedy sessions; None for no points.
            progress: called with the user-steps after every step.
        """
        super().__init__(envs)
        self.score, self.progress = score, progress
        self.targets = [steps * point // n_checkpoints for point in range(1, n_checkpoints)]
        self.agent: Agent | None = None
        self.n_steps = 0
        self.points: list[CurvePoint] = []
        self.seconds_scoring = 0.0
        self.started = time.perf_counter()
        self._noted: list[tuple[int, dict[str, float]]] = []

    def begin(self, agent: Agent) -> None:
        """Score `agent` from now on, and start the clock: pretraining before the first step counts as learning."""
        self.agent, self.started = agent, time.perf_counter()

    def reset(self) -> VecEnvObs:
        """Start new sessions."""
        return self.venv.reset()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take actions, scoring the agent before its first step."""
        if self.n_steps == 0:
            self._score()
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Return what the step brought, scoring the agent where a checkpoint is reached."""
        result = self.venv.step_wait()
        self.n_steps += self.num_envs
        self.progress(self.n_steps)
        self._note()
        if self.targets and self.n_steps >= self.targets[0]:
            self.targets = [target for target in self.targets if target > self.n_steps]
            self._score()
        return result

    def metrics(self) -> dict[str, list[Any]]:
        """Return what the agent said of itself (`last_metrics`), a list a name beside "steps"; {} for nothing."""
        self._note()  # of the updates after the last step
        if not self._noted:
            return {}
        return {
            "steps": [steps for steps, _ in self._noted],
            **{name: [_finite(said.get(name)) for _, said in self._noted] for name in self._noted[0][1]},
        }

    def _note(self) -> None:
        said = getattr(self.agent, "last_metrics", None)  # a new dictionary each time
        if said and (not self._noted or said is not self._noted[-1][1]):
            self._noted.append((self.n_steps, said))

    def _score(self) -> None:
        if self.score is None or self.agent is None:
            return
        before = time.perf_counter()
        seconds = before - self.started - self.seconds_scoring
        try:
            with undisturbed(self.agent):
                scores = self.score(self.agent)
        except Exception:
            if isinstance(self.agent, BaseAlgorithm):
                raise
            # One's own agent may be unable to answer before it has learned. If it never can, the last score fails.
        else:
            self.points.append(point(self.n_steps, seconds, scores))
        self.seconds_scoring += time.perf_counter() - before


def point(steps: int, seconds: float, scores: Scores) -> CurvePoint:
    """Return a point of a learning curve."""
    return CurvePoint(steps, round(seconds, 3), float(scores.reward.mean()), float(scores.depth.mean()))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # JSON has no NaN
