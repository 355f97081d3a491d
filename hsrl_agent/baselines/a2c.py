"""A2C in item space: SB3's algorithm with a policy that samples K items without replacement (4.1.3)."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import A2C

from hsrl_agent.following import FollowsCatalog
from hsrl_agent.item_policy import ItemPolicy
from hsrl_agent.method import Look, Method
from hsrl_agent.pretraining import PretrainedFromLog


class PretrainedA2C(PretrainedFromLog, FollowsCatalog, A2C):
    """A2C that is pretrained on the log as HSRL is, with the same critic warm-up.

    Differences from HSRL: action space, credit, sample reuse, privileged critic.

    Args:
        policy, env, settings: as for SB3's A2C.
        pretrain_epochs, inverse_temperature, critic_warmup_steps: see `PretrainedFromLog`.
    """

    policy: ItemPolicy

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        pretrain_epochs: int = 8,
        inverse_temperature: float = 3.0,
        critic_warmup_steps: int = 50,
        **settings: Any,
    ) -> None:
        self.pretrain_epochs, self.inverse_temperature = pretrain_epochs, inverse_temperature
        self.critic_warmup_steps = critic_warmup_steps
        super().__init__(policy, env, **settings)

    def steps_per_update(self) -> float:
        """See `PretrainedFromLog`."""
        return self.n_steps

    def train(self) -> None:
        """Update as A2C does; during critic warm-up only the critic has gradients."""
        learns = self.policy.network.bias.weight.requires_grad
        if self.in_critic_warmup() == learns:  # only the first and the last of these updates traverse the weights
            self.policy.network.requires_grad_(not learns)
            self.policy.critic.requires_grad_(True)
        super().train()


# Adam, and one update per vector step, as HSRL has.
DEFAULTS = {
    "learning_rate": 1e-3,
    "n_steps": 1,
    "gamma": 0.9,
    "ent_coef": 0.01,
    "vf_coef": 1.0,
    "max_grad_norm": 1.0,
    "use_rms_prop": False,
}

METHODS = [
    Method(
        name="a2c",
        label="A2C",
        agent_class=A2C,
        action_mode="item",
        rank=40,
        look=Look("#E69F00", "D"),
        policy=ItemPolicy,
        defaults=DEFAULTS,
        cost=0.15,
        paper={"rl4rs": (7.789, 9.140), "ml1m": (9.533, 10.644)},
    ),
    Method(
        name="a2c-pretrained",
        label="A2C (pretrained)",
        agent_class=PretrainedA2C,
        action_mode="item",
        rank=50,
        look=Look("#332288", "<"),
        policy=ItemPolicy,
        defaults=DEFAULTS,
        cost=0.45,
    ),
]
