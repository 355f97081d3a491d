"""Rows on disk, one JSON file a finished run, and what they say together."""

from __future__ import annotations

import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsrl_gym.errors import HsrlError
from spec import ROW_SCHEMA

Row = dict[str, Any]

# As tables order them. Plugged-in agents stand last.
LABELS = {
    "random": "Random",
    "popularity": "Popularity",
    "oracle": "Greedy oracle",
    "sl": "SL",
    "a2c": "A2C",
    "a2c-log": "A2C (warm start)",
    "ddpg": "DDPG",
    "td3": "TD3",
    "pgra": "PG-RA",
    "hac": "HAC",
    "hac-log": "HAC (warm start)",
    "ppo": "PPO (HSRLPolicy)",
    "hsrl-paper": "HSRL (paper's form)",
    "hsrl-scratch": "HSRL (from scratch)",
    "hsrl-items": "HSRL (item space)",
    "hsrl": "HSRL",
}
REFERENCE = "hsrl"  # what the other methods are paired with
_N_RESAMPLES = 9_999
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "key": str,
    "env": str,
    "method": str,
    "seed": int,
    "steps": int,
    "total_reward": (int, float),
    "depth": (int, float),
    "click_rate": (int, float),
    "n_episodes": int,
    "curve": list,
    "bundle": dict,
    "session": dict,
    "learns_online": bool,
}


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's own is for its owner alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all."""
    write_bytes(path, text.encode())


def row_path(out: Path, env: str, method: str, seed: int, key: str) -> Path:
    """Return where the row of a run stands."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{env}-{method}-seed{seed}-{key}")
    return out / "runs" / f"{name}.json"


def write_row(out: Path, row: Row) -> Path:
    """Write the row of a finished run, and return its file."""
    path = row_path(out, row["env"], row["method"], row["seed"], row["key"])
    write_text(path, json.dumps(row, indent=1, allow_nan=False) + "\n")
    return path


def read_rows(out: Path) -> tuple[dict[str, Row], list[str]]:
    """Return the rows in a folder by key, and a line for each file that is none."""
    rows, complaints = {}, []
    for path in sorted((out / "runs").glob("*.json")):
        try:
            row = _checked(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, OSError) as error:
            complaints.append(f"{path} cannot be used ({error}); that run is done again.")
            continue
        rows[row["key"]] = row
    return rows, complaints


def _checked(row: Any) -> Row:
    """Return the row; raise HsrlError, a ValueError, if it is none."""
    if not isinstance(row, dict) or row.get("schema") != ROW_SCHEMA:
        got = row.get("schema") if isinstance(row, dict) else type(row).__name__
        raise HsrlError(f"got schema {got!r}, expected {ROW_SCHEMA}")
    for name, kind in _REQUIRED.items():
        if not isinstance(row.get(name), kind):
            raise HsrlError(f"got {name} {row.get(name)!r}, expected {kind}")
    return row


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95% bootstrap interval.

    Attributes:
        mean: over the seeds.
        low, high: None for one seed. With two, the bootstrap's ends are the two values themselves.
        n: number of seeds.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    def text(self, digits: int = 2, signed: bool = False) -> str:
        """Return "mean [low, high]", or "mean [n/a]" for one seed."""
        form = f"{{:{'+' if signed else ''}.{digits}f}}"
        ends = "n/a" if self.low is None or self.high is None else f"{form.format(self.low)}, {form.format(self.high)}"
        return f"{form.format(self.mean)} [{ends}]"


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of one value a seed and its 95% bootstrap interval.

    BCa where it is defined (three seeds and more), else the percentiles of the bootstrap.
    """
    from scipy.stats import bootstrap  # takes a second or two, which processes that only learn need not wait for

    data = np.asarray(values, dtype=np.float64)
    mean = float(data.mean())
    if len(data) == 1:
        return Interval(mean, None, None, 1)
    if len(data) == 2 or np.ptp(data) == 0.0:
        return Interval(mean, float(data.min()), float(data.max()), len(data))
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # degenerate resamples give NaN, which is looked at below
            found = bootstrap(
                (data,), np.mean, n_resamples=_N_RESAMPLES, method=method, random_state=np.random.default_rng(0)
            ).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
    return Interval(mean, float(found.low), float(found.high), len(data))


