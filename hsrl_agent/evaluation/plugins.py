"""Methods by name: the records of hsrl_agent, and anyone's own class as "package.module:Class"."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch

from hsrl_agent.method import Look, Method
from hsrl_agent.methods import METHODS, find_method
from hsrl_gym.envs.actions import ACTION_MODES
from hsrl_gym.errors import HsrlError, unknown_name

CONTRACT = "Class(env, seed=seed) with learn(total_timesteps) and predict(observation, deterministic=True)"

_GIVEN = {"policy", "env", "seed", "device", "_init_setup_model"}  # by the run, not by settings
_GIVEN_TO_POLICIES = {"observation_space", "action_space", "lr_schedule"}
_RANK = 1_000  # below all records
_SPARE_LOOKS = (Look("#009E73", "<"), Look("#117733", "p"), Look("#B8B000", "h"), Look("#8C6D31", "d"))
_imported: dict[str, tuple[ModuleSpec | None, str | None]] = {}  # name: its module as imported, digest of its file


def is_plugin(name: str) -> bool:
    """Return whether a method's name has the form "package.module:Class"."""
    return ":" in name


def resolve(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """Return the method of that name, ready to be made.

    Raises:
        HsrlError: if there is none, or if it does not take `settings`.
    """
    if not is_plugin(name):
        method = find_method(name)
        check_settings(method, settings or {})
        return method
    agent_class = load_agent_class(name)
    _check_call(name, agent_class, settings or {})
    return _record(name, agent_class)


def record_of(name: str) -> Method:
    """Return what tables and figures need of a method. It imports nothing, so the agent of a plug-in is a stand-in."""
    return METHODS.get(name) or _record(name, object)


def sorted_methods(names: Mapping[str, Any] | set[str] | list[str] | tuple[str, ...]) -> list[str]:
    """Return names of methods in the order of the tables, each once; plug-ins last, in their own order."""
    return sorted(dict.fromkeys(names), key=lambda name: record_of(name).rank)


def _record(name: str, agent_class: type) -> Method:
    mode = getattr(agent_class, "action_mode", "sid")
    look = _SPARE_LOOKS[sum(name.encode()) % len(_SPARE_LOOKS)]
    takes_device = agent_class is not object and "device" in _keywords(agent_class)
    return Method(name, name.rpartition(":")[2], agent_class, mode, _RANK, look, passes_device=takes_device)


def check_settings(method: Method, settings: Mapping[str, Any]) -> None:
    """Refuse settings, `policy_kwargs` among them, that the agent of a record does not take.

    Raises:
        HsrlError: with the nearest known ones.
    """
    known = _keywords(method.agent_class) - _GIVEN
    for name in settings:
        if not known:
            raise HsrlError(f"got the setting {name!r} for {method.name!r}, which takes none.")
        if name not in known:
            raise unknown_name(f"setting of {method.name!r}", name, known)
    policy = method.policy
    if isinstance(policy, str):
        policy = getattr(method.agent_class, "policy_aliases", {}).get(policy)
    if policy is not None:
        known = _keywords(policy) - _GIVEN_TO_POLICIES
        for name in settings.get("policy_kwargs") or {}:
            if name not in known:
                raise unknown_name(f"entry of policy_kwargs of {method.name!r}", name, known)


def settings_of(method: Method, inherited: bool = True) -> list[str]:
    """Return the names of the settings that a method takes.

    Args:
        method: its record.
        inherited: whether those that only SB3 declares count, though the record leaves them as they are.
    """
    return sorted((_keywords(method.agent_class, inherited) | set(method.defaults)) - _GIVEN)


def _keywords(made: type, inherited: bool = True) -> set[str]:
    """Return the keywords of a class, with those that it passes on to its parents as `**settings`.

    Args:
        made: the class.
        inherited: whether parents that belong to SB3 count.
    """
    known: set[str] = set()
    for parent in made.__mro__:
        if not inherited and parent.__module__.startswith("stable_baselines3."):
            break
        if "__init__" not in vars(parent) or parent in (object, torch.nn.Module):
            continue  # a mixin without arguments
        parameters = inspect.signature(vars(parent)["__init__"]).parameters
        known |= {name for name, one in parameters.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
        if all(one.kind is not one.VAR_KEYWORD for one in parameters.values()):
            break
    return known - {"self"}


def load_agent_class(name: str) -> type:
    """Return the class that "package.module:Class" names, looked for from the working directory too.

    Raises:
        HsrlError: if it cannot be imported or is not an agent.
    """
    found = load_object(name, "agent")
    missing = [method for method in ("learn", "predict") if not callable(getattr(found, method, None))]
    if not inspect.isclass(found) or missing:
        what = f"has no {' and no '.join(missing)}" if missing else "is no class"
        raise HsrlError(f"agent {name!r} {what}, expected {CONTRACT}.")
    mode = getattr(found, "action_mode", "sid")
    if mode not in ACTION_MODES:
        raise unknown_name(f"action_mode of {name!r}", mode, ACTION_MODES)
    return found


def load_object(name: str, kind: str) -> Any:
    """Return what "package.module:name" names, looked for from the working directory too.

    Args:
        name: of module and object.
        kind: what it is to be, for the complaint: "agent" or "protocol".

    Raises:
        HsrlError: if it cannot be imported.
    """
    module_name, _, object_name = name.partition(":")
    if not module_name or not object_name.isidentifier():
        raise HsrlError(
            f"got the {kind} {name!r}, expected package.module:{'Class' if kind == 'agent' else 'function'}, for "
            "instance examples.my_agent:MyAgent."
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
        importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise HsrlError(
                f"{kind} {name!r}: no module {error.name!r} in {Path.cwd()} or among the installed packages."
            ) from None
        raise HsrlError(f"{kind} {name!r}: importing {module_name} failed: {error}.") from error
    except Exception as error:
        raise HsrlError(f"{kind} {name!r}: importing {module_name} failed: {type(error).__name__}: {error}") from error
    found = getattr(module, object_name, None)
    if found is None:
        names = [key for key, value in vars(module).items() if callable(value)]
        raise unknown_name(f"name in {module_name}", object_name, names)
    return found


def source_digest(name: str, kind: str = "agent") -> str | None:
    """Return the sha256 of the file that "package.module:name" stands in.

    None for the records of hsrl_agent and for whatever stands in hsrl_agent: `provenance.code_digest` covers those.
    The first digest after each import is remembered for `source_changed`.
    """
    if not is_plugin(name) or name.startswith("hsrl_agent."):
        return None
    origin = inspect.getsourcefile(load_object(name, kind))
    digest = None if origin is None else hashlib.sha256(Path(origin).read_bytes()).hexdigest()
    imported = sys.modules[name.partition(":")[0]].__spec__  # a new one after importlib.reload
    if name not in _imported or _imported[name][0] is not imported:
        _imported[name] = (imported, digest)
    return digest


def source_changed(name: str, kind: str = "agent") -> bool:
    """Return whether the file of "package.module:name" differs from what this process has imported."""
    digest = source_digest(name, kind)
    return digest is not None and digest != _imported[name][1]


def _check_call(name: str, agent_class: type, settings: Mapping[str, Any]) -> None:
    """Refuse a class that cannot be called as the contract says, before anything is trained."""
    try:
        signature = inspect.signature(agent_class)
    except ValueError:  # a class written in C has none
        return
    try:
        given = {"device": "cpu"} if "device" in signature.parameters else {}
        signature.bind(None, seed=0, **given, **settings)
    except TypeError as error:
        raise HsrlError(f"agent {name!r} cannot be made: {error}; expected {CONTRACT}.") from None
