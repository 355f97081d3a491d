"""A2C in item space: SB3's own algorithm over a policy that samples K items without replacement (4.1.3)."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecEnv

from hsrl_agent.policies import ItemPolicy


def make_a2c(env: VecEnv, seed: int = 0, device: str = "cpu", **changes: Any) -> A2C:
    """Return SB3's A2C on `ItemPolicy`, with Adam, and an update per vector step, as HSRL has.

    Args:
        env: an environment with action_mode="item".
        seed: of weights, rollouts and environment.
        device: "cpu" or "cuda".
        changes: any argument of SB3's A2C.
    """
    settings: dict[str, Any] = {
        "learning_rate": 1e-3,
        "n_steps": 1,
        "gamma": 0.9,
        "ent_coef": 0.01,
        "vf_coef": 1.0,
        "max_grad_norm": 1.0,
        "use_rms_prop": False,
    }
    return A2C(ItemPolicy, env, seed=seed, device=device, **{**settings, **changes})
