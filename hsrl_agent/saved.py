"""Policies read from the files that agents save, to act with; nothing in a file is unpickled or run.

A file of Stable-Baselines3 is a zip of JSON and weights. `load` of an algorithm also unpickles objects in that JSON.
To act, the weights, the name of the policy's class and its plain settings are enough; the spaces are those of the
environment.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import pickletools
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from hsrl_agent.baselines.item_agent import SUFFIX, ItemAgent
from hsrl_agent.methods import METHODS
from hsrl_gym.errors import HsrlError
from hsrl_gym.play import Act

PACKAGES = ("hsrl_agent", "stable_baselines3", "sb3_contrib")  # whose policies are made
_LARGEST = 2**30  # bytes of one file in the zip


class SavedPolicy(Protocol):
    """What a file says before there is an environment."""

    @property
    def action_mode(self) -> str | None:
        """The action mode of the environment; None if the file does not say."""
        ...

    def actor(self, env: Any) -> Act:
        """Return the policy as a function, for a single environment."""
        ...


def read_policy(path: Path) -> SavedPolicy:
    """Return the policy in a file that `save` of an agent wrote.

    Raises:
        HsrlError: for a file that holds no policy which can be read.
        OSError: if there is no such file.
    """
    if not path.exists() and path.with_suffix(".zip").exists():
        path = path.with_suffix(".zip")  # SB3 adds it, so people leave it out
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            return _read_zip(path, file)
    return _read_item_agent(path)


@dataclass(frozen=True)
class _Sb3Policy:
    path: Path
    policy_class: type[BasePolicy]
    settings: dict[str, Any]
    weights: dict[str, Any]

    @property
    def action_mode(self) -> str | None:
        return getattr(self.policy_class, "action_mode", None)

    def actor(self, env: Any) -> Act:
        """Return the policy, which takes its most probable action; raise HsrlError if it does not fit `env`."""
        policy = self._fitted(env)
        memory: Any = None  # of recurrent policies

        def act(observation: Any, first: bool) -> Any:
            nonlocal memory
            try:
                action, memory = policy.predict(observation, memory, np.array([first]), deterministic=True)
            except Exception as error:  # the weights hold tables, too, and may name items that do not exist
                raise HsrlError(f"{self.path}: its policy finds no action ({_first_line(error)}).") from None
            return action

        return act

    def _fitted(self, env: Any) -> BasePolicy:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what there is to say was said when it was trained
                policy = self.policy_class(env.observation_space, env.action_space, lambda _: 0.0, **self.settings)
        except HsrlError:
            raise
        except Exception as error:  # the settings of a file may be anything
            raise self._misfit(_first_line(error)) from None
        try:
            policy.load_state_dict(self.weights)
        except Exception:  # as may its weights; torch's own message fills a screen
            raise self._misfit("its weights have other names or sizes") from None
        policy.set_training_mode(False)
        return policy

    def _misfit(self, why: str) -> HsrlError:
        return HsrlError(
            f"{self.path}: its {self.policy_class.__name__} does not fit the environment ({why}); name the "
            "environment, bundle and action mode that it was trained with."
        )


@dataclass(frozen=True)
class _ItemPolicy:
    path: Path
    agent_class: type[ItemAgent]
    action_mode: str | None = "item"

    def actor(self, env: Any) -> Act:
        agent = self.agent_class.load(self.path, DummyVecEnv([lambda: env]))
        return lambda observation, first: agent.predict({name: one[None] for name, one in observation.items()})[0][0]


def _read_zip(path: Path, file: IO[bytes]) -> _Sb3Policy:
    try:
        with zipfile.ZipFile(file) as archive:
            if max(one.file_size for one in archive.infolist()) > _LARGEST:
                raise HsrlError(f"{path} holds a file of more than {_LARGEST:,} bytes, expected a saved agent.")
            data = json.loads(archive.read("data"))
            with archive.open("policy.pth") as stored:
                weights = torch.load(stored, map_location="cpu", weights_only=True)
        described, settings, sde = data["policy_class"], data["policy_kwargs"], data.get("use_sde", False)
        named = _class_name(described[":serialized:"])
    except HsrlError:
        raise
    except Exception as error:  # a damaged file fails anywhere: zip, JSON, torch
        raise HsrlError(
            f"{path} cannot be read ({_first_line(error)}); expected a file written by save() of an agent."
        ) from None
    if not isinstance(settings, dict) or not isinstance(weights, dict):
        raise HsrlError(f"{path} holds no settings and weights of a policy, expected a file written by save().")
    floats = [one for one in weights.values() if isinstance(one, torch.Tensor) and one.is_floating_point()]
    if not all(bool(one.isfinite().all()) for one in floats):
        raise HsrlError(f"{path} holds weights that are not finite, expected numbers; train the agent again.")
    own = {name: _setting(value) for name, value in settings.items() if not name.startswith(":")}
    own.update({"use_sde": True} if sde is True else {})
    return _Sb3Policy(path, _policy_class(path, named), own, weights)


def _setting(value: Any) -> Any:
    """Return an entry of `policy_kwargs`; a part of a network, of which SB3 writes the name as text, as its class."""
    named = re.fullmatch(r"<class '([\w.]+)\.(\w+)'>", value) if isinstance(value, str) else None
    found = None if named is None else _imported(named[1], named[2], (*PACKAGES, "torch"))
    return found if isinstance(found, type) and issubclass(found, nn.Module | torch.optim.Optimizer) else value


def _imported(module: str, name: str, packages: tuple[str, ...]) -> Any:
    """Return what has that name in a module of one of the packages; None if there is no such thing."""
    if module.partition(".")[0] in packages:
        with contextlib.suppress(ImportError):
            return getattr(importlib.import_module(module), name, None)
    return None


def _class_name(serialized: str) -> str:
    """Return "module:Class" of a class that was pickled by its name. The pickle is read as a list, and not run."""
    strings: list[str] = []
    for operation, argument, _ in pickletools.genops(base64.b64decode(serialized)):
        if operation.name == "STACK_GLOBAL" and len(strings) == 2:
            return ":".join(strings)
        if operation.name in ("SHORT_BINUNICODE", "BINUNICODE"):
            strings.append(str(argument))
        elif operation.name not in ("PROTO", "FRAME", "MEMOIZE"):
            break
    return "a class of its own"


def _policy_class(path: Path, named: str) -> type[BasePolicy]:
    module, _, name = named.partition(":")
    found = _imported(module, name, PACKAGES)
    if not (isinstance(found, type) and issubclass(found, BasePolicy)):
        raise HsrlError(f"{path}: its policy is {named}, expected a policy of {', '.join(PACKAGES)} that is installed.")
    return found


def _read_item_agent(path: Path) -> _ItemPolicy:
    """Return one of the baselines that are no SB3 algorithms."""
    try:
        with safe_open(path, "pt") as content:
            name = (content.metadata() or {}).get("class")
    except (OSError, SafetensorError):
        raise HsrlError(f"{path} is no saved agent, expected a file written by save(): .zip or {SUFFIX}.") from None
    classes = {
        method.agent_class.__name__: method.agent_class
        for method in METHODS.values()
        if isinstance(method.agent_class, type) and issubclass(method.agent_class, ItemAgent)
    }
    if name not in classes:
        expected = ", ".join(sorted(classes))
        raise HsrlError(f"{path} holds {str(name)[:100]!r}, expected an agent of such files: {expected}.")
    return _ItemPolicy(path, classes[name])


def _first_line(error: Exception) -> str:
    """Return the start of an error's message, in one line."""
    words = " ".join("".join(one if one.isprintable() else " " for one in str(error)).split())
    return f"{type(error).__name__}: {words[:120]}"
