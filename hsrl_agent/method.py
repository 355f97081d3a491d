"""The record of a method: every fact that tables, figures, tuning and tests need of it, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stable_baselines3.common.vec_env import VecEnv


class Agent(Protocol):
    """What a comparison needs of an agent."""

    def learn(self, total_timesteps: int) -> Any:
        """Learn from `total_timesteps` user-steps."""
        ...

    def predict(self, observation: Any, *, deterministic: bool = True) -> Any:
        """Return actions (B, n) of observations, and a state that is not used."""
        ...


@dataclass(frozen=True)
class Look:
    """How figures draw a method: a colour ("#rrggbb") and a matplotlib marker."""

    colour: str
    marker: str


@dataclass(frozen=True)
class Method:
    """One method of the comparison.

    Attributes:
        name: on the command line and in result rows.
        label: in tables and figures.
        agent_class: called as `agent_class([policy,] env, seed=, device=, **settings)`.
        action_mode: of the environment that the agent acts in: "sid", "item" or "hyper".
        rank: place in tables; lower comes first.
        look: colour and marker in figures.
        policy: the first argument of SB3's algorithms; None for agents that take no policy.
        defaults: settings that differ from those of the class.
        learns_online: whether it learns by acting, so that a learning curve says something.
        cost: time of one user-step, 1 being HSRL's; of a method that does not learn online, the time of a whole run in
            the same unit. A guess, to start long runs first.
        paper: the paper's Table 2 (Total Reward, Depth) by data set, "rl4rs" and "ml1m". Only the method that is the
            paper's algorithm has it.
        passes_device: whether the agent takes `device`. Agents given by "package.module:Class" do not.
    """

    name: str
    label: str
    agent_class: type
    action_mode: str
    rank: int
    look: Look
    policy: str | type | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    learns_online: bool = True
    cost: float = 1.0
    paper: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    passes_device: bool = True

    def make(self, env: VecEnv, seed: int, device: str = "cpu", settings: Mapping[str, Any] | None = None) -> Agent:
        """Return the agent before it learns; `settings` win over `defaults`, `policy_kwargs` entry by entry."""
        given = () if self.policy is None else (self.policy,)
        place = {"device": device} if self.passes_device else {}
        agent: Agent = self.agent_class(*given, env, seed=seed, **place, **merged(self.defaults, settings or {}))
        return agent


def merged(defaults: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with changes; a mapping such as `policy_kwargs` is merged entry by entry."""
    result = {**defaults, **changes}
    for name, value in defaults.items():
        if isinstance(value, Mapping) and isinstance(changes.get(name), Mapping):
            result[name] = {**value, **changes[name]}
    return result
