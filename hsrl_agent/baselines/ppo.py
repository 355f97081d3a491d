"""PPO on HSRL's own policy: SB3's algorithm in SID space, with HPN as actor and MLC as critic."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import PPO

from hsrl_agent.hsrl_policy import HSRLPolicy
from hsrl_agent.method import Look, Method
from hsrl_agent.resuming import Resumable


class SlatePPO(Resumable, PPO):
    """SB3's PPO with 16 updates every 16 vector steps, as many as HSRL has.

    Args:
        policy, env, settings: as for SB3's PPO.
        batch_size: None for a quarter of a rollout: 128 with 32 users.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 1e-3,
        n_steps: int = 16,
        batch_size: int | None = None,
        n_epochs: int = 4,
        gamma: float = 0.9,
        ent_coef: float = 0.01,
        max_grad_norm: float = 1.0,
        **settings: Any,
    ) -> None:
        if batch_size is None:
            batch_size = max(getattr(env, "num_envs", 1) * n_steps // 4, 2)
        super().__init__(
            policy,
            env,
            learning_rate,
            n_steps,
            batch_size,
            n_epochs,
            gamma,
            ent_coef=ent_coef,
            max_grad_norm=max_grad_norm,
            **settings,
        )


METHODS = [
    Method(
        name="ppo",
        label="PPO (HSRLPolicy)",
        agent_class=SlatePPO,
        action_mode="sid",
        rank=110,
        look=Look("#7B61FF", ">"),
        policy=HSRLPolicy,
        cost=0.2,
    )
]
