"""HAC: hyper-actor critic, which aligns the point that an actor names with the slate it ends in (Liu et al. 2023)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.func import functional_call

from hsrl_agent.algorithm import SlateActorCritic
from hsrl_agent.baselines.latent import LatentNetwork, LatentPolicy
from hsrl_agent.buffers import SlateSamples
from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.encoder import SASRec
from hsrl_agent.from_log import StartsFromLog, click_loss
from hsrl_gym.data.log import LoggedSlates


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
    """Add noise to Z, and draw the slate from softmax <Z, kernel_i> without replacement; greedy: the top K of Z.

    Scores, and the noise in them, are taken `draw_sharpness` times for the draw; the published form is at 1.
    """

    samples_items = True
    network: HACNetwork
    target_network: HACNetwork

    def __init__(self, *args: Any, exploration_noise: float = 0.1, draw_sharpness: float = 1.0, **kwargs: Any) -> None:
        """See `LatentPolicy`; `exploration_noise` is the standard deviation of the noise on Z."""
        self.exploration_noise, self.draw_sharpness = exploration_noise, draw_sharpness
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"exploration_noise": self.exploration_noise, "draw_sharpness": self.draw_sharpness}
        return {**super()._get_constructor_parameters(), **own}

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
    """The terms for a batch, each a mean over it, and what is logged beside them."""

    critic: Tensor
    actor: Tensor
    alignment: Tensor
    supervision: Tensor
    value: Tensor


class HAC(StartsFromLog, SlateActorCritic):
    """DDPG on hyper-actions whose critic learns from what was really shown.

    Replay is the published one, 100,000 transitions. With a `warm_start`, which is not published, it starts from the
    log: first with its own supervision and alignment on the logged slates, then the critic alone, then all four losses.

    Args:
        critic_weight: of the squared TD error of Q(s, h(a)).
        actor_weight: of -Q(s, Z); at 1 Z runs off to where Q is only guessed (the authors' actor is 10 times slower).
        alignment_weight: of ||Z - h(a)||^2 / d, a being the greedy slate of Z; both as in the authors' code.
        supervision_weight: of the cross-entropy of clicks.
        exploration_noise: standard deviation of the noise on Z while learning.
        warm_start, critic_first: see `StartsFromLog`.
        draw_sharpness: while learning, see `HACPolicy`.
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
        warm_start: int = 0,
        critic_first: int = 50,
        draw_sharpness: float = 1.0,
        buffer_size: int | None = 100_000,
        learning_starts: int = 2_000,
        policy_kwargs: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.critic_weight, self.actor_weight = critic_weight, actor_weight
        self.alignment_weight, self.supervision_weight = alignment_weight, supervision_weight
        self.warm_start, self.critic_first = warm_start, critic_first
        draw = {"exploration_noise": exploration_noise, "draw_sharpness": draw_sharpness}
        super().__init__(
            policy,
            env,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            policy_kwargs={**draw, **(policy_kwargs or {})},
            **settings,
        )

    def objective(self, batch: SlateSamples) -> Tensor:
        """Return the weighted sum of the four losses; the critic's alone while it has to catch up with a warm start."""
        if self.catches_up():
            return self.catching_up(batch)
        losses = self.losses(batch)
        return (
            self.critic_weight * losses.critic
            + self.actor_weight * losses.actor
            + self.alignment_weight * losses.alignment
            + self.supervision_weight * losses.supervision
        )

    def catching_up(self, batch: SlateSamples) -> Tensor:
        """Return the critic's part of the objective, with a gradient for the critic's own weights alone."""
        network = self.policy.network
        with torch.no_grad():
            state, points = self.policy.state(batch.observations), network.infer(batch.slates)
            target = self.td_target(batch, self.next_value(batch))
        return self.critic_weight * (network.value_of(state, points) - target).square().mean()

    def cloning(self, rows: LoggedSlates) -> Tensor:
        """Return the two losses that need no critic, of logged slates: learning goes on with what it started from."""
        network = self.policy.network
        points = network.actor(self.policy.state({"profile": rows.profile, "history": rows.history}))
        scores = network.scores(points)
        supervision = click_loss(scores.gather(1, rows.slate - 1), rows.clicks)
        return self.supervision_weight * supervision + self.alignment_weight * self.alignment(points, scores)

    def alignment(self, points: Tensor, scores: Tensor) -> Tensor:
        """Return how far points (B, d) are from the slates that their scores (B, N) name, the mean over B and d."""
        own_slates = SlateDistribution(scores.detach()).mode(self.policy.slate_size)
        return (points - self.policy.network.infer(own_slates)).square().mean()

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
        # What the slate was worth trains critic and state; to move the kernels would be to move the action.
        value = network.value_of(state, network.infer(batch.slates).detach())
        return Losses(
            critic=(value - target).square().mean(),
            actor=-network.judge(state, points).mean(),
            alignment=self.alignment(points, scores),
            supervision=click_loss(scores.gather(1, batch.slates - 1), batch.clicks),
            value=value.detach().mean(),
        )

    def next_value(self, batch: SlateSamples) -> Tensor:
        """Return Q'(s', h'(a')), (B,), all of the target network, a' being the slate it would show next."""
        target = self.policy.target_network
        next_state = self.policy.state(batch.next_observations, target=True)
        next_slates = SlateDistribution(target.scores(target.actor(next_state))).mode(self.policy.slate_size)
        return target.value_of(next_state, target.infer(next_slates))


def make_hac_from_log(env: VecEnv, seed: int = 0, device: str = "cpu", **changes: Any) -> HAC:
    """Return a HAC that starts from the log, with HSRL's draw and pace: large batches at once, a target that is near.

    The published HAC waits for 2,000 transitions and takes 64 of them an update: in the few thousand user-steps of a
    table it would hardly leave its start.

    Args:
        env: an environment with action_mode="item".
        seed: of weights, replay and environment.
        device: "cpu" or "cuda".
        changes: any argument of `HAC`.
    """
    settings: dict[str, Any] = {
        "warm_start": 8,
        "draw_sharpness": 3.0,
        "learning_starts": 0,
        "batch_size": 256,
        "tau": 0.05,
    }
    return HAC("HACPolicy", env, seed=seed, device=device, **{**settings, **changes})
