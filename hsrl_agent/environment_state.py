"""What the environments of an SB3 algorithm are at a moment, as named arrays; part of a checkpoint."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor

from hsrl_agent.vec_env import SlateVecEnv
from hsrl_gym.envs.snapshot import part_of
from hsrl_gym.errors import HsrlError

Arrays = dict[str, NDArray[Any]]

_STATELESS = (Monitor, OrderEnforcing, PassiveEnvChecker)  # or with a state that is kept here
_COUNTS = ("episode_returns", "episode_lengths")  # of a VecMonitor


def check_environment(env: VecEnv) -> None:
    """Raise HsrlError unless the environments, and the wrappers around them, can go on from arrays."""
    inner = env
    while isinstance(inner, VecEnvWrapper):
        if not isinstance(inner, VecMonitor):
            raise _unknown(type(inner).__name__)
        inner = inner.venv
    if not (env.has_attr("snapshot") and env.has_attr("restore")):
        raise HsrlError("got environments without snapshot() and restore(), expected those of hsrl_gym.")
    if isinstance(inner, SlateVecEnv):
        return
    for one in getattr(inner, "envs", ()):
        wrapped = one
        while isinstance(wrapped, gymnasium.Wrapper):
            if not isinstance(wrapped, _STATELESS):
                raise _unknown(type(wrapped).__name__)
            wrapped = wrapped.env
    if not hasattr(inner, "envs"):
        known = {wrapper.__name__ for wrapper in _STATELESS}
        for name in {name for text in inner.env_method("__str__") for name in _wrappers_in(text)} - known:
            raise _unknown(name)


def _wrappers_in(text: str) -> list[str]:
    """Return the names of the wrappers in Gymnasium's text of an environment: all that another process tells of them.

    It is "<TimeLimit<SlateEnv<HSRL-Bundle-v0>>>", or "<TimeLimit<SlateEnv instance>>" for one without an id.
    """
    names = text.rstrip(">").split("<")[1:]
    return names[:-1] if names[-1].endswith(" instance") else names[:-2]


def _unknown(wrapper: str) -> HsrlError:
    return HsrlError(f"got an environment in a {wrapper}, whose state a checkpoint does not hold; train without it.")


def environment_arrays(env: VecEnv) -> Arrays:
    """Return snapshots of the environments, and the rewards of the sessions that are not over."""
    numbers = [0] if _is_one_batch(env) else list(range(env.num_envs))
    snapshots = env.env_method("snapshot", indices=numbers)
    arrays = {
        f"{number}/{name}": values
        for number, one in zip(numbers, snapshots, strict=True)
        for name, values in one.items()
    }
    monitor = _monitor(env)
    if monitor is not None:
        arrays.update({name: getattr(monitor, name).copy() for name in _COUNTS})
    elif env.env_is_wrapped(Monitor)[0]:
        arrays.update({f"rewards/{i}": np.array(one, dtype=float) for i, one in enumerate(env.get_attr("rewards"))})
    return arrays


def restore_environment(env: VecEnv, arrays: Arrays) -> None:
    """Let the environments go on where `environment_arrays` found them.

    Raises:
        HsrlError: for environments with other users, items or rules.
    """
    env.reset()  # wrappers let nobody step before it
    for number in [0] if _is_one_batch(env) else range(env.num_envs):
        env.env_method("restore", part_of(arrays, str(number)), indices=[number])
    monitor = _monitor(env)
    if monitor is not None:
        for name in _COUNTS:
            setattr(monitor, name, arrays[name].copy())
    elif env.env_is_wrapped(Monitor)[0]:
        for number in range(env.num_envs):
            env.set_attr("rewards", arrays[f"rewards/{number}"].tolist(), [number])


def _is_one_batch(env: VecEnv) -> bool:
    return isinstance(env.unwrapped, SlateVecEnv)


def _monitor(env: VecEnv) -> VecMonitor | None:
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecMonitor):
            return env
        env = env.venv
    return None
