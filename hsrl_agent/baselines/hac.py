"""HAC: hyper-actor critic, which aligns the point that an actor names with the slate it ends in (Liu et al. 2023)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import GymEnv
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from hsrl_agent.algorithm import SlateActorCritic
from hsrl_agent.baselines.latent import LatentNetwork, LatentPolicy
from hsrl_agent.buffers import SlateSamples
from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.encoder import SASRec


class HACNetwork(LatentNetwork):
    """Hyper-actions Z = f(s), the inverse module h(a), and one critic Q(s, Z) for both kinds of action."""

    def __init__(self, encoder: SASRec, is_live: Tensor, width: int, point_width: int, hidden: tuple[int, ...]) -> None:
        super().__init__(encoder, is_live, width, point_width)
        self.critic = nn.Sequential(*create_mlp(width + point_width, 1, list(hidden)))

    def infer(self, slates: Tensor) -> Tensor:
        """Return h(a), (B, d): the mean kernel of the items of slates (B, K)."""
        return self.kernels()[slates - 1].mean(1)

    def value_of(self, state: Tensor, points: Tensor) -> Tensor:
        """Return Q(s, Z), (B,)."""
        return self.critic(torch.cat([state, points], dim=1)).squeeze(-1)

    def judge(self, state: Tensor, points: Tensor) -> Tensor:
        """Return Q(s, Z), (B,), as a function of the points alone: no gradient reaches critic or state."""
        fixed = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        return functional_call(self.critic, fixed, (torch.cat([state.detach(), points], dim=1),)).squeeze(-1)


class HACPolicy(LatentPolicy):
    """Add noise to Z, and draw the slate from softmax <Z, kernel_i> without replacement; greedy: the top K of Z."""

    samples_items = True
    network: HACNetwork
    target_network: HACNetwork

    def __init__(self, *args: Any, exploration_noise: float = 0.1, **kwargs: Any) -> None:
        """See `LatentPolicy`; `exploration_noise` is the standard deviation of the noise on Z."""
        self.exploration_noise = exploration_noise
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "exploration_noise": self.exploration_noise}

    def _build_network(self) -> None:
        self.network = HACNetwork(self._encoder(), self._is_live(), self.width, self.point_width, self.critic_hidden)

    def spread(self) -> float:
        """Return the standard deviation of the noise on Z."""
        return self.exploration_noise


class Losses(NamedTuple):
    """The terms for a batch, each a mean over it, and what is logged beside them."""

    critic: Tensor
    actor: Tensor
    alignment: Tensor
    supervision: Tensor
    value: Tensor


class HAC(SlateActorCritic):
    """DDPG on hyper-actions whose critic learns from what was really shown.

    Replay is the published one, 100,000 transitions.

    Args:
        critic_weight: of the squared TD error of Q(s, h(a)).
        actor_weight: of -Q(s, Z); at 1 Z runs off to where Q is only guessed (the authors' actor is 10 times slower).
        alignment_weight: of ||Z - h(a)||^2 / d, a being the greedy slate of Z; both as in the authors' code.
        supervision_weight: of the cross-entropy of clicks.
        exploration_noise: standard deviation of the noise on Z while learning.
        settings: those of `SlateActorCritic`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"HACPolicy": HACPolicy}
    policy_base = HACPolicy
    policy: HACPolicy

    def __init__(
        self,
        policy: str | type[HACPolicy],
        env: GymEnv | str,
        *,
        critic_weight: float = 1.0,
        actor_weight: float = 0.1,
        alignment_weight: float = 0.1,
        supervision_weight: float = 1.0,
        exploration_noise: float = 0.1,
        buffer_size: int | None = 100_000,
        learning_starts: int = 2_000,
        policy_kwargs: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.critic_weight, self.actor_weight = critic_weight, actor_weight
        self.alignment_weight, self.supervision_weight = alignment_weight, supervision_weight
        super().__init__(
            policy,
            env,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            policy_kwargs={"exploration_noise": exploration_noise, **(policy_kwargs or {})},
            **settings,
        )

    def objective(self, batch: SlateSamples) -> Tensor:
        """Return the weighted sum of the four losses."""
        losses = self.losses(batch)
        return (
            self.critic_weight * losses.critic
            + self.actor_weight * losses.actor
            + self.alignment_weight * losses.alignment
            + self.supervision_weight * losses.supervision
        )

    def facts(self, batch: SlateSamples) -> dict[str, Tensor]:
        """Return the terms of the loss, and the mean Q(s, h(a))."""
        return self.losses(batch)._asdict()

    def losses(self, batch: SlateSamples) -> Losses:
        """Return the terms of the objective for a batch of transitions."""
        network = self.policy.network
        state = self.policy.state(batch.observations)
        points = network.actor(state)  # Z
        scores = network.scores(points)
        with torch.no_grad():
            target = self.td_target(batch, self.next_value(batch))
            own_slates = SlateDistribution(scores).mode(self.policy.slate_size)
        # What the slate was worth trains critic and state; to move the kernels would be to move the action.
        value = network.value_of(state, network.infer(batch.slates).detach())
        return Losses(
            critic=(value - target).square().mean(),
            actor=-network.judge(state, points).mean(),
            alignment=(points - network.infer(own_slates)).square().mean(),
            supervision=functional.binary_cross_entropy_with_logits(scores.gather(1, batch.slates - 1), batch.clicks),
            value=value.detach().mean(),
        )

    def next_value(self, batch: SlateSamples) -> Tensor:
        """Return Q'(s', h'(a')), (B,), all of the target network, a' being the slate it would show next."""
        target = self.policy.target_network
        next_state = self.policy.state(batch.next_observations, target=True)
        next_slates = SlateDistribution(target.scores(target.actor(next_state))).mode(self.policy.slate_size)
        return target.value_of(next_state, target.infer(next_slates))
