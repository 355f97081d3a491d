"""HAC: hyper-actor critic, which aligns the actor's point with the slate it is decoded to (Liu et al. 2023)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import GymEnv
from torch import Tensor, nn
from torch.func import functional_call

from hsrl_agent.algorithm import SlateActorCritic
from hsrl_agent.baselines.latent import LatentNetwork, LatentPolicy
from hsrl_agent.buffers import SlateSamples
from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.encoder import SASRec
from hsrl_agent.method import Look, Method
from hsrl_agent.pretraining import PretrainedFromLog, click_loss
from hsrl_gym.data.log import LoggedSlates


class HACNetwork(LatentNetwork):
    """Hyper-actions Z = f(s), the inverse module h(a), and one critic Q(s, Z) for Z and h(a) alike."""

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
        """Return Q(s, Z), (B,), as a function of the points alone: critic and state get no gradient."""
        fixed = {name: weight.detach() for name, weight in self.critic.named_parameters()}
        return functional_call(self.critic, fixed, (torch.cat([state.detach(), points], dim=1),)).squeeze(-1)


class HACPolicy(LatentPolicy):
    """Add noise to Z, and draw the slate from softmax <Z, kernel_i> without replacement; greedy: the top K of Z.

    Args:
        args, kwargs: see `LatentPolicy`.
        exploration_noise: standard deviation of the noise on Z.
        sampling_inverse_temperature: factor of the scores in that softmax; 1 in the published form.
    """

    samples_items = True
    network: HACNetwork
    target_network: HACNetwork

    def __init__(
        self, *args: Any, exploration_noise: float = 0.1, sampling_inverse_temperature: float = 1.0, **kwargs: Any
    ) -> None:
        self.exploration_noise = exploration_noise
        self.sampling_inverse_temperature = sampling_inverse_temperature
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        names = ("exploration_noise", "sampling_inverse_temperature")
        return {**super()._get_constructor_parameters(), **{name: getattr(self, name) for name in names}}

    def _build_network(self) -> None:
        self.network = HACNetwork(self._encoder(), self._is_live(), self.width, self.point_width, self.critic_hidden)

    @property
    def critic(self) -> nn.Module:
        """See `SlatePolicy.critic`."""
        return self.network.critic

    def spread(self) -> float:
        """Return the standard deviation of the noise on Z."""
        return self.exploration_noise


class Losses(NamedTuple):
    """The terms of the objective for a batch, each a mean over it, and a scalar for the log."""

    critic: Tensor
    actor: Tensor
    alignment: Tensor
    supervision: Tensor
    value: Tensor


class HAC(PretrainedFromLog, SlateActorCritic):
    """DDPG on hyper-actions whose critic learns from the slates that were really shown.

    Replay is as published, 100,000 transitions. Pretraining (`pretrain_epochs`) is an addition of this project: first
    HAC's own supervision and alignment on the logged slates, then the critic alone, then all four losses.

    Args:
        policy, env: see `SlateActorCritic`.
        critic_weight: of the squared TD error of Q(s, h(a)).
        actor_weight: of -Q(s, Z). At 1, Z drifts to where Q is extrapolated; the authors' actor is 10 times slower.
        alignment_weight: of ||Z - h(a)||^2 / d, where a is the greedy slate of Z; both as in the authors' code.
        supervision_weight: of the cross-entropy of clicks.
        exploration_noise, sampling_inverse_temperature: while learning, see `HACPolicy`.
        pretrain_epochs, critic_warmup_steps: see `PretrainedFromLog`.
        buffer_size, learning_starts, policy_kwargs, settings: see `SlateActorCritic`.
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
        pretrain_epochs: int = 0,
        critic_warmup_steps: int = 50,
        sampling_inverse_temperature: float = 1.0,
        buffer_size: int | None = 100_000,
        learning_starts: int = 2_000,
        policy_kwargs: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.critic_weight, self.actor_weight = critic_weight, actor_weight
        self.alignment_weight, self.supervision_weight = alignment_weight, supervision_weight
        self.pretrain_epochs, self.critic_warmup_steps = pretrain_epochs, critic_warmup_steps
        draw = {"exploration_noise": exploration_noise, "sampling_inverse_temperature": sampling_inverse_temperature}
        super().__init__(
            policy,
            env,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            policy_kwargs={**draw, **(policy_kwargs or {})},
            **settings,
        )

    def objective(self, batch: SlateSamples) -> Tensor:
        """Return the weighted sum of the four losses; during critic warm-up, the critic's alone."""
        if self.in_critic_warmup():
            return self.critic_warmup_loss(batch)
        losses = self.losses(batch)
        return (
            self.critic_weight * losses.critic
            + self.actor_weight * losses.actor
            + self.alignment_weight * losses.alignment
            + self.supervision_weight * losses.supervision
        )

    def critic_warmup_loss(self, batch: SlateSamples) -> Tensor:
        """Return the critic's part of the objective, with a gradient for the critic's own weights only."""
        network = self.policy.network
        with torch.no_grad():
            state, points = self.policy.state(batch.observations), network.infer(batch.slates)
            target = self.td_target(batch, self.next_value(batch))
        return self.critic_weight * (network.value_of(state, points) - target).square().mean()

    def pretraining_loss(self, rows: LoggedSlates) -> Tensor:
        """Return the two losses that need no critic, supervision and alignment, of logged slates."""
        network = self.policy.network
        points = network.actor(self.policy.state({"profile": rows.profile, "history": rows.history}))
        scores = network.scores(points)
        supervision = click_loss(scores.gather(1, rows.slate - 1), rows.clicks)
        return self.supervision_weight * supervision + self.alignment_weight * self.alignment(points, scores)

    def alignment(self, points: Tensor, scores: Tensor) -> Tensor:
        """Return ||Z - h(a)||^2 / d, the mean over B, for points Z (B, d) whose scores (B, N) name the slate a."""
        own_slates = SlateDistribution(scores.detach()).mode(self.policy.slate_size)
        return (points - self.policy.network.infer(own_slates)).square().mean()

    def metrics(self, batch: SlateSamples) -> dict[str, Tensor]:
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
        # The TD error trains critic and encoder. The kernels are detached: moving them would move the action.
        value = network.value_of(state, network.infer(batch.slates).detach())
        return Losses(
            critic=(value - target).square().mean(),
            actor=-network.judge(state, points).mean(),
            alignment=self.alignment(points, scores),
            supervision=click_loss(scores.gather(1, batch.slates - 1), batch.clicks),
            value=value.detach().mean(),
        )

    def next_value(self, batch: SlateSamples) -> Tensor:
        """Return Q'(s', h'(a')), (B,), of the target network, where a' is its own greedy slate in s'."""
        target = self.policy.target_network
        next_state = self.policy.state(batch.next_observations, target=True)
        next_slates = SlateDistribution(target.scores(target.actor(next_state))).mode(self.policy.slate_size)
        return target.value_of(next_state, target.infer(next_slates))


METHODS = [
    Method(
        name="hac",
        label="HAC",
        agent_class=HAC,
        action_mode="item",
        rank=90,
        look=Look("#009E73", "*"),
        policy="HACPolicy",
        cost=0.2,
        paper={"rl4rs": (10.059, 11.102), "ml1m": (17.638, 17.830)},
    ),
    Method(
        name="hac-pretrained",
        label="HAC (pretrained)",
        agent_class=HAC,
        action_mode="item",
        rank=100,
        look=Look("#66A61E", "p"),
        policy="HACPolicy",
        # HSRL's draw and pace. The published HAC waits for 2,000 transitions and takes 64 of them per update: in the
        # few thousand user-steps of a table it would hardly move from where pretraining left it.
        defaults={
            "pretrain_epochs": 8,
            "sampling_inverse_temperature": 3.0,
            "learning_starts": 0,
            "batch_size": 256,
            "tau": 0.05,
        },
        cost=0.3,
    ),
]
