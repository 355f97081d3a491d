"""Hierarchical Semantic RL (paper 3.5): the joint actor-critic update, equation by equation."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from hsrl_agent.buffers import SlateReplayBuffer, SlateSamples
from hsrl_agent.policies import HSRLPolicy
from hsrl_agent.vec_env import as_sb3
from hsrl_gym.errors import HsrlError, unknown_name

CREDITS = ("item", "slate")
FRESH_STEPS = 30  # vector steps in the default buffer
LOG_EVERY = 100  # updates
SelfHSRL = TypeVar("SelfHSRL", bound="HSRL")


class Losses(NamedTuple):
    """The terms of eq. 20 to 25 for a batch, each a mean over it, and what is logged beside them."""

    critic: Tensor
    policy_gradient: Tensor
    entropy: Tensor
    behavioral_cloning: Tensor
    value: Tensor
    advantage: Tensor


class HSRL(OffPolicyAlgorithm):
    """HPN and MLC trained jointly, on transitions that are fresh.

    The defaults follow what was measured, not the paper's settings; `HSRL.paper(...)` has those. They differ in three
    ways: the buffer holds the last 30 vector steps (old slates of a policy that has moved on are what hurts most),
    each item of a slate is credited with how it did against the others, and the likelihood is normalised over the
    live items.

    Args:
        policy: "HSRLPolicy" or a subclass of it.
        env: an hsrl_gym environment with action_mode="sid": single, vector, SB3 VecEnv, or its id.
        learning_rate: of Adam, for actor and critic.
        buffer_size: transitions kept; None for the last 30 steps of all environments.
        learning_starts: transitions before the first update; the policy itself collects them.
        batch_size: transitions an update.
        tau: Polyak factor of the target network.
        gamma: discount.
        train_freq: vector steps between updates.
        gradient_steps: updates each time.
        entropy_weight: lambda_en of eq. 25.
        bc_weight: lambda_BC of eq. 25.
        credit: "item" or "slate" (eq. 21 as written).
        likelihood: "normalised" or "bare" (eq. 14 as written).
        hierarchical: False puts every head on c_0, without residual (Table 3, w/o hierarchical policy).
        multi_level_critic: False uses V(c_0) alone (Table 3, w/o multi-level critic).
        max_grad_norm: gradients are scaled down to this norm.
        policy_kwargs: further arguments of the policy (width, n_layers, n_heads, dropout, critic_hidden).
        tensorboard_log, verbose, seed, device: as in every SB3 algorithm.

    Raises:
        HsrlError: for an environment whose action space is not made of SIDs, or an unknown credit or likelihood.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"HSRLPolicy": HSRLPolicy}
    policy: HSRLPolicy
    replay_buffer: SlateReplayBuffer

    def __init__(
        self,
        policy: str | type[HSRLPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        buffer_size: int | None = None,
        learning_starts: int = 0,
        batch_size: int = 64,
        tau: float = 0.01,
        gamma: float = 0.9,
        train_freq: int = 1,
        gradient_steps: int = 1,
        entropy_weight: float = 0.01,
        bc_weight: float = 0.1,
        credit: str = "item",
        likelihood: str = "normalised",
        hierarchical: bool = True,
        multi_level_critic: bool = True,
        max_grad_norm: float = 1.0,
        policy_kwargs: dict[str, Any] | None = None,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if credit not in CREDITS:
            raise unknown_name("credit", credit, CREDITS)
        self.entropy_weight, self.bc_weight, self.credit = entropy_weight, bc_weight, credit
        self.max_grad_norm = max_grad_norm
        self.fresh_only = buffer_size is None
        network = {"likelihood": likelihood, "hierarchical": hierarchical, "multi_level_critic": multi_level_critic}
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
            policy_kwargs={**network, **(policy_kwargs or {})},
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

    @classmethod
    def paper(cls: type[SelfHSRL], policy: str | type[HSRLPolicy], env: GymEnv | str, **changes: Any) -> SelfHSRL:
        """Return HSRL as the paper has it: eq. 14 and 21 as written, 100,000 transitions, lambda_en 0.1.

        lambda_BC, the learning rate and the limit on the gradient's norm, which the paper does not give, are those of
        the default; the codebook's vocabulary is the bundle's.
        """
        settings: dict[str, Any] = {
            "buffer_size": 100_000,
            "learning_starts": 2_000,
            "batch_size": 64,
            "tau": 0.01,
            "gamma": 0.9,
            "entropy_weight": 0.1,
            "credit": "slate",
            "likelihood": "bare",
        }
        network = {"dropout": 0.1, **changes.pop("policy_kwargs", {})}
        return cls(policy, env, **{**settings, **changes}, policy_kwargs=network)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Take Gymnasium's vector form of the environments as well, here and in `load` and `set_env`."""
        return OffPolicyAlgorithm._wrap_env(as_sb3(env), verbose, monitor_wrapper)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []

    def _setup_model(self) -> None:
        if not issubclass(self.policy_class, HSRLPolicy):
            raise HsrlError(f"got the policy {self.policy_class.__name__}, expected HSRLPolicy or a subclass of it.")
        self.policy_class.check_spaces(self.observation_space, self.action_space)
        if self.fresh_only:
            self.buffer_size = FRESH_STEPS * self.n_envs
        self.replay_buffer_kwargs = {"seed": self.seed}
        super()._setup_model()

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Let the policy explore from the first step on: it starts near uniform over the live items."""
        assert self._last_obs is not None
        action, _ = self.predict(self._last_obs, deterministic=False)
        return action, action

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Do `gradient_steps` joint updates (eq. 26), each followed by a step of the target network."""
        self._update_learning_rate(self.policy.optimizer)
        self.policy.set_training_mode(True)
        parameters = [weight for group in self.policy.optimizer.param_groups for weight in group["params"]]
        for _ in range(gradient_steps):
            losses = self.losses(self.replay_buffer.sample(batch_size))
            regularizers = self.entropy_weight * losses.entropy + self.bc_weight * losses.behavioral_cloning
            self.policy.optimizer.zero_grad(set_to_none=True)
            (losses.critic + losses.policy_gradient + regularizers).backward()
            torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm, foreach=True)
            self.policy.optimizer.step()
            self.policy.follow(self.tau)
        self._n_updates += gradient_steps
        if self._n_updates % LOG_EVERY < gradient_steps:
            self._log(losses)

    def losses(self, batch: SlateSamples) -> Losses:
        """Return the terms of the objective for a batch of transitions."""
        plan = self.policy.plan(batch.observations)
        with torch.no_grad():
            next_value = self.policy.plan(batch.next_observations, target=True).value
            target = batch.rewards + self.gamma * (1.0 - batch.terminated) * next_value  # Q(s, a), eq. 18
            advantage = target - plan.value  # eq. 19
        log_pi = self.policy.distribution_of(plan).log_prob_of_items(batch.slates)  # (B, K), eq. 14
        credited = self.item_advantages(advantage, batch.clicks)  # (B, K)
        clicked = batch.clicks.sum(1)
        cloning = -(batch.clicks * log_pi).sum(1) / clicked.clamp(min=1.0)  # eq. 24; 0 where nothing was clicked
        entropy = torch.stack([(log_p.exp() * log_p).sum(1) for log_p in plan.log_probs]).sum(0)  # eq. 23
        return Losses(
            critic=(plan.value - target).square().mean(),  # eq. 20
            policy_gradient=-(credited * log_pi).mean(1).mean(),  # eq. 21 with the mean over K of eq. 22
            entropy=entropy.mean(),
            behavioral_cloning=cloning.mean(),
            value=plan.value.detach().mean(),
            advantage=advantage.mean(),
        )

    def item_advantages(self, advantage: Tensor, clicks: Tensor) -> Tensor:
        """Return what each item's likelihood is weighted with, (B, K) in [-1, 1].

        "slate": the clipped advantage for every item (eq. 21). "item": the reward is a mean over the slate, of which
        an item has the K-th part to answer for, and the clicks of the others are noise to it. Taking out how far
        they were from the slate's mean gives A_k = A + (y_k - mean y) / K, whose mean over the slate is A again. (The
        slate's mean holds the item's own click too, so that this counts a little over its part: less noise, some bias
        to the present.)
        """
        credited = advantage.unsqueeze(1).expand_as(clicks)
        if self.credit == "item":
            credited = credited + (clicks - clicks.mean(1, keepdim=True)) / clicks.shape[1]
        return credited.clamp(-1.0, 1.0)

    def _log(self, losses: Losses) -> None:
        for name, value in losses._asdict().items():
            self.logger.record(f"train/{name}", float(value.detach()))
        for level, weight in enumerate(self.policy.network.critic.level_weights().tolist()):
            self.logger.record(f"train/mlc_weight_{level}", weight)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def learn(
        self: SelfHSRL,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "HSRL",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfHSRL:
        """Learn for `total_timesteps` user-steps; `log_interval` counts finished sessions."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
