"""PG-RA: policy gradient over learned action representations (Chandak et al. 2019).

The paper calls it PG-RA in Table 2 and DDPG-RA in 4.1.3, and cites Chandak et al. in both places.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import torch
from numpy.typing import NDArray
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import GymEnv
from torch import Tensor, nn
from torch.distributions import Normal

from hsrl_agent.algorithm import SlateActorCritic
from hsrl_agent.baselines.latent import LatentNetwork, LatentPolicy
from hsrl_agent.buffers import SlateSamples
from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.encoder import SASRec
from hsrl_agent.method import Look, Method


class PGRANetwork(LatentNetwork):
    """A Gaussian over representations e, a value of the state, and the inverse dynamics g(s, s') -> e."""

    def __init__(
        self,
        encoder: SASRec,
        is_live: Tensor,
        width: int,
        point_width: int,
        hidden: tuple[int, ...],
        initial_std: float,
    ) -> None:
        super().__init__(encoder, is_live, width, point_width)
        self.log_std = nn.Parameter(torch.full((point_width,), math.log(initial_std)))
        self.value = nn.Sequential(*create_mlp(width, 1, list(hidden)))
        self.inverse = nn.Sequential(*create_mlp(2 * width, point_width, list(hidden[:1])))

    def value_of(self, state: Tensor, points: Tensor) -> Tensor:
        """Return V(s), (B,); the points do not matter."""
        return self.value(state).squeeze(-1)

    def infer(self, state: Tensor, next_state: Tensor) -> Tensor:
        """Return g(s, s'), (B, d): the representation of the slate between two states."""
        return self.inverse(torch.cat([state, next_state], dim=1))


class PGRAPolicy(LatentPolicy):
    """Draw e from the Gaussian, then show the K items with the highest scores <e, kernel>: e determines the slate.

    Args:
        args, kwargs: see `LatentPolicy`.
        initial_std: standard deviation of the Gaussian at the start.
    """

    samples_items = False
    network: PGRANetwork
    target_network: PGRANetwork

    def __init__(self, *args: Any, initial_std: float = 1.0, **kwargs: Any) -> None:
        self.initial_std = initial_std
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "initial_std": self.initial_std}

    def _build_network(self) -> None:
        self.network = PGRANetwork(
            self._encoder(), self._is_live(), self.width, self.point_width, self.critic_hidden, self.initial_std
        )

    def spread(self) -> Tensor:
        """Return the learned standard deviation of e, (d,)."""
        return self.network.log_std.exp()


class Losses(NamedTuple):
    """The terms of the objective for a batch, each a mean over it, and two scalars for the log."""

    critic: Tensor
    policy_gradient: Tensor
    inverse: Tensor
    value: Tensor
    advantage: Tensor


class PGRA(SlateActorCritic):
    """Two learners: the policy gradient trains the Gaussian, inverse dynamics train the kernels.

    The policy gradient is that of the likelihood of e. This is exact, because e determines the slate. There are no
    importance weights, so the buffer holds the last 30 vector steps only.

    Args:
        policy, env, policy_kwargs, settings: see `SlateActorCritic`.
        critic_weight: of the squared TD error.
        policy_weight: of the policy gradient.
        inverse_weight: of the inverse dynamics.
        point_width: d, width of the representations.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"PGRAPolicy": PGRAPolicy}
    policy_base = PGRAPolicy
    policy: PGRAPolicy

    def __init__(
        self,
        policy: str | type[PGRAPolicy],
        env: GymEnv | str,
        *,
        critic_weight: float = 1.0,
        policy_weight: float = 1.0,
        inverse_weight: float = 1.0,
        point_width: int = 32,
        policy_kwargs: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.critic_weight, self.policy_weight, self.inverse_weight = critic_weight, policy_weight, inverse_weight
        super().__init__(policy, env, policy_kwargs={"point_width": point_width, **(policy_kwargs or {})}, **settings)

    def _buffer_kwargs(self) -> dict[str, Any]:
        return {"latent_width": self.policy_kwargs["point_width"]}

    @torch.no_grad()
    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return actions (B, K) and their representations (B, d), which the buffer stores."""
        assert self._last_obs is not None
        observation, _ = self.policy.obs_to_tensor(self._last_obs)
        actions, points = self.policy.explore(observation)
        return actions.cpu().numpy(), points.cpu().numpy()

    def objective(self, batch: SlateSamples) -> Tensor:
        """Return the weighted sum of the three losses."""
        losses = self.losses(batch)
        return (
            self.critic_weight * losses.critic
            + self.policy_weight * losses.policy_gradient
            + self.inverse_weight * losses.inverse
        )

    def metrics(self, batch: SlateSamples) -> dict[str, Tensor]:
        """Return the terms of the loss, and the mean standard deviation of the Gaussian."""
        return {**self.losses(batch)._asdict(), "std": self.policy.spread().mean()}

    def losses(self, batch: SlateSamples) -> Losses:
        """Return the terms of the objective for a batch of transitions."""
        network, target_network = self.policy.network, self.policy.target_network
        state = self.policy.state(batch.observations)
        center = network.actor(state)
        value = network.value_of(state, center)
        with torch.no_grad():
            next_state = self.policy.state(batch.next_observations, target=True)
            target = self.td_target(batch, target_network.value_of(next_state, center))
            advantage = target - value
        assert batch.latents is not None
        log_pi = Normal(center, self.policy.spread()).log_prob(batch.latents).sum(1)  # (B,)
        # The items of the slate as a set: a cross-entropy, not the likelihood of an ordered draw.
        inferred = SlateDistribution(network.scores(network.infer(state, next_state)), "independent")
        return Losses(
            critic=(value - target).square().mean(),
            policy_gradient=-(advantage.clamp(-1.0, 1.0) * log_pi).mean(),
            inverse=-inferred.log_prob(batch.slates).mean(),  # under softmax <e, kernel>
            value=value.detach().mean(),
            advantage=advantage.mean(),
        )


METHODS = [
    Method(
        name="pgra",
        label="PG-RA",
        agent_class=PGRA,
        action_mode="item",
        rank=80,
        look=Look("#B8B000", "X"),
        policy="PGRAPolicy",
        cost=0.35,
        paper={"rl4rs": (8.561, 9.728), "ml1m": (14.032, 14.601)},
    )
]
