"""A2C in item space: SB3's own algorithm over a policy that samples K items without replacement (4.1.3)."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecEnv

from hsrl_agent.from_log import StartsFromLog
from hsrl_agent.policies import ItemPolicy


class A2CFromLog(StartsFromLog, A2C):
    """A2C that starts from the log as HSRL does, its critic catching up first.

    What is left between them: the space they act in, the credit, fresh data seen once, and a critic that knows no more
    than the policy.

    Args:
        warm_start, sharpness, critic_first: see `StartsFromLog`.
        settings: those of SB3's A2C.
    """

    policy: ItemPolicy

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        warm_start: int = 8,
        sharpness: float = 3.0,
        critic_first: int = 50,
        **settings: Any,
    ) -> None:
        self.warm_start, self.sharpness, self.critic_first = warm_start, sharpness, critic_first
        super().__init__(policy, env, **settings)

    def steps_an_update(self) -> float:
        """See `StartsFromLog`."""
        return self.n_steps

    def train(self) -> None:
        """Update as A2C does; at first with a gradient for the critic alone."""
        if self.warm_start:
            learns = self.policy.network.bias.weight.requires_grad
            if self.catches_up() == learns:  # walks the weights at the first and the last of these updates alone
                self.policy.network.requires_grad_(not learns)
                self.policy.critic.requires_grad_(True)
        super().train()


def make_a2c(env: VecEnv, seed: int = 0, device: str = "cpu", from_log: bool = False, **changes: Any) -> A2C:
    """Return SB3's A2C on `ItemPolicy`, with Adam, and an update per vector step, as HSRL has.

    Args:
        env: an environment with action_mode="item".
        seed: of weights, rollouts and environment.
        device: "cpu" or "cuda".
        from_log: whether it is an `A2CFromLog`.
        changes: any argument of the class.
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
    kind = A2CFromLog if from_log else A2C
    return kind(ItemPolicy, env, seed=seed, device=device, **{**settings, **changes})
