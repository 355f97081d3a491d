"""All that training depends on at a moment between two updates, as named arrays and values for JSON."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise
from stable_baselines3.common.save_util import recursive_getattr

from hsrl_agent.catalog_reader import CatalogReader
from hsrl_agent.environment_state import Arrays, check_environment, environment_arrays, restore_environment
from hsrl_gym.envs.snapshot import part_of
from hsrl_gym.errors import HsrlError

Values = dict[str, Any]

_SCALARS = (bool, int, float, str, np.generic, type(None))
_COUNTED = ("num_timesteps", "last_metrics")  # progress whose name does not begin with "_"
_EPISODE = ("r", "l", "t")  # what SB3 keeps of a finished session: reward, length, time


def check_can_go_on(agent: BaseAlgorithm) -> None:
    """Raise HsrlError if training depends on something that is not kept here."""
    noise = getattr(agent, "action_noise", None)
    noise = noise._base_noise if isinstance(noise, VectorizedActionNoise) else noise
    if noise is not None and not isinstance(noise, NormalActionNoise):
        raise HsrlError(f"got {type(noise).__name__}, expected NormalActionNoise or none: other noise remembers.")
    if getattr(agent, "use_sde", False):
        raise HsrlError("got use_sde=True, whose noise a checkpoint does not hold; train with use_sde=False.")
    if hasattr(agent, "_last_lstm_states"):
        raise HsrlError(f"got a {type(agent).__name__}, whose recurrent state a checkpoint does not hold.")
    if agent.env is None:
        raise HsrlError("got an agent without an environment, expected one; call set_env(env) first.")
    check_environment(agent.env)


def take_state(agent: BaseAlgorithm) -> tuple[Arrays, Values]:
    """Return the state of an agent and its environments; the agent stays as it is."""
    arrays: Arrays = {}
    values: Values = {}
    for part, (take, _) in _PARTS.items():
        tables, values[part] = take(agent)
        arrays.update({f"{part}/{name}": np.array(table, order="C") for name, table in tables.items()})
    return arrays, values


def put_state(agent: BaseAlgorithm, arrays: Arrays, values: Values) -> None:
    """Bring an agent, made with the same arguments and in an environment alike, to a state that was taken.

    Raises:
        HsrlError: if agent or environment are others.
    """
    n_envs, own = len(arrays["progress/starts"]), agent.n_envs
    if n_envs != own:
        raise HsrlError(f"got an agent with {own} environments, expected {n_envs} as when it was saved.")
    if isinstance(agent.policy, CatalogReader):
        agent.policy.follow(agent.env.action_space.catalog)  # type: ignore[union-attr]  # a SlateSpace
    for part, (_, put) in _PARTS.items():
        put(agent, part_of(arrays, part), values[part])


def _take_environment(agent: BaseAlgorithm) -> tuple[Arrays, Values]:
    assert agent.env is not None
    return environment_arrays(agent.env), {}


def _put_environment(agent: BaseAlgorithm, arrays: Arrays, values: Values) -> None:
    assert agent.env is not None
    restore_environment(agent.env, arrays)


def _take_weights(agent: BaseAlgorithm) -> tuple[Arrays, Values]:
    """Weights, buffers and optimizers; of an optimizer, settings and numbers are values."""
    arrays: Arrays = {}
    values: Values = {}
    modules, variables = agent._get_torch_save_params()
    for name in modules:
        state = recursive_getattr(agent, name).state_dict()
        rows: dict[str, Any] = {name: state}
        if "param_groups" in state:
            rows = {f"{name}/{index}": row for index, row in state["state"].items()}
            numbers = {
                str(i): {key: x for key, x in row.items() if not _is_tensor(x)} for i, row in state["state"].items()
            }
            values[name] = {"groups": state["param_groups"], "numbers": numbers}
        for place, row in rows.items():
            arrays.update({f"{place}/{key}": _array(x) for key, x in row.items() if _is_tensor(x)})
    arrays.update({f"{name}/": _array(recursive_getattr(agent, name)) for name in variables})
    return arrays, values


def _put_weights(agent: BaseAlgorithm, arrays: Arrays, values: Values) -> None:
    modules, variables = agent._get_torch_save_params()
    for name in modules:
        rows = {key: torch.as_tensor(x) for key, x in part_of(arrays, name).items()}
        state: dict[str, Any] = dict(rows)
        if name in values:
            places: dict[int, dict[str, Any]] = {int(i): dict(row) for i, row in values[name]["numbers"].items()}
            for key, tensor in rows.items():
                index, entry = key.split("/")
                places.setdefault(int(index), {})[entry] = tensor
            state = {"state": places, "param_groups": [_as_group(group) for group in values[name]["groups"]]}
        recursive_getattr(agent, name).load_state_dict(state)
    for name in variables:
        recursive_getattr(agent, name).data.copy_(torch.as_tensor(arrays[f"{name}/"]))


def _as_group(group: Values) -> Values:
    return {name: tuple(x) if isinstance(x, list) and name != "params" else x for name, x in group.items()}


def _take_memory(agent: BaseAlgorithm) -> tuple[Arrays, Values]:
    """The filled rows of the replay buffer; a rollout buffer is empty between two updates."""
    buffer = getattr(agent, "replay_buffer", None)
    if buffer is None:
        return {}, {}
    filled = buffer.buffer_size if buffer.full else buffer.pos
    rows = {name: _array(table[:filled]) for name, table in _tables(buffer).items()}
    return rows, {"pos": buffer.pos, "full": buffer.full}


def _put_memory(agent: BaseAlgorithm, arrays: Arrays, values: Values) -> None:
    buffer = getattr(agent, "replay_buffer", None)
    if buffer is None:
        return
    for name, table in _tables(buffer).items():
        rows = arrays[name]
        table[: len(rows)] = torch.as_tensor(rows) if _is_tensor(table) else rows
    buffer.pos, buffer.full = int(values["pos"]), bool(values["full"])


def _tables(buffer: Any) -> dict[str, Any]:
    """Return the arrays and tensors of a replay buffer with a row for each vector step, by name."""
    flat: dict[str, Any] = {}
    for name, value in vars(buffer).items():
        flat.update({f"{name}/{key}": x for key, x in value.items()} if isinstance(value, dict) else {name: value})
    return {
        name: x for name, x in flat.items() if isinstance(x, np.ndarray | torch.Tensor) and len(x) == buffer.buffer_size
    }


def _take_progress(agent: BaseAlgorithm) -> tuple[Arrays, Values]:
    """Counters, the last observation, and the sessions that SB3's log averages over."""
    last = agent._last_obs
    arrays = {f"obs/{name}": x for name, x in last.items()} if isinstance(last, dict) else {"obs": np.asarray(last)}
    arrays["starts"] = np.asarray(agent._last_episode_starts)
    for key in _EPISODE:
        arrays[f"episodes/{key}"] = np.array([one[key] for one in agent.ep_info_buffer or ()])
    return arrays, {name: getattr(agent, name) for name in _counters(agent)}


