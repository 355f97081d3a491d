"""Which users are played: an environment, the bundle it runs on, and the name that tables give the two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium

import hsrl_gym  # noqa: F401  (registers the environments)
from hsrl_gym.bundle.folder import digest_of, read_manifest
from hsrl_gym.bundle.store import FROM_FETCHED, PACKAGED, built_folder, open_bundle
from hsrl_gym.errors import HsrlError, unknown_name

BUNDLE_ENV = "HSRL-Bundle-v0"  # of one's own bundle, under no data set's name


@dataclass(frozen=True)
class Task:
    """The users of one comparison.

    Attributes:
        name: in tables, unique within a comparison.
        env: id of the environment.
        bundle: its folder; None for the environment's own.
        env_kwargs: of the environment, for instance {"reward": "mean_with_cost"}.
    """

    name: str
    env: str
    bundle: str | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the bundle."""
        return bundle_folder(self.env, self.bundle)


def make_task(env: str, bundle: str | None = None, reward: str | None = None) -> Task:
    """Return the users of an environment on a bundle.

    The name is the environment's short one, followed by the name of the bundle unless its content is that of the
    environment's own, and by the reward rule unless it is the environment's own. Under `HSRL-Bundle-v0` the name of the
    bundle stands alone.

    Raises:
        HsrlError: for an unknown environment, or a folder that is no bundle.
    """
    defaults = find_env(env).kwargs
    own = read_manifest(bundle_folder(env, bundle))["name"]
    if env == BUNDLE_ENV:
        name = own
    else:
        name = short(env)
        packaged = packaged_name(bundle_digest(Path(bundle))) if bundle is not None else None
        if bundle is not None and packaged != defaults.get("default_bundle"):
            name = f"{name} {own}"
    changes = {"reward": reward} if reward is not None and reward != defaults.get("reward") else {}
    return Task(f"{name} ({reward})" if changes else name, env, bundle, changes)


def distinct(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks under different names; those that share one have their folder's name added.

    Raises:
        HsrlError: if two tasks are the same one.
    """
    count = Counter(task.name for task in tasks)
    named = [replace(task, name=f"{task.name} [{task.folder}]") if count[task.name] > 1 else task for task in tasks]
    again = [name for name, n in Counter(task.name for task in named).items() if n > 1]
    if again:
        raise HsrlError(f"got {again[0]} twice, expected each bundle once.")
    return named


def find_env(env_id: str) -> gymnasium.envs.registration.EnvSpec:
    """Return the registered environment of that id.

    Raises:
        HsrlError: with the nearest known ones.
    """
    if env_id not in gymnasium.registry:
        ours = [known for known, spec in gymnasium.registry.items() if "hsrl_gym" in str(spec.vector_entry_point)]
        raise unknown_name("environment", env_id, ours)
    return gymnasium.registry[env_id]


def short(env: str) -> str:
    """Return the short name of an environment: RL4RS for HSRL-RL4RS-v0."""
    return env.removeprefix("HSRL-").rpartition("-v")[0] or env


def bundle_folder(env_id: str, bundle: str | None) -> Path:
    """Return the folder of the bundle that an environment runs on. The bundle of a fetched data set is built if needed.

    Raises:
        HsrlError: if the environment has no bundle of its own and none was given.
    """
    if bundle is not None:
        return Path(bundle)
    default = find_env(env_id).kwargs.get("default_bundle")
    if default is None:
        raise HsrlError(f"{env_id} has no users of its own; name a bundle folder, --bundle DIR.")
    if default in FROM_FETCHED:
        open_bundle(None, default)
        return built_folder(default)
    return PACKAGED / default


def bundle_digest(folder: Path) -> str:
    """Return the sha256 of a bundle's content. Its name, provenance and pictures do not count.

    Raises:
        HsrlError: if there is no bundle.
    """
    manifest = folder / "bundle.yaml"
    if not manifest.is_file():
        read_manifest(folder)  # says what is missing
    return _digest(folder, manifest.read_bytes())


@lru_cache(maxsize=64)
def _digest(folder: Path, manifest: bytes) -> str:
    return digest_of(read_manifest(folder)["files"])


@lru_cache(maxsize=64)
def packaged_name(digest: str) -> str | None:
    """Return the name of the packaged bundle with that content, None if there is none."""
    for folder in sorted(PACKAGED.iterdir()):
        if (folder / "bundle.yaml").is_file() and bundle_digest(folder) == digest:
            return folder.name
    return None
