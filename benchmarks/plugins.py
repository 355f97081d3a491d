"""Methods by name: those of the tables, and anyone's own as "package.module:Class"."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3 import A2C, DDPG, PPO, TD3

from hsrl_agent.baselines import HAC, PGRA, A2CFromLog, Oracle, Popularity, RandomSlates, Supervised
from hsrl_agent.hsrl import HSRL
from hsrl_agent.methods import METHODS, Agent, Method, find_method
from hsrl_gym.envs.actions import ACTION_MODES
from hsrl_gym.errors import HsrlError, unknown_name

CONTRACT = "Class(env, seed=seed) with learn(total_timesteps) and predict(observation, deterministic=True)"

# Whose keyword arguments the settings of a method are.
_TAKES_SETTINGS: dict[str, type] = {
    "random": RandomSlates,
    "popularity": Popularity,
    "oracle": Oracle,
    "sl": Supervised,
    "a2c": A2C,
    "a2c-log": A2CFromLog,
    "ddpg": DDPG,
    "td3": TD3,
    "pgra": PGRA,
    "hac": HAC,
    "hac-log": HAC,
    "ppo": PPO,
    "hsrl": HSRL,
    "hsrl-scratch": HSRL,
    "hsrl-items": HSRL,
    "hsrl-paper": HSRL,
}
_GIVEN = {"policy", "env", "seed", "device", "_init_setup_model"}  # by the runner, not by settings


def is_plugin(name: str) -> bool:
    """Return whether a method's name has the form "package.module:Class"."""
    return ":" in name


def resolve(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """Return the method of that name, from the tables or from a module.

    Raises:
        HsrlError: if there is none, or if it does not take `settings`.
    """
    if not is_plugin(name):
        method = find_method(name)
        check_settings(name, settings or {})
        return method
    agent_class = load_agent_class(name)
    _check_call(name, agent_class, settings or {})

    def make(env: Any, seed: int, device: str, settings: dict[str, Any]) -> Agent:
        agent: Agent = agent_class(env, seed=seed, **settings)
        return agent

    return Method(getattr(agent_class, "action_mode", "sid"), make)


def check_settings(method: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings that a method of the tables does not take.

    Raises:
        HsrlError: with the nearest known ones.
    """
    if method not in _TAKES_SETTINGS:
        return
    known = _keywords(_TAKES_SETTINGS[method]) - _GIVEN
    for name in settings:
        if name not in known:
            if not known:
                raise HsrlError(f"got the setting {name!r} for {method!r}, which takes none.")
            raise unknown_name(f"setting of {method!r}", name, known)


def _keywords(agent_class: type) -> set[str]:
    """Return the keywords a class takes, those included that it passes on to its parent as `**settings`."""
    known: set[str] = set()
    for parent in agent_class.__mro__:
        if "__init__" not in vars(parent):
            continue  # a part that is mixed in, and takes nothing itself
        parameters = inspect.signature(parent).parameters
        known |= {name for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD}
        if all(one.kind is not one.VAR_KEYWORD for one in parameters.values()):
            break
    return known


def load_agent_class(name: str) -> type:
    """Return the class that "package.module:Class" names, looked for from the working directory too.

    Raises:
        HsrlError: if it cannot be imported or is not an agent.
    """
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name.isidentifier():
        raise HsrlError(
            f"got the agent {name!r}, expected package.module:Class, for instance examples.my_agent:MyAgent."
        )
    _put_working_directory_on_path()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise HsrlError(
                f"agent {name!r}: no module {error.name!r} in {Path.cwd()} or among the installed packages."
            ) from None
        raise HsrlError(f"agent {name!r}: importing {module_name} failed: {error}.") from error
    except Exception as error:
        raise HsrlError(f"agent {name!r}: importing {module_name} failed: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise unknown_name(f"class of {module_name}", class_name, classes)
    return _checked_class(name, found)


def source_digest(name: str) -> str | None:
    """Return the sha256 of the file that a plugged-in agent stands in, None for a method of the tables."""
    if not is_plugin(name):
        return None
    origin = inspect.getsourcefile(load_agent_class(name))
    return None if origin is None else hashlib.sha256(Path(origin).read_bytes()).hexdigest()


def _put_working_directory_on_path() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
        importlib.invalidate_caches()


def _checked_class(name: str, found: object) -> type:
    missing = [method for method in ("learn", "predict") if not callable(getattr(found, method, None))]
    if not inspect.isclass(found) or missing:
        what = f"has no {' and no '.join(missing)}" if missing else "is no class"
        raise HsrlError(f"agent {name!r} {what}, expected {CONTRACT}.")
    mode = getattr(found, "action_mode", "sid")
    if mode not in ACTION_MODES:
        raise unknown_name(f"action_mode of {name!r}", mode, ACTION_MODES)
    return found


def _check_call(name: str, agent_class: type, settings: Mapping[str, Any]) -> None:
    """Refuse a class that cannot be called as the contract says, before anything is trained."""
    try:
        signature = inspect.signature(agent_class)
    except ValueError:  # a class written in C has none
        return
    try:
        signature.bind(None, seed=0, **settings)
    except TypeError as error:
        raise HsrlError(f"agent {name!r} cannot be made: {error}; expected {CONTRACT}.") from None


__all__ = ["CONTRACT", "METHODS", "check_settings", "is_plugin", "load_agent_class", "resolve", "source_digest"]
