"""What one run is, and the hash that a finished one is known by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium

import hsrl_gym
from hsrl_gym.bundle.store import PACKAGED, data_folder, open_bundle
from hsrl_gym.errors import HsrlError, unknown_name
from plugins import source_digest

ROW_SCHEMA = 2
# Environment i of a vector that starts at seed s has seed s + i, so that seeds 0 and 1 as they are would share all but
# one of their users' noise. The seeds of runs therefore lie far apart, and those of scoring lie above them all.
SEED_STRIDE = 100_000
MAX_SEED = 2**32 // SEED_STRIDE - 1
EVAL_SEEDS = 2**40


@dataclass(frozen=True)
class RunSpec:
    """What one run is.

    Attributes:
        env: id of the environment.
        method: of `hsrl_agent.methods`, or "package.module:Class".
        seed: of weights, exploration and users; methods with the same seed are scored on the same users.
        steps: user-steps to learn from, SB3's total_timesteps.
        bundle: its folder; None for the environment's own.
        n_envs: users at once while learning.
        n_eval_episodes: sessions that score it.
        n_checkpoints: points of the learning curve after the first, the last being the final score.
        device: "cpu" or "cuda".
        settings: keyword arguments of the method.
        env_kwargs: of the environment, for instance {"reward": "mean_with_cost"}.
        variant: of a study, what tables call the run; "" for the method as it is.
    """

    env: str
    method: str
    seed: int
    steps: int
    bundle: str | None = None
    n_envs: int = 32
    n_eval_episodes: int = 500
    n_checkpoints: int = 10
    device: str = "cpu"
    settings: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise HsrlError(f"got seed {self.seed}, expected 0 to {MAX_SEED}.")
        for name, most in (("n_envs", SEED_STRIDE), ("n_eval_episodes", SEED_STRIDE), ("steps", None)):
            value = getattr(self, name)
            if value < 1 or (most is not None and value > most):
                raise HsrlError(f"got {name} {value}, expected at least 1{f' and at most {most}' if most else ''}.")
        if self.n_checkpoints < 1:
            raise HsrlError(f"got n_checkpoints {self.n_checkpoints}, expected at least 1 (the final score).")

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.env} {self.variant or self.method} seed {self.seed}"

    def key(self) -> str:
        """Return a hash of all that determines the result, so that a finished run is known again.

        It covers the bundle's content and a plugged-in agent's source file. The sources of this project do not count,
        only its version: fixing a comment must not throw away hours of work (rows carry a digest of the code).
        """
        identity = {
            **asdict(self),
            "env_kwargs": self.all_env_kwargs(),
            "bundle": bundle_digest(bundle_folder(self.env, self.bundle)),
            "agent": source_digest(self.method),
            "version": hsrl_gym.__version__,
            "schema": ROW_SCHEMA,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def all_env_kwargs(self) -> dict[str, Any]:
        """Return the environment's arguments with the defaults of its id, without its bundle."""
        defaults = find_env(self.env).kwargs
        return {**{name: value for name, value in defaults.items() if name != "default_bundle"}, **self.env_kwargs}


def find_env(env_id: str) -> gymnasium.envs.registration.EnvSpec:
    """Return the registered environment of that id.

    Raises:
        HsrlError: with the nearest known ones.
    """
    if env_id not in gymnasium.registry:
        ours = [known for known, spec in gymnasium.registry.items() if "hsrl_gym" in str(spec.vector_entry_point)]
        raise unknown_name("environment", env_id, ours)
    return gymnasium.registry[env_id]


def bundle_folder(env_id: str, bundle: str | None) -> Path:
    """Return the folder of the bundle that an environment runs on; a fetched data set's is built if need be."""
    if bundle is not None:
        return Path(bundle)
    default = find_env(env_id).kwargs.get("default_bundle", "")
    if default == "ml100k":
        open_bundle(None, default)
        return data_folder() / "bundles" / default
    return PACKAGED / default


def bundle_digest(folder: Path) -> str:
    """Return the sha256 of a bundle's manifest, which holds those of its files.

    Raises:
        HsrlError: if there is none.
    """
    manifest = folder / "bundle.yaml"
    if not manifest.is_file():
        raise HsrlError(f"{folder}: no bundle.yaml here, expected a bundle folder; `hsrl-gym build` makes one.")
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def train_seed(spec: RunSpec) -> int:
    """Return the seed a run learns with: of the agent, and of its first environment."""
    return spec.seed * SEED_STRIDE


def eval_seed(spec: RunSpec) -> int:
    """Return the seed of the first user that scores a run: the same for all methods, none that was learnt from."""
    return EVAL_SEEDS + spec.seed * SEED_STRIDE
