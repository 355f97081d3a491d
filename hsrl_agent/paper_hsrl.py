"""HSRL as the paper has it (3.5): the joint actor-critic update, equation by equation."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import Tensor

from hsrl_agent.algorithm import SlateActorCritic
from hsrl_agent.buffers import SlateSamples
from hsrl_agent.hsrl_policy import HSRLPolicy
from hsrl_agent.method import Look, Method


class Losses(NamedTuple):
    """The terms of the objective for a batch, each a mean over it, and two scalars for the log."""

    critic: Tensor
    policy_gradient: Tensor
    entropy: Tensor
    behavioral_cloning: Tensor
    value: Tensor
    advantage: Tensor


class PaperHSRL(SlateActorCritic):
    """HPN and MLC trained jointly with the paper's losses and settings.

    | Equation | Function |
    |---|---|
    | 10 | `encoder.SASRec.forward` |
    | 11, 12, 13 | `networks.HierarchicalPolicyNetwork.forward` |
    | 14 | `hsrl_network.HSRLNetwork.item_scores`, `distributions.SlateDistribution` |
    | 15, 16, 17 | `networks.MultiLevelCritic.forward` |
    | 18 | `algorithm.SlateActorCritic.td_target` |
    | 19 | `PaperHSRL.losses` |
    | 20 | `critic_loss` |
    | 21, 22 | `policy_gradient_loss`, with the clipped advantage of `PaperHSRL.item_advantages` |
    | 23 | `negative_entropy` |
    | 24 | `behavioral_cloning_loss` |
    | 25, 26 | `PaperHSRL.objective` |

    The paper does not give the learning rate, lambda_BC and the limit on the gradient norm. Codebook and item inputs
    are those of the bundle; `hsrl-gym build --codebook features` builds a bundle as in the paper.

    Args:
        policy: "HSRLPolicy" or a subclass of `HSRLPolicy`.
        env: an hsrl_gym environment with action_mode="sid".
        learning_rate, buffer_size, learning_starts, batch_size, tau, gamma: see `SlateActorCritic`.
        entropy_weight: lambda_en of eq. 25.
        bc_weight: lambda_BC of eq. 25.
        policy_kwargs: arguments of `HSRLPolicy` that differ from `default_policy_kwargs`: here dropout 0.1, free heads,
            the unnormalised likelihood, no item residual and no privileged critic.
        settings: other arguments of `SlateActorCritic`.

    Raises:
        HsrlError: for an environment in another action mode, or wrong `policy_kwargs`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"HSRLPolicy": HSRLPolicy}
    policy_base = HSRLPolicy
    default_policy_kwargs: ClassVar[dict[str, Any]] = {
        "dropout": 0.1,
        "heads": "free",
        "likelihood": "unnormalised",
        "item_residual": False,
        "privileged_critic": False,
    }
    policy: HSRLPolicy

    def __init__(
        self,
        policy: str | type[HSRLPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        *,
        buffer_size: int | None = 100_000,
        learning_starts: int = 2_000,
        batch_size: int = 64,
        tau: float = 0.01,
        gamma: float = 0.9,
        entropy_weight: float = 0.1,
        bc_weight: float = 0.1,
        policy_kwargs: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.entropy_weight, self.bc_weight = entropy_weight, bc_weight
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            batch_size=batch_size,
            tau=tau,
            gamma=gamma,
            policy_kwargs={**self.default_policy_kwargs, **(policy_kwargs or {})},
            **settings,
        )

    def objective(self, batch: SlateSamples) -> Tensor:
        """Return the joint loss (eq. 26): that of the critic (eq. 20) and that of the actor (eq. 25)."""
        losses = self.losses(batch)
        regularizers = self.entropy_weight * losses.entropy + self.bc_weight * losses.behavioral_cloning
        return losses.critic + losses.policy_gradient + regularizers

    def losses(self, batch: SlateSamples) -> Losses:
        """Return the terms of the objective for a batch of transitions."""
        plan = self.policy.plan(batch.observations, patience=batch.patience)
        with torch.no_grad():
            next_value = self.target_value(batch.next_observations, batch.next_patience)
            target = self.td_target(batch, next_value)  # Q(s, a), eq. 18
            advantage = target - plan.value  # eq. 19
        log_pi = self.policy.distribution_of(plan, batch.slates).log_prob_of_items(batch.slates)  # (B, K), eq. 14
        log_pi = log_pi.masked_fill(log_pi.isneginf(), 0.0)  # items that were taken off sale since say nothing
        return Losses(
            critic=critic_loss(plan.value, target),
            policy_gradient=policy_gradient_loss(self.item_advantages(advantage, batch), log_pi),
            entropy=negative_entropy(plan.log_probs),
            behavioral_cloning=behavioral_cloning_loss(batch.clicks, log_pi),
            value=plan.value.detach().mean(),
            advantage=advantage.mean(),
        )

    def item_advantages(self, advantage: Tensor, batch: SlateSamples) -> Tensor:
        """Return the weight of each item's log-likelihood, (B, K): the clipped advantage (B,) for all (eq. 21)."""
        return advantage.unsqueeze(1).expand_as(batch.clicks).clamp(-1.0, 1.0)

    def target_value(self, observations: dict[str, Tensor], patience: Tensor) -> Tensor:
        """Return the value (B,) by the target network, of observations of users with patience (B,)."""
        return self.policy.plan(observations, target=True, patience=patience).value

    def metrics(self, batch: SlateSamples) -> dict[str, Tensor]:
        """Return the terms of the loss; entropy and value per level, and the level weights of the critic."""
        plan = self.policy.plan(batch.observations, patience=batch.patience)
        entropies = {f"entropy_{level}": -negative_entropy([log_p]) for level, log_p in enumerate(plan.log_probs, 1)}
        values = {f"value_{level}": value for level, value in enumerate(plan.level_values.mean(0))}
        weights = enumerate(self.policy.network.critic.level_weights())
        mixed = {f"mlc_weight_{level}": weight for level, weight in weights}
        return {**self.losses(batch)._asdict(), **entropies, **values, **mixed}


def critic_loss(value: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of values (B,) and TD targets (B,) (eq. 20)."""
    return (value - target).square().mean()


def policy_gradient_loss(advantages: Tensor, log_pi: Tensor) -> Tensor:
    """Return the mean of -A log pi over slates and users, for advantages and log-likelihoods (B, K) (eq. 21, 22)."""
    return -(advantages * log_pi).mean(1).mean()


def negative_entropy(log_probs: list[Tensor]) -> Tensor:
    """Return sum_l sum_z p log p, the mean over users, for L tensors (B, V_l) of log p (eq. 23)."""
    return torch.stack([(log_p.exp() * log_p).sum(1) for log_p in log_probs]).sum(0).mean()


def behavioral_cloning_loss(clicks: Tensor, log_pi: Tensor) -> Tensor:
    """Return the mean of -log pi over clicked items (eq. 24), clicks and log-likelihoods being (B, K).

    A slate without a click contributes 0.
    """
    clicked = clicks.sum(1)
    return (-(clicks * log_pi).sum(1) / clicked.clamp(min=1.0)).mean()


METHODS = [
    Method(
        name="hsrl-paper",
        label="HSRL (paper's form)",
        agent_class=PaperHSRL,
        action_mode="sid",
        rank=120,
        look=Look("#0072B2", "s"),
        policy="HSRLPolicy",
        cost=0.2,
        paper={"rl4rs": (12.308, 13.084), "ml1m": (18.884, 18.970)},
    )
]
