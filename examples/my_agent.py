"""Your own agent in the benchmark: any class with `learn` and `predict`.

python benchmarks/compare.py --envs HSRL-RL4RS-v0 --methods popularity,hsrl --agent examples.my_agent:MyAgent
"""

from __future__ import annotations

from typing import Any

import numpy as np


class MyAgent:
    """Show random slates and count clicks; then show everybody the items with the highest click rate."""

    action_mode = "item"  # actions are K item numbers; without this line, the tokens of K semantic IDs

    def __init__(self, env: Any, seed: int = 0) -> None:
        self.env, self.generator = env, np.random.default_rng(seed)
        self.n_items, self.slate_size = env.action_space.nvec[0], len(env.action_space.nvec)
        self.shown, self.clicks = np.full(self.n_items, 10.0), np.ones(self.n_items)

    def learn(self, total_timesteps: int) -> None:
        """Act for `total_timesteps` user-steps; `env` is an SB3 VecEnv that replaces users who leave."""
        self.env.reset()
        for _ in range(total_timesteps // self.env.num_envs):
            race = self.generator.random((self.env.num_envs, self.n_items))
            _, _, _, infos = self.env.step(race.argsort(axis=1)[:, : self.slate_size])
            for info in infos:
                self.shown[info["slate"] - 1] += 1
                self.clicks[info["slate"] - 1] += info["clicks"]

    def predict(self, observation: dict[str, Any], deterministic: bool = True) -> Any:
        """Return an action for each user: (B, K) item numbers, counted from 0. Asked while it learns, too."""
        best = (-self.clicks / self.shown).argsort()[: self.slate_size]
        return np.tile(best, (len(observation["profile"]), 1))
