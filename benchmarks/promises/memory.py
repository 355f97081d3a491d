"""Memory stays flat: the vector environment under random actions, for millions of user-steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from promises.promise import Finding, Say

N_ENVS = 1_000
N_SAMPLES = 40
ALLOWED = 4.0  # MiB of growth; an observation of 1,000 users that is kept for each step would be 400 MiB in 2,000 steps
CHURN = {"every": 9}


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth(step: Callable[[], Any], n_steps: int, say: Say = lambda text: None) -> tuple[float, list[float]]:
    """Return by how many MiB memory grew while `step` ran `n_steps` times, and the samples.

    It is the median of the last quarter of the samples above that of the second one: in the first quarter caches fill.
    """
    samples: list[float] = []
    told = time.monotonic()
    for done in range(n_steps):
        if done * N_SAMPLES // n_steps == len(samples):
            samples.append(resident())
        step()
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"  {done / n_steps:.0%}, {resident():.0f} MiB")
    quarter = max(len(samples) // 4, 1)
    return median(samples[-quarter:]) - median(samples[quarter : 2 * quarter] or samples), samples


def stepper(n_envs: int, seed: int, **kwargs: Any) -> Callable[[], None]:
    """Return a function that takes one step of `n_envs` users with random actions."""
    import gymnasium

    import hsrl_gym  # noqa: F401  (registers the environments)
    from hsrl_gym.bundle.store import PACKAGED

    envs = gymnasium.make_vec(
        "HSRL-RL4RS-v0", n_envs, vectorization_mode="vector_entry_point", bundle=str(PACKAGED / "rl4rs"), **kwargs
    )
    envs.action_space.seed(seed)
    envs.reset(seed=seed)

    def step() -> None:
        envs.step(envs.action_space.sample())

    return step


def run(n_user_steps: int, seed: int, say: Say) -> Finding:
    """Return what memory does over so many user-steps, and with churn over a tenth of them."""
    say(f"memory: {n_user_steps:,} user-steps of {N_ENVS:,} users")
    grown, samples = growth(stepper(N_ENVS, seed), max(n_user_steps // N_ENVS, 2), say)
    say(f"  with churn: {n_user_steps // 10:,} user-steps")
    churned, later = growth(stepper(N_ENVS, seed, churn=CHURN), max(n_user_steps // N_ENVS // 10, 2), say)
    return Finding(
        "Memory stays flat, however long an environment runs",
        f"{n_user_steps:,} user-steps of {N_ENVS:,} users at once with random actions, and {n_user_steps // 10:,} with "
        f"churn; growth after the first quarter, at most {ALLOWED:g} MiB",
        f"{grown:+.1f} MiB at {samples[-1]:.0f} MiB; with churn {churned:+.1f} MiB at {later[-1]:.0f} MiB",
        max(grown, churned) <= ALLOWED,
    )
