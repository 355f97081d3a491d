"""What one run is, and the key that a finished run is known by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hsrl_agent.evaluation.plugins import source_digest
from hsrl_agent.evaluation.provenance import code_digest
from hsrl_agent.evaluation.tasks import bundle_digest, bundle_folder, find_env
from hsrl_gym.errors import HsrlError

SCHEMA = 3  # of `RunSpec` and `RunResult` as they are written
# Environment i of a vector that starts at seed s has seed s + i. With consecutive seeds two runs would share nearly all
# of their users' noise. The seeds of runs therefore lie far apart, and those of scoring lie above them all.
SEED_STRIDE = 100_000
MAX_SEED = 2**32 // SEED_STRIDE - 1
EVAL_SEEDS = 2**40
MAX_CHECKPOINTS = 10_000
MAX_STEPS = 10**9  # months of learning; more is a slip of the keyboard


@dataclass(frozen=True)
class RunSpec:
    """What one run is. Everything here decides the result; nothing else does, but for the code and the bundle.

    Attributes:
        task: what tables call the environment and its users, for instance "RL4RS" or the name of one's own bundle.
        env: id of the environment.
        method: name of a `Method`, or "package.module:Class".
        seed: of weights, exploration and users; methods with the same seed are scored on the same users.
        steps: user-steps to learn from, SB3's total_timesteps.
        bundle: its folder; None for the environment's own.
        n_envs: users at once while learning.
        n_eval_episodes: sessions that score the run.
        n_checkpoints: points of the learning curve after the first; the last is the final score.
        device: "cpu", "cuda" or "cuda:N".
        settings: keyword arguments of the method.
        env_kwargs: of the environment, for instance {"reward": "mean_with_cost"}.
        variant: of a study, what tables call the run; "" for the method as it is.
        protocol: "package.module:function" from a spec to a `RunResult`; the standard one learns, then scores.
        protocol_kwargs: further arguments of the protocol.
        settings_name: where `settings` come from, as `--settings` names it; "" if that is not known. Like `task` it
            decides nothing.
    """

    task: str
    env: str
    method: str
    seed: int
    steps: int
    bundle: str | None = None
    n_envs: int = 32
    n_eval_episodes: int = 500
    n_checkpoints: int = 10
    device: str = "cpu"
    settings: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""
    protocol: str = "hsrl_agent.evaluation.run:learn_and_score"
    protocol_kwargs: Mapping[str, Any] = field(default_factory=dict)
    settings_name: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise HsrlError(f"got seed {self.seed}, expected 0 to {MAX_SEED}.")
        for name, most in (
            ("n_envs", SEED_STRIDE),
            ("n_eval_episodes", SEED_STRIDE),
            ("steps", MAX_STEPS),
            ("n_checkpoints", MAX_CHECKPOINTS),
        ):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise HsrlError(f"got {name} {value}, expected at least 1 and at most {most}.")

    @property
    def name(self) -> str:
        """What people call the run."""
        return f"{self.task} {self.line} seed {self.seed}"

    @property
    def line(self) -> str:
        """Which line of a table the run belongs to: its variant, else its method."""
        return self.variant or self.method

    @property
    def train_seed(self) -> int:
        """Seed of the agent and of its first environment."""
        return self.seed * SEED_STRIDE

    @property
    def eval_seed(self) -> int:
        """Seed of the first user that scores the run: the same for all methods, and none that was learned from."""
        return EVAL_SEEDS + self.seed * SEED_STRIDE

    def all_env_kwargs(self) -> dict[str, Any]:
        """Return the environment's arguments with the defaults of its id, without its bundle."""
        defaults = find_env(self.env).kwargs
        return {**{name: value for name, value in defaults.items() if name != "default_bundle"}, **self.env_kwargs}

    def key(self) -> str:
        """Return a hash of all that decides the result, so that a finished run is known again.

        It covers this spec, the content of the bundle, the code of hsrl_gym and hsrl_agent (without comments,
        docstrings and what only draws), and the source files of a plugged-in agent and of a protocol outside
        hsrl_agent. A run always has one torch thread, so that the number of processes does not matter.
        """
        identity = {
            **asdict(self),
            "task": None,  # a name decides nothing
            "settings_name": "",
            "env_kwargs": self.all_env_kwargs(),
            "bundle": bundle_digest(bundle_folder(self.env, self.bundle)),
            "agent": source_digest(self.method),
            "protocol_source": source_digest(self.protocol, "protocol"),
            "code": code_digest(),
            "schema": SCHEMA,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