@dataclass(frozen=True)
class Summary:
    """What a method reached in an environment.

    Attributes:
        env, method: whose.
        seeds: of the runs.
        total_reward, depth: over the seeds.
        true_reward: Total Reward by the true user, over the seeds that have it; None where nobody knows the user.
        reward_to_reference, depth_to_reference: the method minus HSRL, seed by seed; None without common seeds.
        true_to_reference: the same of Total Reward by the true user.
        reference_better: probability that a run of HSRL has the higher Total Reward; None for HSRL and without it.
        click_rate: mean over the seeds.
        train_seconds: mean over the seeds.
    """

    env: str
    method: str
    seeds: tuple[int, ...]
    total_reward: Interval
    depth: Interval
    true_reward: Interval | None
    reward_to_reference: Interval | None
    depth_to_reference: Interval | None
    true_to_reference: Interval | None
    reference_better: float | None
    click_rate: float
    train_seconds: float


def summarise(rows: Iterable[Row]) -> list[Summary]:
    """Return a summary for each environment (as they come) and method (in the order of the tables)."""
    cells: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        cells.setdefault(row["env"], {}).setdefault(line_of(row), {})[row["seed"]] = row
    return [
        _summary(env, method, methods[method], methods.get(REFERENCE, {}))
        for env, methods in cells.items()
        for method in sort_methods(methods)
    ]


def line_of(row: Row) -> str:
    """Return which line of a table a row belongs to: its method, or the variant of it that a study names."""
    return str(row.get("variant") or row["method"])


def sort_methods(methods: Iterable[str]) -> list[str]:
    """Return methods in the order of the tables, plugged-in agents last."""
    order = list(LABELS)
    return sorted(methods, key=lambda method: order.index(method) if method in order else len(order))


def label(method: str) -> str:
    """Return what tables call a method; a plugged-in agent goes by its class."""
    return LABELS.get(method, method.rpartition(":")[2])


def probability_of_improvement(better: Sequence[float], worse: Sequence[float]) -> float:
    """Return the share of all pairs in which a run of `better` lies above one of `worse`, ties counted half.

    Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice": all pairs, not those
    of one seed, so that n seeds give n^2 comparisons.
    """
    difference = np.subtract.outer(np.asarray(better, dtype=np.float64), np.asarray(worse, dtype=np.float64))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def _true_rewards(runs: dict[int, Row]) -> dict[int, float]:
    """Return Total Reward by the true user of the seeds that have it."""
    return {seed: run["true_user"]["total_reward"] for seed, run in sorted(runs.items()) if run.get("true_user")}


def _summary(env: str, method: str, runs: dict[int, Row], reference: dict[int, Row]) -> Summary:
    seeds = sorted(runs)

    def over_seeds(column: str) -> list[float]:
        return [runs[seed][column] for seed in seeds]

    true_rewards, true_reference = _true_rewards(runs), _true_rewards(reference)
    rivals = [row["total_reward"] for row in reference.values()] if method != REFERENCE else []
    common = [seed for seed in seeds if seed in reference] if method != REFERENCE else []

    def paired(column: str) -> Interval | None:
        return interval([runs[seed][column] - reference[seed][column] for seed in common]) if common else None

    both = [seed for seed in common if seed in true_rewards and seed in true_reference]
    true_changes = [true_rewards[seed] - true_reference[seed] for seed in both]

    return Summary(
        env=env,
        method=method,
        seeds=tuple(seeds),
        total_reward=interval(over_seeds("total_reward")),
        depth=interval(over_seeds("depth")),
        true_reward=interval(list(true_rewards.values())) if true_rewards else None,
        reward_to_reference=paired("total_reward"),
        depth_to_reference=paired("depth"),
        true_to_reference=interval(true_changes) if true_changes else None,
        reference_better=probability_of_improvement(rivals, over_seeds("total_reward")) if rivals else None,
        click_rate=float(np.mean(over_seeds("click_rate"))),
        train_seconds=float(np.mean([runs[seed].get("train_seconds", 0.0) for seed in seeds])),
    )
