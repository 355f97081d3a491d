"""A replay buffer that also keeps what was really shown and what was clicked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from hsrl_gym.actions import SlateSpace
from hsrl_gym.errors import HsrlError


class SlateSamples(NamedTuple):
    """A batch of B transitions.

    Attributes:
        observations, next_observations: profile (B, P) and history (B, H).
        slates: (B, K) int64 item ids that were shown.
        clicks: (B, K) float32, 1 where the item was clicked.
        rewards: (B,) float32.
        terminated: (B,) float32, 1 where the user left; a session cut at the horizon is not terminated.
    """

    observations: dict[str, torch.Tensor]
    next_observations: dict[str, torch.Tensor]
    slates: torch.Tensor
    clicks: torch.Tensor
    rewards: torch.Tensor
    terminated: torch.Tensor


class SlateReplayBuffer(DictReplayBuffer):
    """SB3's dict replay buffer with two more columns, filled from `info["slate"]` and `info["clicks"]`.

    The slate that was shown, not the action, is what clicks belong to; behavioral cloning (eq. 24) and credit per
    item need both.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: SlateSpace,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, **kwargs)
        self.generator = np.random.default_rng(seed)
        shape = (self.buffer_size, self.n_envs, action_space.slate_size)
        self.slates = np.zeros(shape, dtype=np.int32)
        self.clicks = np.zeros(shape, dtype=np.uint8)

    def add(  # type: ignore[override]
        self,
        obs: dict[str, NDArray[Any]],
        next_obs: dict[str, NDArray[Any]],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Store one vector step.

        Raises:
            HsrlError: if the environment does not say what was shown and clicked.
        """
        if "slate" not in infos[0] or "clicks" not in infos[0]:
            raise HsrlError(
                f"got info with {sorted(infos[0])}, expected `slate` and `clicks`; is this an hsrl_gym environment?"
            )
        self.slates[self.pos] = [info["slate"] for info in infos]
        self.clicks[self.pos] = [info["clicks"] for info in infos]
        super().add(obs, next_obs, action, reward, done, infos)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> SlateSamples:  # type: ignore[override]
        """Return `batch_size` transitions drawn uniformly with replacement."""
        rows = self.generator.integers(self.buffer_size if self.full else self.pos, size=batch_size)
        return self._get_samples(rows, env)

    def _get_samples(self, batch_inds: NDArray[np.intp], env: VecNormalize | None = None) -> SlateSamples:  # type: ignore[override]
        who = self.generator.integers(self.n_envs, size=len(batch_inds))
        at = (batch_inds, who)
        return SlateSamples(
            observations={name: self.to_torch(values[at], copy=False) for name, values in self.observations.items()},
            next_observations={
                name: self.to_torch(values[at], copy=False) for name, values in self.next_observations.items()
            },
            slates=self.to_torch(self.slates[at], copy=False).long(),
            clicks=self.to_torch(self.clicks[at], copy=False).float(),
            rewards=self.to_torch(self.rewards[at], copy=False).float(),
            terminated=self.to_torch(self.dones[at] * (1.0 - self.timeouts[at]), copy=False).float(),
        )
