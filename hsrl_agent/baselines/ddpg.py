"""DDPG in hyper-action space: SB3's algorithm on SASRec; the environment maps its point to a slate (4.1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from stable_baselines3 import DDPG
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.td3.policies import MultiInputPolicy

from hsrl_agent.features import SASRecExtractor
from hsrl_agent.method import Look, Method
from hsrl_agent.resuming import Resumable
from hsrl_gym.envs.actions import SlateBox
from hsrl_gym.errors import HsrlError


class HyperPolicy(MultiInputPolicy):
    """SB3's deterministic actor and its critics, each with an encoder of its own.

    The catalog comes with the action space.

    Args:
        observation_space, action_space, lr_schedule: from the algorithm.
        width, n_layers, n_heads, dropout: of the encoders, see `SASRec`.
        critic_hidden: widths of the hidden layers of actor and critics.
        kwargs: of SB3's `MultiInputPolicy`.

    Raises:
        HsrlError: for an environment whose actions are not hyper-actions.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        width: int = 32,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.0,
        critic_hidden: Sequence[int] = (256, 64),
        **kwargs: Any,
    ) -> None:
        action_space = hyper_space(action_space)
        assert isinstance(observation_space, spaces.Dict)
        self.encoder_settings = {"width": width, "n_layers": n_layers, "n_heads": n_heads, "dropout": dropout}
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=list(critic_hidden),
            features_extractor_class=SASRecExtractor,
            features_extractor_kwargs={"item_features": action_space.codebook.item_inputs, **self.encoder_settings},
            optimizer_kwargs={"fused": True, **(kwargs.pop("optimizer_kwargs", None) or {})},
            **kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """Return the constructor arguments that `BasePolicy.load` needs."""
        kept = ("observation_space", "action_space", "lr_schedule", "n_critics", "optimizer_class", "optimizer_kwargs")
        settings = super()._get_constructor_parameters()
        return {**{name: settings[name] for name in kept}, **self.encoder_settings, "critic_hidden": self.net_arch}


def hyper_space(space: spaces.Space[Any]) -> SlateBox:
    """Return the space of hyper-actions.

    Raises:
        HsrlError: if it is another.
    """
    if not isinstance(space, SlateBox):
        raise HsrlError(f'got the action space {space}, expected an hsrl_gym environment with action_mode="hyper".')
    return space


class HyperActions(Resumable, OffPolicyAlgorithm):
    """Mixin: `action_noise` may be a number, the standard deviation of Gaussian noise on every axis.

    Raises:
        HsrlError: for an environment whose actions are not hyper-actions.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {**DDPG.policy_aliases, "HyperPolicy": HyperPolicy}
    action_noise: Any

    def __init__(self, policy: Any, env: Any, **settings: Any) -> None:
        if hasattr(env, "action_space"):
            hyper_space(env.action_space)  # before SB3 says so in other words
        super().__init__(policy, env, **settings)

    def _setup_model(self) -> None:
        if isinstance(self.action_noise, (int, float)):
            width = hyper_space(self.action_space).shape
            self.action_noise = NormalActionNoise(np.zeros(width), np.full(width, float(self.action_noise)))
        super()._setup_model()


class HyperDDPG(HyperActions, DDPG):
    """SB3's DDPG on hyper-actions; see `HyperActions` for `action_noise`."""


# The reference's replay buffer, and one update per vector step. TD3 has the same.
DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "buffer_size": 100_000,
    "learning_starts": 2_000,
    "batch_size": 64,
    "tau": 0.01,
    "gamma": 0.9,
    "train_freq": 1,
    "gradient_steps": 1,
    "action_noise": 0.1,
}

METHODS = [
    Method(
        name="ddpg",
        label="DDPG",
        agent_class=HyperDDPG,
        action_mode="hyper",
        rank=60,
        look=Look("#56B4E9", "v"),
        policy=HyperPolicy,
        defaults=DEFAULTS,
        cost=0.55,
        paper={"rl4rs": (8.337, 9.588), "ml1m": (15.773, 16.154)},
    )
]
