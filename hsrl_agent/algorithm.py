"""The base of HSRL, HAC and PG-RA: a replay buffer of slates, one joint gradient step, a target network."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import (
    GymEnv,
    MaybeCallback,
    Schedule,
    TrainFreq,
    TrainFrequencyUnit,
)
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hsrl_agent.buffers import SlateReplayBuffer, SlateSamples
from hsrl_agent.following import FollowsCatalog
from hsrl_agent.policies import SlatePolicy
from hsrl_agent.vec_env import as_sb3
from hsrl_gym.errors import HsrlError

FRESH_STEPS = 30  # vector steps in the default buffer
LOG_EVERY = 20  # updates
SelfSlateActorCritic = TypeVar("SelfSlateActorCritic", bound="SlateActorCritic")


class SlateActorCritic(FollowsCatalog, OffPolicyAlgorithm):
    """An SB3 off-policy algorithm for slates; a subclass defines the loss (`objective`).

    Args:
        policy: a name among `policy_aliases`, or the class.
        env: an hsrl_gym environment in the policy's action mode: single, vector, SB3 VecEnv, or an id.
        learning_rate: of Adam, for all weights.
        buffer_size: transitions kept; None keeps the last 30 vector steps.
        learning_starts: transitions before the first update, collected by the policy itself.
        batch_size: transitions per update.
        tau: Polyak factor of the target network.
        gamma: discount.
        train_freq: vector steps between updates.
        gradient_steps: updates each time.
        max_grad_norm: gradients are scaled down to this norm.
        policy_kwargs: of the policy (width, n_layers, n_heads, dropout, critic_hidden, ..).
        tensorboard_log, verbose, seed, device: as in every SB3 algorithm.

    Raises:
        HsrlError: for an environment in another action mode, or a policy of another class.
    """

    policy_base: ClassVar[type[SlatePolicy]]
    policy: SlatePolicy
    replay_buffer: SlateReplayBuffer

    def __init__(
        self,
        policy: str | type[SlatePolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        buffer_size: int | None = None,
        learning_starts: int = 0,
        batch_size: int = 64,
        tau: float = 0.01,
        gamma: float = 0.9,
        train_freq: int = 1,
        gradient_steps: int = 1,
        max_grad_norm: float = 1.0,
        policy_kwargs: dict[str, Any] | None = None,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        self.max_grad_norm = max_grad_norm
        self.last_metrics: dict[str, float] = {}  # logged last; callbacks read it
        self.fresh_only = buffer_size is None
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size=buffer_size or 0,
            learning_starts=learning_starts,
            batch_size=batch_size,
            tau=tau,
            gamma=gamma,
            train_freq=train_freq,
            gradient_steps=gradient_steps,
            replay_buffer_class=SlateReplayBuffer,
            policy_kwargs=policy_kwargs,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            support_multi_env=True,
            sde_support=False,
            supported_action_spaces=(spaces.MultiDiscrete,),
        )
        if _init_setup_model:
            self._setup_model()

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Accept Gymnasium vector environments too; SB3 calls this in the constructor, `load` and `set_env`."""
        return OffPolicyAlgorithm._wrap_env(as_sb3(env), verbose, monitor_wrapper)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []

    def _setup_model(self) -> None:
        if not issubclass(self.policy_class, self.policy_base):
            expected = self.policy_base.__name__
            raise HsrlError(f"got the policy {self.policy_class.__name__}, expected {expected} or a subclass of it.")
        self.policy_class.check_spaces(self.observation_space, self.action_space)
        if self.fresh_only:
            self.buffer_size = FRESH_STEPS * self.n_envs
        self.replay_buffer_kwargs = {"seed": self.seed, **self._buffer_kwargs()}
        super()._setup_model()

    def _buffer_kwargs(self) -> dict[str, Any]:
        """Return further arguments of the replay buffer."""
        return {}

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Sample from the policy from the first step on: it starts near uniform over the live items."""
        assert self._last_obs is not None
        action, _ = self.predict(self._last_obs, deterministic=False)
        return action, action

    def steps_per_update(self) -> float:
        """Return the mean number of vector steps per update."""
        assert isinstance(self.train_freq, TrainFreq)
        by_steps = self.train_freq.unit is TrainFrequencyUnit.STEP
        collected = self.train_freq.frequency if by_steps else 1  # the length of a session is not known beforehand
        return collected / (self.gradient_steps if self.gradient_steps > 0 else collected * self.n_envs)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Do `gradient_steps` joint updates (eq. 26), each followed by a step of the target network."""
        self._update_learning_rate(self.policy.optimizer)
        self.policy.set_training_mode(True)
        parameters = [weight for group in self.policy.optimizer.param_groups for weight in group["params"]]
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size)
            self.policy.optimizer.zero_grad(set_to_none=True)
            self.objective(batch).backward()
            torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm, foreach=True)
            self.policy.optimizer.step()
            self.policy.polyak_update(self.tau)
        self._n_updates += gradient_steps
        if self._n_updates % LOG_EVERY < gradient_steps:
            with torch.no_grad():
                metrics = {"click_rate": batch.clicks.mean(), **self.metrics(batch)}
            self.last_metrics = {name: float(value) for name, value in metrics.items()}
            for name, value in self.last_metrics.items():
                self.logger.record(f"train/{name}", value)
            self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def objective(self, batch: SlateSamples) -> Tensor:
        """Return the scalar loss of a batch of transitions."""
        raise NotImplementedError  # abstract

    def metrics(self, batch: SlateSamples) -> dict[str, Tensor]:
        """Return the scalars to log under `train/` every `LOG_EVERY` updates."""
        raise NotImplementedError  # abstract

    def td_target(self, batch: SlateSamples, next_value: Tensor) -> Tensor:
        """Return r + gamma (1 - terminated) V'(s'), (B,) (eq. 18); a truncated session bootstraps."""
        return batch.rewards + self.gamma * (1.0 - batch.terminated) * next_value

    def learn(
        self: SelfSlateActorCritic,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfSlateActorCritic:
        """Learn for `total_timesteps` user-steps; `log_interval` counts finished sessions."""
        name = tb_log_name or type(self).__name__
        return super().learn(total_timesteps, callback, log_interval, name, reset_num_timesteps, progress_bar)
