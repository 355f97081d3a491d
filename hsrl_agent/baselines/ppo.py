"""PPO on HSRL's own policy: SB3's algorithm, in SID space, with HPN as actor and MLC as critic."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from hsrl_agent.hsrl_policy import HSRLPolicy


def make_ppo(env: VecEnv, seed: int = 0, device: str = "cpu", **changes: Any) -> PPO:
    """Return SB3's PPO on `HSRLPolicy`: 16 updates every 16 vector steps, as many as HSRL has.

    Args:
        env: an environment with action_mode="sid".
        seed: of weights, rollouts and environment.
        device: "cpu" or "cuda".
        changes: any argument of SB3's PPO.
    """
    settings: dict[str, Any] = {
        "learning_rate": 1e-3,
        "n_steps": 16,
        "n_epochs": 4,
        "gamma": 0.9,
        "ent_coef": 0.01,
        "max_grad_norm": 1.0,
        **changes,
    }
    settings.setdefault("batch_size", max(env.num_envs * settings["n_steps"] // 4, 2))  # 128 with 32 users
    return PPO(HSRLPolicy, env, seed=seed, device=device, **settings)
