"""Hierarchical Semantic RL (paper 3.5): the joint actor-critic update, equation by equation."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import Tensor

from hsrl_agent.algorithm import SlateActorCritic
from hsrl_agent.buffers import SlateReplayBuffer, SlateSamples
from hsrl_agent.credit import click_gains, difference_rewards
from hsrl_agent.from_log import StartsFromLog
from hsrl_agent.hsrl_policy import HSRLPolicy
from hsrl_gym.errors import unknown_name

CREDITS = ("counterfactual", "item", "slate")
SelfHSRL = TypeVar("SelfHSRL", bound="HSRL")


class Losses(NamedTuple):
    """The terms of eq. 20 to 25 for a batch, each a mean over it, and what is logged beside them."""

    critic: Tensor
    policy_gradient: Tensor
    entropy: Tensor
    behavioral_cloning: Tensor
    value: Tensor
    advantage: Tensor


class HSRL(StartsFromLog, SlateActorCritic):
    """HPN and MLC trained jointly, on transitions that are fresh.

    The defaults follow what was measured, not the paper's settings; `HSRL.paper(...)` has those. What differs: the
    buffer holds the last 30 vector steps (old slates of a policy that has moved on are what hurts most), each item of
    a slate is credited with what its own click changed, now and later, the likelihood is that of the draw without
    replacement, the heads are tied to the codebook, items have a small part of their score to themselves, the critic
    is told the user's patience, and the policy starts from the log.

    Args:
        learning_rate, batch_size: of Adam; a policy that comes from the log is soon spoilt by larger steps.
        entropy_weight: lambda_en of eq. 25.
        bc_weight: lambda_BC of eq. 25.
        credit: "counterfactual", "item" or "slate" (eq. 21 as written); see `item_advantages`.
        likelihood: "sequential", "normalised" or "bare" (eq. 14 as written); see `SlateDistribution`.
        hierarchical: False puts every head on c_0, without residual (Table 3, w/o hierarchical policy).
        multi_level_critic: False uses V(c_0) alone (Table 3, w/o multi-level critic).
        heads: "tied" to the codebook's centroids, or "free" (eq. 11 as written).
        item_residual: whether an item's score has a part beside its tokens' (see `HSRLNetwork`); None for so, but in
            item space, where it would be the same thing twice.
        semantic_ids: False gives each item a token of its own: the same algorithm in item space (see `HSRLPolicy`).
        warm_start, sharpness, critic_first: see `StartsFromLog`.
        tau: Polyak factor of the target network; the paper's 0.01 takes 100 updates to hear of anything.
        sees_patience: whether the critic, not the policy, is told the patience that the user has left.
        settings: those of `SlateActorCritic`.

    Raises:
        HsrlError: for an environment whose action space is not made of SIDs, or an unknown credit or likelihood.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"HSRLPolicy": HSRLPolicy}
    policy_base = HSRLPolicy
    policy: HSRLPolicy

    def __init__(
        self,
        policy: str | type[HSRLPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 5e-4,
        *,
        batch_size: int = 256,
        entropy_weight: float = 0.002,
        bc_weight: float = 0.01,
        credit: str = "counterfactual",
        likelihood: str = "sequential",
        hierarchical: bool = True,
        multi_level_critic: bool = True,
        heads: str = "tied",
        warm_start: int = 8,
        sharpness: float = 3.0,
        critic_first: int = 50,
        tau: float = 0.05,
        sees_patience: bool = True,
        item_residual: bool | None = None,
        semantic_ids: bool = True,
        policy_kwargs: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if credit not in CREDITS:
            raise unknown_name("credit", credit, CREDITS)
        self.entropy_weight, self.bc_weight, self.credit = entropy_weight, bc_weight, credit
        self.warm_start, self.sharpness, self.critic_first = warm_start, sharpness, critic_first
        self._n_uncredited = 0  # vector steps in the buffer whose items have no credit yet
        network = {
            "likelihood": likelihood,
            "hierarchical": hierarchical,
            "multi_level_critic": multi_level_critic,
            "heads": heads,
            "sees_patience": sees_patience,
            "item_residual": item_residual,
            "semantic_ids": semantic_ids,
        }
        settings |= {"batch_size": batch_size, "tau": tau, "policy_kwargs": {**network, **(policy_kwargs or {})}}
        super().__init__(policy, env, learning_rate, **settings)

    @classmethod
    def paper(cls: type[SelfHSRL], policy: str | type[HSRLPolicy], env: GymEnv | str, **changes: Any) -> SelfHSRL:
        """Return HSRL as the paper has it: eq. 14 and 21 as written, 100,000 transitions, lambda_en 0.1.

        The paper does not give lambda_BC, the learning rate and the limit on the gradient's norm. Codebook and item
        inputs are those of the bundle (`hsrl-gym build --codebook features` makes a bundle as the paper has it).
        """
        settings: dict[str, Any] = {
            "buffer_size": 100_000,
            "learning_rate": 1e-3,
            "learning_starts": 2_000,
            "batch_size": 64,
            "tau": 0.01,
            "gamma": 0.9,
            "entropy_weight": 0.1,
            "bc_weight": 0.1,
            "credit": "slate",
            "likelihood": "bare",
            "heads": "free",
            "item_residual": False,
            "sees_patience": False,
            "warm_start": 0,
        }
        network = {"dropout": 0.1, **changes.pop("policy_kwargs", {})}
        return cls(policy, env, **{**settings, **changes}, policy_kwargs=network)

    def _buffer_kwargs(self) -> dict[str, Any]:
        return {"keeps_credits": self.credit == "counterfactual"}

    def _store_transition(self, replay_buffer: ReplayBuffer, *transition: Any) -> None:
        """Store a vector step, and credit its items by the target critic as it is now."""
        super()._store_transition(replay_buffer, *transition)
        if self.credit != "counterfactual":
            return
        assert isinstance(replay_buffer, SlateReplayBuffer)
        self._n_uncredited = min(self._n_uncredited + 1, replay_buffer.buffer_size)
        if self.catches_up():
            return  # what the critic says means nothing yet, and nobody asks
        gains = click_gains(replay_buffer)
        with torch.no_grad():
            for ago in range(self._n_uncredited):
                stored = replay_buffer.vector_step(ago)
                replay_buffer.credit(ago, difference_rewards(stored, gains, self._target_value, self.gamma))
        self._n_uncredited = 0

    def objective(self, batch: SlateSamples) -> Tensor:
        """Return the joint loss of eq. 26; that of the critic alone while it has to catch up with a warm start."""
        if self.catches_up():
            return self.catching_up(batch)
        losses = self.losses(batch)
        regularizers = self.entropy_weight * losses.entropy + self.bc_weight * losses.behavioral_cloning
        return losses.critic + losses.policy_gradient + regularizers

    def catching_up(self, batch: SlateSamples) -> Tensor:
        """Return the critic's loss (eq. 20), with a gradient for the critic's own weights alone."""
        network, observations = self.policy.network, batch.observations
        with torch.no_grad():
            _, contexts = network.policy(network.encoder(observations["profile"], observations["history"].long()))
            target = self.td_target(batch, self._target_value(batch.next_observations, batch.next_patience))
        value, _ = network.critic(contexts, batch.patience)
        return (value - target).square().mean()

    def facts(self, batch: SlateSamples) -> dict[str, Tensor]:
        """Return the terms of the loss; level by level entropy and value, and what the critic makes of them."""
        plan = self.policy.plan(batch.observations, patience=batch.patience)
        entropies = {f"entropy_{level}": -_sum_p_log_p(log_p).mean() for level, log_p in enumerate(plan.log_probs, 1)}
        values = {f"value_{level}": value for level, value in enumerate(plan.level_values.mean(0))}
        weights = enumerate(self.policy.network.critic.level_weights())
        mixed = {f"mlc_weight_{level}": weight for level, weight in weights}
        return {**self.losses(batch)._asdict(), **entropies, **values, **mixed}

    def losses(self, batch: SlateSamples) -> Losses:
        """Return the terms of the objective for a batch of transitions."""
        plan = self.policy.plan(batch.observations, patience=batch.patience)
        with torch.no_grad():
            next_value = self._target_value(batch.next_observations, batch.next_patience)
            target = self.td_target(batch, next_value)  # Q(s, a), eq. 18
            advantage = target - plan.value  # eq. 19
        log_pi = self.policy.distribution_of(plan).log_prob_of_items(batch.slates)  # (B, K), eq. 14
        credited = self.item_advantages(advantage, batch)  # (B, K)
        clicked = batch.clicks.sum(1)
        cloning = -(batch.clicks * log_pi).sum(1) / clicked.clamp(min=1.0)  # eq. 24; 0 where nothing was clicked
        entropy = torch.stack([_sum_p_log_p(log_p) for log_p in plan.log_probs]).sum(0)  # eq. 23
        return Losses(
            critic=(plan.value - target).square().mean(),  # eq. 20
            policy_gradient=-(credited * log_pi).mean(1).mean(),  # eq. 21 with the mean over K of eq. 22
            entropy=entropy.mean(),
            behavioral_cloning=cloning.mean(),
            value=plan.value.detach().mean(),
            advantage=advantage.mean(),
        )

    def _target_value(self, observations: dict[str, Tensor], patience: Tensor) -> Tensor:
        return self.policy.plan(observations, target=True, patience=patience).value

    def item_advantages(self, advantage: Tensor, batch: SlateSamples) -> Tensor:
        """Return what each item's likelihood is weighted with, (B, K) in [-1, 1].

        "slate": the clipped advantage for every item (eq. 21), K times what follows. Otherwise an item has the K-th
        part of it to answer for, and besides how it did against the others of its slate, whose mean there is 0:

            A_k = A / K + D_k - mean D.

        "item": D_k is its part of the reward, y_k / K, for its click y_k. "counterfactual": D_k is what the click
        changed, the state that it left included (`credit.difference_rewards`).
        """
        if self.credit == "slate":
            return advantage.unsqueeze(1).expand_as(batch.clicks).clamp(-1.0, 1.0)
        n_slots = batch.clicks.shape[1]
        own = batch.clicks / n_slots if self.credit == "item" else batch.credits
        assert own is not None
        return (advantage.unsqueeze(1) / n_slots + own - own.mean(1, keepdim=True)).clamp(-1.0, 1.0)


def _sum_p_log_p(log_p: Tensor) -> Tensor:
    return (log_p.exp() * log_p).sum(1)
