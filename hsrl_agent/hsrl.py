"""HSRL as this project trains it: the paper's algorithm with a short list of additions."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import Tensor

from hsrl_agent.buffers import SlateReplayBuffer, SlateSamples
from hsrl_agent.credit import click_gains, difference_rewards
from hsrl_agent.hsrl_policy import HSRLPolicy
from hsrl_agent.method import Look, Method
from hsrl_agent.paper_hsrl import PaperHSRL, critic_loss
from hsrl_agent.pretraining import PretrainedFromLog
from hsrl_gym.errors import unknown_name

CREDITS = ("counterfactual", "slate")


class HSRL(PretrainedFromLog, PaperHSRL):
    """`PaperHSRL` with what this project adds. Each addition can be turned off by itself.

    | Addition | Turned off by |
    |---|---|
    | pretraining on the log, then critic warm-up | `pretrain_epochs=0` |
    | counterfactual credit for each item | `credit="slate"` (eq. 21 as written) |
    | fresh data: the last 30 vector steps | `buffer_size=100_000` |
    | likelihood of the draw (Plackett-Luce) | `likelihood="unnormalised"`, `item_residual=False` (eq. 14 as written) |
    | heads tied to the codebook | `heads="free"` (eq. 11 as written) |
    | item residual | `item_residual=False` |
    | privileged critic | `privileged_critic=False` |

    The switches of the last four are entries of `policy_kwargs`.

    Args:
        policy, env: see `PaperHSRL`.
        learning_rate, batch_size: of Adam. Larger steps soon spoil a pretrained policy.
        buffer_size: None keeps the last 30 vector steps: old slates of an outdated policy hurt most.
        learning_starts: transitions before the first update.
        tau: Polyak factor of the target network. The paper's 0.01 needs 100 updates before a change arrives.
        entropy_weight, bc_weight: lambda_en and lambda_BC of eq. 25.
        credit: "counterfactual" or "slate"; see `item_advantages`.
        pretrain_epochs, inverse_temperature, critic_warmup_steps: see `PretrainedFromLog`.
        settings: other arguments of `PaperHSRL`. Of `policy_kwargs` only `privileged_critic` differs from the defaults
            of `HSRLPolicy`: it is True.

    Raises:
        HsrlError: for an environment in another action mode, an unknown credit, or wrong `policy_kwargs`.
    """

    default_policy_kwargs: ClassVar[dict[str, Any]] = {"privileged_critic": True}
    policy: HSRLPolicy

    def __init__(
        self,
        policy: str | type[HSRLPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 5e-4,
        *,
        buffer_size: int | None = None,
        learning_starts: int = 0,
        batch_size: int = 256,
        tau: float = 0.05,
        entropy_weight: float = 0.002,
        bc_weight: float = 0.01,
        credit: str = "counterfactual",
        pretrain_epochs: int = 8,
        inverse_temperature: float = 3.0,
        critic_warmup_steps: int = 50,
        **settings: Any,
    ) -> None:
        if credit not in CREDITS:
            raise unknown_name("credit", credit, CREDITS)
        self.credit = credit
        self.pretrain_epochs, self.inverse_temperature = pretrain_epochs, inverse_temperature
        self.critic_warmup_steps = critic_warmup_steps
        self._n_uncredited = 0  # vector steps in the buffer whose items have no credit yet
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            batch_size=batch_size,
            tau=tau,
            entropy_weight=entropy_weight,
            bc_weight=bc_weight,
            **settings,
        )

    def objective(self, batch: SlateSamples) -> Tensor:
        """Return the joint loss (eq. 26); during critic warm-up, the critic's loss alone."""
        return self.critic_warmup_loss(batch) if self.in_critic_warmup() else super().objective(batch)

    def critic_warmup_loss(self, batch: SlateSamples) -> Tensor:
        """Return the critic's loss (eq. 20), with a gradient for the critic's own weights only."""
        network, observations = self.policy.network, batch.observations
        with torch.no_grad():
            _, contexts = network.act(observations["profile"], observations["history"].long())
            target = self.td_target(batch, self.target_value(batch.next_observations, batch.next_patience))
        value, _ = network.critic(contexts, batch.patience)
        return critic_loss(value, target)

    def item_advantages(self, advantage: Tensor, batch: SlateSamples) -> Tensor:
        """Return the weight of each item's log-likelihood, (B, K) in [-1, 1], from advantages A (B,).

        "slate": the clipped advantage for every item (eq. 21). "counterfactual": each item gets the K-th part of it,
        plus what its own click changed compared with the other items of the slate:

            A_k = A / K + D_k - mean D,

        where D_k is the difference of Q with and without that click (`credit.difference_rewards`). The mean of A_k over
        the slate is A / K, so this signal is smaller than that of "slate" by a factor of K.
        """
        if self.credit == "slate":
            return super().item_advantages(advantage, batch)
        own, n_slots = batch.credits, batch.clicks.shape[1]
        assert own is not None
        return (advantage.unsqueeze(1) / n_slots + own - own.mean(1, keepdim=True)).clamp(-1.0, 1.0)

    def _buffer_kwargs(self) -> dict[str, Any]:
        return {"keeps_credits": self.credit == "counterfactual"}

    def _store_transition(self, replay_buffer: ReplayBuffer, *transition: Any) -> None:
        """Store a vector step, and compute the credit of its items with the current target critic."""
        super()._store_transition(replay_buffer, *transition)
        if self.credit != "counterfactual":
            return
        assert isinstance(replay_buffer, SlateReplayBuffer)
        self._n_uncredited = min(self._n_uncredited + 1, replay_buffer.buffer_size)
        if self.in_critic_warmup():
            return  # the critic cannot judge yet, and the policy does not learn
        gains = click_gains(replay_buffer)
        with torch.no_grad():
            for ago in range(self._n_uncredited):
                stored = replay_buffer.vector_step(ago)
                replay_buffer.credit(ago, difference_rewards(stored, gains, self.target_value, self.gamma))
        self._n_uncredited = 0


METHODS = [
    Method(
        name="hsrl-scratch",
        label="HSRL (from scratch)",
        agent_class=HSRL,
        action_mode="sid",
        rank=130,
        look=Look("#F0A07A", "h"),
        policy="HSRLPolicy",
        defaults={"pretrain_epochs": 0},
        cost=0.6,
    ),
    Method(
        name="hsrl-items",  # the same algorithm without semantic IDs
        label="HSRL (item space)",
        agent_class=HSRL,
        action_mode="sid",
        rank=140,
        look=Look("#661100", "d"),
        policy="HSRLPolicy",
        defaults={"policy_kwargs": {"semantic_ids": False}},
        cost=1.3,
    ),
    Method(
        name="hsrl-two-tower",  # the same algorithm, with scores from the content of items alone
        label="Two-tower",
        agent_class=HSRL,
        action_mode="sid",
        rank=145,
        look=Look("#2F4F4F", "H"),
        policy="HSRLPolicy",
        defaults={"policy_kwargs": {"semantic_ids": False, "heads": "tower"}},
        cost=1.5,
    ),
    Method(
        name="hsrl",
        label="HSRL",
        agent_class=HSRL,
        action_mode="sid",
        rank=150,
        look=Look("#D55E00", "o"),
        policy="HSRLPolicy",
        cost=1.0,
    ),
]
