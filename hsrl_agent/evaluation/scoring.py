"""What a greedy policy brings in n sessions, and what else of an environment goes into a result."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsrl_agent.baselines import GreedyOracle
from hsrl_agent.evaluation.result import Score
from hsrl_agent.method import Agent
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook


@dataclass(frozen=True)
class Scores:
    """What n sessions brought.

    Attributes:
        reward, depth, clicks, shown: (n,) float64; total reward, steps, clicks and items shown of each session.
        reward_at: (T,) float64; reward of step t summed over all sessions, up to the last step of the longest.
        watched_shown, watched_clicks: slots that held watched items in all sessions, and how many of them were clicked.
    """

    reward: NDArray[np.float64]
    depth: NDArray[np.float64]
    clicks: NDArray[np.float64]
    shown: NDArray[np.float64]
    reward_at: NDArray[np.float64]
    watched_shown: int = 0
    watched_clicks: int = 0

    def summary(self) -> Score:
        """Return means over the sessions with their standard errors, and clicks per item shown."""
        return Score(
            total_reward=float(self.reward.mean()),
            total_reward_se=_standard_error(self.reward),
            depth=float(self.depth.mean()),
            depth_se=_standard_error(self.depth),
            click_rate=float(self.clicks.sum() / self.shown.sum()),
        )

    def step_profile(self, max_steps: int) -> dict[str, list[float | None]]:
        """Return for steps 1 to `max_steps` the mean reward of the users still playing, and their share.

        The reward is None where nobody plays any more.
        """
        playing = (self.depth[:, None] > np.arange(max_steps)).sum(0)
        reward = [float(sum_ / n) for sum_, n in zip(self.reward_at, playing[: len(self.reward_at)], strict=True)]
        return {
            "reward": [*reward, *[None] * (max_steps - len(reward))],
            "playing": (playing / len(self.depth)).tolist(),
        }


def evaluate(
    agent: Agent, envs: SlateVectorEnv, n_episodes: int, seed: int, watched: NDArray[np.bool_] | None = None
) -> Scores:
    """Play one session for each of `n_episodes` users at once, with the greedy policy.

    The environment replaces a user who has left; what the new one does is not counted. The greedy oracle is bound to
    the users who play here.

    Args:
        agent, envs, n_episodes: who plays, with whom, how often.
        seed: of the first user.
        watched: which items are counted in slates and among clicks, (N + 1,).

    Raises:
        HsrlError: if `envs` has another number of users.
    """
    if envs.num_envs != n_episodes:
        raise HsrlError(f"got a vector of {envs.num_envs} users for {n_episodes} sessions, expected as many.")
    if isinstance(agent, GreedyOracle):
        agent = agent.bind(envs)
    observation, _ = envs.reset(seed=seed)
    reward, depth, clicks, shown = (np.zeros(n_episodes) for _ in range(4))
    reward_at: list[float] = []
    counts = np.zeros(2, dtype=np.int64)
    playing = np.ones(n_episodes, dtype=bool)
    while playing.any():
        answer = agent.predict(observation, deterministic=True)
        actions = np.asarray(answer[0] if isinstance(answer, tuple) else answer)
        observation, rewards, terminated, truncated, info = envs.step(actions)
        gained = np.where(playing, rewards, 0.0)
        reward += gained
        reward_at.append(float(gained.sum()))
        depth += playing
        clicks += np.where(playing, info["clicks"].sum(1), 0)
        shown += playing * info["clicks"].shape[1]
        if watched is not None:
            counts += _count(watched[info["slate"][playing]], info["clicks"][playing])
        playing &= ~(terminated | truncated)
    return Scores(reward, depth, clicks, shown, np.array(reward_at), *counts.tolist())


def _count(watched: NDArray[np.bool_], clicks: NDArray[np.uint8]) -> tuple[int, int]:
    """Return how many slots (B, K) hold watched items, and how many of these were clicked."""
    return int(watched.sum()), int((clicks * watched).sum())


@contextmanager
def undisturbed(agent: Agent) -> Iterator[None]:
    """Restore the state of the random generators and the policy's training mode after the block."""
    policy = getattr(agent, "policy", None)
    training = getattr(policy, "training", None)
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002  (SB3 draws from them)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        if isinstance(policy, torch.nn.Module) and isinstance(training, bool):
            policy.train(training)


def describe_codebook(codebook: Codebook) -> dict[str, Any]:
    """Return per level the size of the vocabulary, how evenly it is used, and the number of items of each token."""
    report = codebook.report()
    use = [
        np.bincount(codebook.codes[codebook.live_items, level], minlength=size)
        for level, size in enumerate(codebook.vocabulary)
    ]
    return {
        "vocabulary": list(codebook.vocabulary),
        "used_tokens": list(report.used_tokens),
        "perplexity": list(report.perplexity),
        "n_collisions": report.n_collisions,
        "use": [np.sort(counts)[::-1].tolist() for counts in use],
    }


def _standard_error(values: NDArray[np.float64]) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
