"""A replay buffer that also stores the slates that were shown and their clicks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.errors import HsrlError


class SlateSamples(NamedTuple):
    """A batch of B transitions.

    Attributes:
        observations, next_observations: profile (B, P) and history (B, H).
        slates: (B, K) int64, ids of the items that were shown.
        clicks: (B, K) float32, 1 where the item was clicked.
        rewards: (B,) float32.
        terminated: (B,) float32, 1 where the user left. A session truncated at the horizon is not terminated.
        patience, next_patience: (B,) float32, before and after the step.
        latents: (B, Z) float32, points that the algorithm acted through; None if it has none.
        credits: (B, K) float32, credit of each item (see `credit.difference_rewards`); None if it is not computed.
    """

    observations: dict[str, torch.Tensor]
    next_observations: dict[str, torch.Tensor]
    slates: torch.Tensor
    clicks: torch.Tensor
    rewards: torch.Tensor
    terminated: torch.Tensor
    patience: torch.Tensor
    next_patience: torch.Tensor
    latents: torch.Tensor | None = None
    credits: torch.Tensor | None = None


class SlateReplayBuffer(DictReplayBuffer):
    """A replay buffer of ids, as tensors on the agent's device, filled from SB3's infos.

    It stores the slate that was shown instead of the action: clicks belong to the slate, and behavioral cloning
    (eq. 24) and credit per item need both. SB3's own buffer keeps arrays in host memory, and every sample would have to
    be copied to the device.

    Args:
        buffer_size: transitions kept, of all environments together.
        observation_space, action_space, device, n_envs: from the algorithm.
        optimize_memory_usage: must be False.
        handle_timeout_termination: whether truncated sessions count as not terminated.
        seed: of the draws.
        latent_width: Z, for an algorithm that acts through a point in R^Z and stores it as its action; 0 for none.
        keeps_credits: whether there is a column for the credit of each item (see `credit`).

    Attributes:
        columns: (size, n_envs, ..) tensors by name; those of the next observation begin with `next_`.

    Raises:
        HsrlError: for optimize_memory_usage=True.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: SlateSpace,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        seed: int | None = None,
        latent_width: int = 0,
        keeps_credits: bool = False,
    ) -> None:
        # Skips ReplayBuffer, which would allocate NumPy arrays.
        super(ReplayBuffer, self).__init__(buffer_size, observation_space, action_space, device, n_envs)
        if optimize_memory_usage:
            raise HsrlError("got optimize_memory_usage=True, expected False: observations are ids, and small already.")
        self.buffer_size = max(buffer_size // n_envs, 1)  # vector steps
        self.generator = np.random.default_rng(seed)
        self.optimize_memory_usage, self.handle_timeout_termination = False, handle_timeout_termination
        kinds: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "slate": ((action_space.slate_size,), torch.int32),
            "clicks": ((action_space.slate_size,), torch.uint8),
            "reward": ((), torch.float32),
            "terminated": ((), torch.float32),
            "patience": ((), torch.float32),
            "next_patience": ((), torch.float32),
        }
        if latent_width:
            kinds["latent"] = ((latent_width,), torch.float32)
        if keeps_credits:
            kinds["credit"] = ((action_space.slate_size,), torch.float32)
        for name, space in observation_space.items():
            assert space.shape is not None
            dtype = torch.int32 if np.issubdtype(space.dtype, np.integer) else torch.float32
            kinds[name] = kinds[f"next_{name}"] = (space.shape, dtype)
        self.columns: dict[str, torch.Tensor] = {
            name: torch.zeros((self.buffer_size, n_envs, *shape), dtype=dtype, device=self.device)
            for name, (shape, dtype) in kinds.items()
        }

    @property
    def device(self) -> torch.device:
        """Device of the columns. Setting it moves them: that is how SB3 moves a loaded buffer."""
        return self._device

    @device.setter
    def device(self, device: torch.device) -> None:
        self._device = device
        self.columns = {name: column.to(device) for name, column in getattr(self, "columns", {}).items()}

    def __getstate__(self) -> dict[str, Any]:
        """Return what is saved, with the columns in host memory, so that any machine can read it."""
        columns = {name: column.cpu() for name, column in self.columns.items()}
        return {**self.__dict__, "columns": columns, "_device": torch.device("cpu")}

    def add(  # type: ignore[override]
        self,
        obs: dict[str, NDArray[Any]],
        next_obs: dict[str, NDArray[Any]],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Store one vector step; SB3 passes arrays of n_envs rows and one info per environment.

        Raises:
            HsrlError: if the infos lack `slate`, `clicks`, `patience` or `patience_before`.
        """
        missing = [name for name in ("slate", "clicks", "patience", "patience_before") if name not in infos[0]]
        if missing:
            raise HsrlError(
                f"got info with {sorted(infos[0])}, expected {', '.join(missing)} as well; is this an hsrl_gym "
                "environment?"
            )
        cut = [self.handle_timeout_termination and info.get("TimeLimit.truncated", False) for info in infos]
        row = {
            **obs,
            **{f"next_{name}": values for name, values in next_obs.items()},
            "slate": np.stack([info["slate"] for info in infos]),
            "clicks": np.stack([info["clicks"] for info in infos]),
            "reward": reward,
            "terminated": np.asarray(done, dtype=bool) & ~np.array(cut),
            "patience": np.array([info["patience_before"] for info in infos], dtype=np.float32),
            "next_patience": np.array([info["patience"] for info in infos], dtype=np.float32),
        }
        if "latent" in self.columns:
            row["latent"] = action
        if "credit" in self.columns:
            row["credit"] = np.zeros(row["clicks"].shape, dtype=np.float32)
        for name, column in self.columns.items():
            column[self.pos] = torch.as_tensor(row[name])
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full, self.pos = True, 0

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> SlateSamples:  # type: ignore[override]
        """Return `batch_size` transitions drawn uniformly with replacement."""
        rows = self.generator.integers(self.buffer_size if self.full else self.pos, size=batch_size)
        who = self.generator.integers(self.n_envs, size=batch_size)
        at = torch.as_tensor(rows * self.n_envs + who, device=self.device)
        return self._samples({name: column.flatten(0, 1).index_select(0, at) for name, column in self.columns.items()})

    def vector_step(self, ago: int = 0) -> SlateSamples:
        """Return the transitions of one vector step, n_envs of them; `ago` counts back from the last one."""
        return self._samples({name: column[self.pos - 1 - ago].clone() for name, column in self.columns.items()})

    def credit(self, ago: int, credits: torch.Tensor) -> None:
        """Store the credit of each item, (n_envs, K), of the vector step `ago` steps before the last one.

        Raises:
            HsrlError: if the buffer was not made to keep credits.
        """
        if "credit" not in self.columns:
            raise HsrlError(
                'got a replay buffer without credits, expected one of an agent with credit="counterfactual".'
            )
        self.columns["credit"][self.pos - 1 - ago] = credits

    def _samples(self, drawn: dict[str, torch.Tensor]) -> SlateSamples:
        names = list(self.observation_space)
        return SlateSamples(
            observations={name: drawn[name] for name in names},
            next_observations={name: drawn[f"next_{name}"] for name in names},
            slates=drawn["slate"].long(),
            clicks=drawn["clicks"].float(),
            rewards=drawn["reward"],
            terminated=drawn["terminated"],
            patience=drawn["patience"],
            next_patience=drawn["next_patience"],
            latents=drawn.get("latent"),
            credits=drawn.get("credit"),
        )
