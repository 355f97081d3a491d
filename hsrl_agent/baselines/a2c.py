"""A2C in item space: SB3's own algorithm over a policy that samples K items without replacement (4.1.3)."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecEnv

from hsrl_agent.from_log import warm_start
from hsrl_agent.policies import ItemPolicy


class A2CFromLog(A2C):
    """A2C that starts from the log as HSRL does, its critic catching up first.

    What is left between them: the space they act in, the credit, fresh data seen once, and a critic that knows no more
    than the policy.

    Args:
        warm_start: passes over the logged slates of the bundle's pool, at most, before the first step.
        sharpness: of the policy that the log gives (see `from_log.cloning_loss`).
        critic_first: updates in which the critic alone learns; none without a warm start.
        settings: those of SB3's A2C.
    """

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

    def learn(self, total_timesteps: int, *args: Any, **kwargs: Any) -> A2CFromLog:
        """Start from the log, if nothing was learned yet; then see SB3's `A2C.learn`."""
        if self.warm_start and self._n_updates == 0:
            assert self.env is not None
            assert isinstance(self.policy, ItemPolicy)
            users = self.env.get_attr("bundle")[0].users["train"]
            warm_start(self.policy, users, self.warm_start, self.sharpness, self.seed or 0)
        super().learn(total_timesteps, *args, **kwargs)
        return self

    def train(self) -> None:
        """Update as A2C does; at first with a gradient for the critic alone."""
        if self.warm_start and self._n_updates <= self.critic_first:
            assert isinstance(self.policy, ItemPolicy)
            self.policy.network.requires_grad_(self._n_updates == self.critic_first)
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
