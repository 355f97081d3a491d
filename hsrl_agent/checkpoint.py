"""Checkpoints: files from which training goes on as if it had not stopped."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from hsrl_agent.environment_state import Arrays
from hsrl_agent.files import write_bytes
from hsrl_agent.training_state import Values, check_can_go_on, put_state, take_state
from hsrl_gym.envs.settings import whole_number
from hsrl_gym.errors import HsrlError

FILE = "checkpoint.safetensors"
# What SB3, torch and NumPy raise for values that do not fit.
_MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Checkpoint(BaseCallback):
    """Save, every so many user-steps, all that training depends on; a stopped run then goes on with equal results.

        HSRL("HSRLPolicy", env).learn(32_000, callback=Checkpoint("run", every=3_200))

        agent = HSRL.resume("run", env)  # in another process, after a crash
        agent.learn(32_000 - agent.num_timesteps, callback=Checkpoint("run", every=3_200))

    The folder holds one file, that of the last checkpoint: weights, optimizer, replay buffer, counters, random states,
    and the environments in the middle of their sessions, with catalog, days and beliefs. It is replaced at once or not
    at all. Each run has a folder of its own. There are no pickled parts in the file. Other callbacks are not kept,
    nor are wrappers with a state.

    An algorithm that is SB3's own is made again by hand: `agent = PPO(.., env)` with the arguments that it had,
    `Checkpoint.restore("run", agent)`, then `agent.learn(rest, reset_num_timesteps=False)`.

    Args:
        folder: of the file; made if it is missing.
        every: user-steps between checkpoints. They are made between two updates: of an on-policy algorithm after a
            rollout. There is one more at the end of `learn`.
        verbose: 1 to print each.

    Raises:
        HsrlError: for `every` below 1; when learning begins, for an agent or environment with a state that is not kept.
    """

    def __init__(self, folder: str | Path, every: int = 10_000, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.folder, self.every = Path(folder), whole_number("checkpoint every", every, 1)

    def _init_callback(self) -> None:
        check_can_go_on(self.model)
        self._saved_at = self.model.num_timesteps
        self._between_updates = False

    def _on_rollout_start(self) -> None:
        self._between_updates = False
        if self.model.num_timesteps - self._saved_at >= self.every:
            self.save()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._between_updates = True  # not so if another callback stops in the middle of a step

    def _on_training_end(self) -> None:
        if self._between_updates and self.model.num_timesteps > self._saved_at:
            self.save()

    def save(self) -> None:
        """Write the file. SB3 calls this class between two updates; at another moment the file would be of no use."""
        arrays, values = take_state(self.model)
        values = {"agent": _description(self.model), **values}
        text = json.dumps(values, default=lambda number: number.item())
        content = to_bytes(arrays, {"values": text, "sha256": digest(arrays, text)})
        try:
            write_bytes(self.folder / FILE, content, alone=True)
        except OSError as error:
            raise HsrlError(f"{self.folder / FILE} cannot be written ({error}); give another folder.") from None
        self._saved_at = self.model.num_timesteps
        if self.verbose >= 1:
            print(f"checkpoint of {self._saved_at:,} user-steps in {self.folder}")

    @staticmethod
    def restore(folder: str | Path, agent: BaseAlgorithm) -> None:
        """Bring an agent to the last checkpoint; it was made with the same arguments, in an environment alike.

        Raises:
            HsrlError: for a file that is missing or damaged, and for another agent or environment.
        """
        arrays, values = read(folder)
        put(folder, agent, arrays, values)


def read(folder: str | Path) -> tuple[Arrays, Values]:
    """Return the arrays and values of the checkpoint in a folder.

    Raises:
        HsrlError: for a file that is missing or damaged.
    """
    file = Path(folder) / FILE
    try:
        with safe_open(file, "np") as content:
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118  (no mapping)
            header = content.metadata() or {}
        if header["sha256"] != digest(arrays, header["values"]):
            raise ValueError("its content is not what was written")
        values = json.loads(header["values"])
        for name, kind in {"class": str, "arguments": dict, "missing": list}.items():
            if not isinstance(values["agent"][name], kind):
                raise TypeError(f"no {name} of the agent")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise HsrlError(f"{file} cannot be read ({error}); expected a file that Checkpoint wrote.") from None
    return arrays, values


def digest(arrays: Arrays, text: str) -> str:
    """Return the SHA-256 of the arrays, with their names, and of the values as JSON."""
    whole = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        whole.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode() + arrays[name].tobytes())
    return whole.hexdigest()


def put(folder: str | Path, agent: BaseAlgorithm, arrays: Arrays, values: Values) -> None:
    """Bring an agent to what was read.

    Raises:
        HsrlError: for another agent or environment.
    """
    check_can_go_on(agent)
    check_class(folder, type(agent), values)
    with fitting(folder):
        put_state(agent, arrays, values)


@contextmanager
def fitting(folder: str | Path) -> Iterator[None]:
    """Raise HsrlError where an agent cannot take what the checkpoint holds."""
    try:
        yield
    except HsrlError:
        raise
    except _MISFITS as error:
        line = str(error).strip().split("\n")[0]
        raise HsrlError(
            f"{Path(folder) / FILE} does not fit this agent ({line}); make it with the arguments that it had."
        ) from None


def check_class(folder: str | Path, agent_class: type, values: Values) -> None:
    """Raise HsrlError if the checkpoint is of another class."""
    name = values["agent"]["class"]
    if name != agent_class.__name__:
        raise HsrlError(f"{Path(folder) / FILE} holds a {name}, expected a {agent_class.__name__}; take that class.")


def _description(agent: BaseAlgorithm) -> Values:
    """Return the class of an agent, the arguments that it was made with, and which of them JSON cannot hold."""
    arguments: dict[str, Any] = {}
    made_with = getattr(agent, "made_with", {})
    missing = [] if "policy" in made_with else ["policy"]
    for name, value in made_with.items():
        try:
            arguments[name] = _plain(_policy_name(agent, value) if name == "policy" else value)
        except TypeError:
            missing.append(name)
    return {"class": type(agent).__name__, "arguments": arguments, "missing": missing}


def _policy_name(agent: BaseAlgorithm, policy: Any) -> Any:
    return next((name for name, known in agent.policy_aliases.items() if known is policy), policy)


def _plain(value: Any) -> Any:
    """Return a value in the form that JSON has for it; raise TypeError if it has none."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, torch.device | Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def arguments_of(agent_class: type, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a constructor by name, without the environment."""
    signature = inspect.signature(agent_class.__init__)  # type: ignore[misc]
    try:
        bound = signature.bind_partial(None, *given, **named).arguments
    except TypeError:
        return {}  # the constructor itself says what is wrong
    arguments: dict[str, Any] = {}
    for name, value in list(bound.items())[1:]:
        more = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        arguments.update(value if more else {name: value})
    arguments.pop("env", None)
    # SB3 writes into the dict that it is given as policy_kwargs.
    return {name: dict(value) if isinstance(value, dict) else value for name, value in arguments.items()}
