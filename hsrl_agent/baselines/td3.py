"""TD3: DDPG with two critics, a delayed actor and smoothed target actions, SB3's own (4.1.3)."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import TD3
from stable_baselines3.common.vec_env import VecEnv

from hsrl_agent.baselines.ddpg import HyperPolicy, hyper_settings


def make_td3(env: VecEnv, seed: int = 0, device: str = "cpu", **changes: Any) -> TD3:
    """Return SB3's TD3 with the settings of `make_ddpg`; `changes` are any argument of SB3's TD3."""
    return TD3(HyperPolicy, env, seed=seed, device=device, **hyper_settings(env, changes))
