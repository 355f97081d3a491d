"""DDPG in hyper-action space: SB3's own algorithm over SASRec; fixed item vectors make a slate of its point (4.1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3 import DDPG
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.td3.policies import MultiInputPolicy

from hsrl_agent.features import SASRecExtractor
from hsrl_gym.envs.actions import SlateBox
from hsrl_gym.errors import HsrlError


class HyperPolicy(MultiInputPolicy):
    """SB3's deterministic actor and its critics, each on a SASRec of its own.

    It is given the same settings as `SlatePolicy`, and like it takes the catalog from the action space.

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
        """Return what `BasePolicy.load` makes the policy from again."""
        kept = ("observation_space", "action_space", "lr_schedule", "n_critics", "optimizer_class", "optimizer_kwargs")
        settings = super()._get_constructor_parameters()
        return {**{name: settings[name] for name in kept}, **self.encoder_settings, "critic_hidden": self.net_arch}


def make_ddpg(env: VecEnv, seed: int = 0, device: str = "cpu", **changes: Any) -> DDPG:
    """Return SB3's DDPG on `HyperPolicy`, with the reference's buffer and an update per vector step.

    Args:
        env: an environment with action_mode="hyper".
        seed: of weights, exploration and environment.
        device: "cpu" or "cuda".
        changes: any argument of SB3's DDPG; `action_noise` may be a number, the standard deviation.
    """
    return DDPG(HyperPolicy, env, seed=seed, device=device, **hyper_settings(env, changes))


def hyper_space(space: spaces.Space[Any]) -> SlateBox:
    """Return the space of hyper-actions.

    Raises:
        HsrlError: if it is another.
    """
    if not isinstance(space, SlateBox):
        raise HsrlError(f'got the action space {space}, expected an hsrl_gym environment with action_mode="hyper".')
    return space


def hyper_settings(env: VecEnv, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that DDPG and TD3 share, with `changes`."""
    width = hyper_space(env.action_space).shape
    settings: dict[str, Any] = {
        "learning_rate": 1e-3,
        "buffer_size": 100_000,
        "learning_starts": 2_000,
        "batch_size": 64,
        "tau": 0.01,
        "gamma": 0.9,
        "train_freq": 1,
        "gradient_steps": 1,
        "action_noise": 0.1,
        **changes,
    }
    if isinstance(settings["action_noise"], (int, float)):
        settings["action_noise"] = NormalActionNoise(np.zeros(width), np.full(width, float(settings["action_noise"])))
    return settings