def _put_progress(agent: BaseAlgorithm, arrays: Arrays, values: Values) -> None:
    for name in _counters(agent):
        if name in values:
            setattr(agent, name, values[name])
        elif getattr(agent, name) is not None:  # None is what an array will replace
            raise HsrlError(f"got a checkpoint without {name}, expected every counter of a {type(agent).__name__}.")
    names = [name for name in arrays if name.startswith("obs/")]
    agent._last_obs = {name[4:]: arrays[name].copy() for name in names} if names else arrays["obs"].copy()
    agent._last_episode_starts = arrays["starts"].copy()
    # Python's own numbers, of single environments, have 8 bytes; those of a VecMonitor have 4.
    columns = [arrays[f"episodes/{key}"] for key in _EPISODE]
    rows = zip(*(column.tolist() if column.itemsize == 8 else column for column in columns), strict=True)
    agent.ep_info_buffer = deque((dict(zip(_EPISODE, row, strict=True)) for row in rows), agent._stats_window_size)
    agent.ep_success_buffer = deque(maxlen=agent._stats_window_size)


def _counters(agent: BaseAlgorithm) -> set[str]:
    """Return the names of what counts and is counted; settings come with the arguments of the agent."""
    names = {name for name in dir(agent) if name.startswith("_") and not name.startswith("__")} - {"_custom_logger"}
    counters = {name for name in names if isinstance(getattr(agent, name, ...), _SCALARS)}
    return counters | {name for name in _COUNTED if hasattr(agent, name)}


def _take_random(agent: BaseAlgorithm) -> tuple[Arrays, Values]:
    """The random states of Python, NumPy and torch, of the action space and of the replay buffer."""
    arrays = {"torch": torch.get_rng_state().numpy()}
    if agent.device.type == "cuda":
        arrays["cuda"] = torch.cuda.get_rng_state(agent.device).numpy()
    values = {name: generator.bit_generator.state for name, generator in _generators(agent).items()}
    kind, keys, *place = np.random.get_state()  # noqa: NPY002  (SB3 draws from it)
    return arrays, {**values, "python": random.getstate(), "numpy": [kind, np.asarray(keys).tolist(), *place]}


def _put_random(agent: BaseAlgorithm, arrays: Arrays, values: Values) -> None:
    version, keys, gauss = values["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(values["numpy"]))  # noqa: NPY002
    for name, generator in _generators(agent).items():
        generator.bit_generator.state = values[name]
    torch.set_rng_state(torch.as_tensor(arrays["torch"]))
    if agent.device.type == "cuda" and "cuda" in arrays:
        torch.cuda.set_rng_state(torch.as_tensor(arrays["cuda"]), agent.device)


def _generators(agent: BaseAlgorithm) -> dict[str, np.random.Generator]:
    generators = {"action_space": agent.action_space.np_random}
    own = getattr(getattr(agent, "replay_buffer", None), "generator", None)
    return generators if own is None else {**generators, "replay_buffer": own}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _array(table: Any) -> NDArray[Any]:
    return table.detach().cpu().numpy() if _is_tensor(table) else np.asarray(table)


_Take = Callable[[BaseAlgorithm], tuple[Arrays, Values]]
_Put = Callable[[BaseAlgorithm, Arrays, Values], None]
# In the order in which they are put back: the random states last, as nothing may draw after that.
_PARTS: dict[str, tuple[_Take, _Put]] = {
    "environment": (_take_environment, _put_environment),
    "weights": (_take_weights, _put_weights),
    "memory": (_take_memory, _put_memory),
    "progress": (_take_progress, _put_progress),
    "random": (_take_random, _put_random),
}
