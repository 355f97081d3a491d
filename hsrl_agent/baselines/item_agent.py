"""The base of agents in item space that are no SB3 algorithms: construction, and files to save them in."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hsrl_agent.catalog_reader import CatalogReader
from hsrl_agent.files import write_bytes
from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.errors import HsrlError

SUFFIX = ".safetensors"
SelfItemAgent = TypeVar("SelfItemAgent", bound="ItemAgent")


def item_space(env: VecEnv) -> SlateSpace:
    """Return the action space of `env`.

    Raises:
        HsrlError: if the environment has another action mode than "item".
    """
    space = env.action_space
    n_items = len(space.codebook.codes) - 1 if isinstance(space, SlateSpace) else 0
    if not isinstance(space, SlateSpace) or space.nvec.tolist() != [n_items] * space.slate_size:
        raise HsrlError(f'got the action space {space}, expected an hsrl_gym environment with action_mode="item".')
    return space


class ItemAgent(CatalogReader, ABC):
    """An agent that shows items, and learns from the log or not at all.

    A subclass implements `predict`, and `_state` and `_restore` if it has anything to save.

    Args:
        env: an environment with action_mode="item".
        seed: of everything random.
        device: "cpu" or "cuda".

    Raises:
        HsrlError: for an environment in another action mode.
    """

    action_mode = "item"

    def __init__(self, env: VecEnv, seed: int = 0, device: torch.device | str = "cpu") -> None:
        space = item_space(env)
        self.slate_size, self.codebook = space.slate_size, space.codebook
        self._catalog = space.catalog
        self.seed, self.device = seed, torch.device(device)

    def learn(self: SelfItemAgent, total_timesteps: int) -> SelfItemAgent:
        """Do nothing."""
        return self

    @abstractmethod
    def predict(
        self, observation: dict[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return item numbers (B, K), counted from 0, and None (there is no recurrent state)."""

    def save(self, path: str | Path) -> None:
        """Write the agent to one safetensors file; its settings stand in the header as JSON.

        Args:
            path: ".safetensors" is added if it has no suffix. A file that is there is replaced at once, or not at all.

        Raises:
            HsrlError: if the agent has to learn first.
        """
        tensors, settings = self._state()
        header = {"class": type(self).__name__, "catalog": self._digest(), "settings": json.dumps(settings)}
        write_bytes(_with_suffix(path), to_bytes(tensors, header))

    @classmethod
    def load(
        cls: type[SelfItemAgent], path: str | Path, env: VecEnv | None = None, device: torch.device | str = "cpu"
    ) -> SelfItemAgent:
        """Return the agent that `save` wrote.

        Args:
            path: as it was given to `save`.
            env: an environment with the catalog that the agent was made for. It must be given: other than those of
                SB3, these files do not hold the spaces.
            device: "cpu" or "cuda".

        Raises:
            HsrlError: without `env`; if the file is missing or damaged, or holds an agent of another class or catalog.
        """
        if env is None:
            raise HsrlError(
                f"{cls.__name__}.load got no env, expected one with the agent's catalog; call "
                f'{cls.__name__}.load(path, make_vec_env(.., action_mode="item")).'
            )
        file = _with_suffix(path)
        try:
            with safe_open(file, "pt", device=str(device)) as content:
                header = content.metadata() or {}
                tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118  (no mapping)
        except (OSError, SafetensorError) as error:
            raise HsrlError(f"{file} cannot be read ({error}); expected a file written by save().") from None
        if header.get("class") != cls.__name__:
            raise HsrlError(f"{file} holds a {header.get('class')}, expected a {cls.__name__}; load it with its class.")
        try:
            agent, own = cls._restore(env, device, tensors, json.loads(header["settings"])), header["catalog"]
        except HsrlError:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            words = " ".join(str(error).split())[:120]
            raise HsrlError(f"{file} cannot be read ({words}); expected a file written by save().") from None
        if own != agent._digest():
            raise HsrlError(f"{file} holds an agent of another catalog; give an environment with the bundle it had.")
        return agent

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors, and values for JSON, of which `_restore` makes the agent again."""
        return {}, {}

    @classmethod
    def _restore(
        cls: type[SelfItemAgent],
        env: VecEnv,
        device: torch.device | str,
        tensors: dict[str, Tensor],
        settings: dict[str, Any],
    ) -> SelfItemAgent:
        """Return the agent of what `_state` gave."""
        return cls(env, device=device)

    def _digest(self) -> str:
        """Return a digest of what the agent must find again: the items, which of them are live, the slate size."""
        codes = np.ascontiguousarray(self.codebook.codes.astype("<i8"))
        return hashlib.sha256(codes.tobytes() + f"{codes.shape} {self.slate_size}".encode()).hexdigest()


def _with_suffix(path: str | Path) -> Path:
    file = Path(path)
    return file if file.suffix else file.with_suffix(SUFFIX)
