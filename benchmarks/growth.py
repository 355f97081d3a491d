"""Time and memory of a vector step and of an update of HSRL against batch, history, slate and catalog."""

from __future__ import annotations

import ctypes
import gc
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hsrl_agent.hsrl import HSRL
from hsrl_agent.vec_env import SlateVecEnv
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.items.codebook import fit_codebook
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.profile import fit_profile_encoder
from results import write_bytes
from stopwatch import rounds

N_USERS, N_FEATURES, N_PROFILE = 2_000, 30, 16


@dataclass(frozen=True)
class Shape:
    """What grows: users of a vector step, history H, slate K, items N; V is 64 a level, L 3."""

    batch: int = 256
    history: int = 50
    slate: int = 9
    catalog: int = 300


@dataclass(frozen=True)
class Axis:
    """One sweep: the field of `Shape` that grows, its values, what it grows with, and what bounds it."""

    name: str
    values: tuple[int, ...]
    label: str
    bound: str


AXES = (
    Axis(
        "batch",
        (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536),
        "users in a vector step, B",
        "linear in B: every user's history is attended to; below about 16 users the fixed cost of the calls",
    ),
    Axis(
        "history",
        (10, 25, 50, 100, 200),
        "length of the history, H",
        "between linear and H^2: items attend to one another, in the user model and in the encoder",
    ),
    Axis(
        "slate",
        (1, 2, 5, 10, 25, 50),
        "items in a slate, K",
        "flat, then linear in K: noise, clicks and targets an item; the history does not see K",
    ),
    Axis(
        "catalog",
        (300, 1_000, 3_000, 10_000, 30_000, 100_000),
        "items in the catalog, N",
        "a step looks items up: flat in N; an update is linear in N: all items' scores, and the item table's gradient",
    ),
)


def unlearned_bundle(shape: Shape) -> Bundle:
    """Return a bundle of this shape: a user model as it is initialised, full histories, random features."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(shape.catalog + 1, N_FEATURES)).astype(np.float32)
    features[0] = 0.0
    profile = generator.normal(size=(N_USERS, N_PROFILE)).astype(np.float32)
    history = generator.integers(1, shape.catalog + 1, (N_USERS, shape.history)).astype(np.int32)
    slate = generator.integers(1, shape.catalog + 1, (N_USERS, shape.slate)).astype(np.int32)
    pool = LoggedSlates(profile, history, slate, np.zeros(slate.shape, np.uint8))
    config = SimulatorConfig(shape.catalog, N_FEATURES, N_PROFILE, shape.history)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = UserResponseModel(config, torch.as_tensor(features)).eval().requires_grad_(False)
    return Bundle(
        name="unlearned",
        source="random, to measure time and memory",
        codebook=fit_codebook(features, vocabulary=64, n_restarts=1),
        simulators={"train": model, "eval": model},
        users={"train": pool, "eval": pool},
        item_labels=tuple(f"item {i}" for i in range(shape.catalog + 1)),
        profile_encoder=fit_profile_encoder(profile, 0),
    )


def sweep(axis: Axis, device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each value of an axis: seconds and MB of a vector step, and of an update of HSRL."""
    bundle, made_of = None, None
    for value in axis.values:
        shape = replace(Shape(), **{axis.name: value})
        if bundle is None or replace(shape, batch=0) != made_of:
            bundle, made_of = unlearned_bundle(shape), replace(shape, batch=0)
        row: dict[str, Any] = {
            axis.name: value,
            **_measure(partial(_step, bundle, shape.batch, device), device, seconds),
        }
        if axis.name != "batch":
            update = _measure(partial(_update, bundle, device), device, seconds)
            row.update({f"update_{name}": number for name, number in update.items()})
        yield row


def _step(bundle: Bundle, batch: int, device: str) -> Callable[[], Any]:
    envs = SlateVectorEnv(batch, bundle, device=device)
    envs.action_space.seed(0)
    envs.reset(seed=0)
    actions = envs.action_space.sample()
    return lambda: envs.step(actions)


def _update(bundle: Bundle, device: str) -> Callable[[], Any]:
    envs = SlateVecEnv(SlateVectorEnv(32, bundle, device=device))
    agent = HSRL("HSRLPolicy", envs, seed=0, device=device, warm_start=0)  # the critic alone would be learning at first
    agent.learn(32 * 3)
    return lambda: agent.train(1, 64)


def _measure(make: Callable[[], Callable[[], Any]], device: str, seconds: float) -> dict[str, float | None]:
    """Return the median seconds of a call of what `make` makes, and the MB that a call takes at its peak."""
    action = make()
    action()
    gc.collect()
    knows_peak = _forget_peak(device)
    before = _memory("VmRSS", device)
    action()
    peak = _memory("VmHWM", device) - before
    taken = rounds(lambda: _finish(action(), device), seconds, least=3)
    return {"seconds": taken[len(taken) // 2], "mb": max(peak, 0.0) if knows_peak else None}


def _finish(result: Any, device: str) -> Any:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return result


def _forget_peak(device: str) -> bool:
    """Let the peak of memory begin anew, and tell whether that can be done here."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        ctypes.CDLL("").malloc_trim(0)  # give back what is free, so that it shows when it is taken again
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (AttributeError, OSError):
        return False
    return True


def _memory(name: str, device: str) -> float:
    """Return MB of this process, `VmRSS` now or `VmHWM` at its peak; nan where the system does not say."""
    if device.startswith("cuda"):
        used = torch.cuda.memory_allocated(device) if name == "VmRSS" else torch.cuda.max_memory_allocated(device)
        return used / 2**20
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), float("nan"))


def draw_growth(sweeps: dict[str, list[dict[str, Any]]], path: Path, machine: str) -> None:
    """Draw time (above) and memory (below) of each sweep, on logarithmic axes, with a line of slope one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(sweeps), 6.4), layout="constrained")
    panels = figure.subplots(2, len(sweeps), squeeze=False)
    axes_of = {axis.name: axis for axis in AXES}
    for column, (name, rows) in enumerate(sweeps.items()):
        for panel, key, unit, factor in (
            (panels[0][column], "seconds", "ms", 1e3),
            (panels[1][column], "mb", "MB", 1.0),
        ):
            values = np.array([row[name] for row in rows], dtype=float)
            step = factor * np.array([row[key] for row in rows], dtype=float)  # None becomes nan
            panel.plot(
                values, step, "o-", color="#0072B2", label="vector step" if name == "batch" else "step of 256 users"
            )
            if f"update_{key}" in rows[0]:
                update = factor * np.array([row[f"update_{key}"] for row in rows], dtype=float)
                panel.plot(values, update, "s-", color="#D55E00", label="update of HSRL, batch 64")
            panel.plot(values, step[-1] * values / values[-1], ":", color="0.6", label="linear")
            panel.set(xscale="log", yscale="log", ylabel=unit if column == 0 else "")
            panel.set_xlabel(axes_of[name].label if key == "mb" else "")
            panel.set_ylim(bottom=max(panel.get_ylim()[0], 1e-2))
            panel.grid(True, color="0.92")
            if key == "seconds":
                panel.legend(frameon=False, fontsize=8)
    figure.suptitle(f"Time (above) and memory at the peak (below), {machine}", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_bytes(path, buffer.getvalue())
