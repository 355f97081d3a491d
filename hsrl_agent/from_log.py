"""Learning from the logged slates of a bundle's pool: the loop that SL and the warm start share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from hsrl_agent.policies import SlatePolicy
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.early_stopping import train_with_early_stopping

HELD_OUT = 0.1  # latest share of the rows, which says when to stop
PATIENCE = 2  # epochs without a better held-out loss
_ROWS_HELD_OUT_AT_ONCE = 1024
CATCHING_UP_RATE = 1e-3  # of the critic alone, which may take larger steps than a policy that is good already


def fit(
    network: nn.Module,
    loss: Callable[[LoggedSlates], Tensor],
    log: LoggedSlates,
    max_epochs: int,
    seed: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
    batch_size: int = 256,
) -> float:
    """Minimise a loss over logged slates with AdamW; keep the epoch with the best held-out loss, and return that.

    The latest 10% are held out; it stops after two epochs without a better one.

    Args:
        network: whose weights are fitted, in place.
        loss: mean over rows; it may use the network in either mode.
        log: the rows.
        max_epochs: passes at most.
        seed: of the order of the rows, and of dropout; the global generator is left as it was.
        learning_rate, weight_decay, batch_size: of AdamW.
    """
    device, generator = log.profile.device, torch.Generator().manual_seed(seed)
    cut = int((1.0 - HELD_OUT) * len(log))
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=weight_decay, fused=True)

    def train_epoch() -> None:
        for chosen in torch.randperm(cut, generator=generator).split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss(log.rows(chosen.to(device))).backward()
            optimizer.step()

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout draws from the global generator
        return train_with_early_stopping(network, train_epoch, lambda: _held_out(loss, log, cut), max_epochs, PATIENCE)


@torch.no_grad()
def _held_out(loss: Callable[[LoggedSlates], Tensor], log: LoggedSlates, cut: int) -> float:
    parts = torch.arange(cut, len(log), device=log.profile.device).split(_ROWS_HELD_OUT_AT_ONCE)
    return float(torch.stack([loss(log.rows(part)) * len(part) for part in parts]).sum() / (len(log) - cut))


def cloning_loss(policy: SlatePolicy, log: LoggedSlates, sharpness: float = 1.0) -> Tensor:
    """Return the binary cross-entropy of the logged clicks, from an item's score and the state's value.

    Cloning over what was shown, for the log chose what could be clicked: the logit of a click is the item's score above
    the average of all live items, over `sharpness`, plus the value, here how ready this user is to click on anything
    (which is no return: `warm_start` forgets it). Items that are no longer live count for nothing. So the best fit has
    odds of items in proportion to the odds of a click on them, to the power of `sharpness`: at 1 a policy over many
    items is next to random when it samples. Of eq. 24, the likelihood of what was clicked alone, these are the clicks
    and the misses.
    """
    distribution, value = policy.score({"profile": log.profile, "history": log.history})
    live = distribution.scores.isfinite()
    average = distribution.scores.masked_fill(~live, 0.0).sum(1, keepdim=True) / live.sum(1, keepdim=True)
    above = distribution.scores.gather(1, log.slate - 1) - average  # (B, K)
    return click_loss(above / sharpness + value.unsqueeze(1), log.clicks)


def click_loss(logits: Tensor, clicks: Tensor) -> Tensor:
    """Return the mean cross-entropy of clicks (B, K); a logit of -inf, of an item not live, counts as 0."""
    live = ~logits.isneginf()
    return functional.binary_cross_entropy_with_logits(logits.where(live, 0.0), clicks, live.to(clicks.dtype))


def warm_start(
    policy: SlatePolicy, users: LoggedSlates, loss: Callable[[LoggedSlates], Tensor], max_epochs: int, seed: int
) -> float:
    """Clone what was clicked in the log, before the first step of RL; return the held-out loss (see `fit`).

    The critic stays as it was: what its values meant meanwhile is of no use to it.
    """
    log = users.tensors(policy.device)
    untouched = copy.deepcopy(policy.critic.state_dict())
    best = fit(policy.network, loss, log, max_epochs, seed)
    policy.critic.load_state_dict(untouched)
    if policy.keeps_target:
        policy.follow(1.0)
    return best


class StartsFromLog(BaseAlgorithm):
    """What HSRL, A2C and HAC with a warm start share: the policy comes from the log, and the critic catches up with it.

    Attributes:
        warm_start: passes over the logged slates of the bundle's pool, at most, before the first step; 0 for none.
        sharpness: of the policy that the log gives (see `cloning_loss`).
        critic_first: vector steps of learning after which the policy learns too; before, the critic alone does, so that
            it knows the policy that the log gave before it judges what that does. None without a warm start.
        steps_an_update: says how many vector steps lie between updates, on average.
    """

    warm_start: int
    sharpness: float
    critic_first: int
    steps_an_update: Callable[[], float]
    policy: SlatePolicy

    def learn(self, total_timesteps: int, *args: Any, **kwargs: Any) -> Any:
        """Start from the log, if that is asked for and nothing was learned yet; then learn as the algorithm does."""
        if self.warm_start and self.num_timesteps == 0:
            assert self.env is not None
            users = self.env.get_attr("bundle")[0].users["train"]
            warm_start(self.policy, users, self.cloning, self.warm_start, self.seed or 0)
        return super().learn(total_timesteps, *args, **kwargs)  # type: ignore[safe-super]  # SB3's own, of the other parent

    def cloning(self, rows: LoggedSlates) -> Tensor:
        """Return the loss that a warm start minimises."""
        return cloning_loss(self.policy, rows, self.sharpness)

    def take_over(self, learned: StartsFromLog) -> None:
        """Go on from what an agent learned while the catalog was another one, not from the log.

            agent = HSRL("HSRLPolicy", env_with_todays_items)
            agent.take_over(HSRL.load("agent"))

        Raises:
            HsrlError: if the networks differ in more than the items, see `networks.take_weights`.
        """
        self.policy.take_over(learned.policy)
        self.warm_start = 0

    def catches_up(self) -> bool:
        """Return whether the critic has yet to learn what a policy from the log is worth."""
        return self.warm_start > 0 and self._n_updates * self.steps_an_update() < self.critic_first

    def _update_learning_rate(self, optimizers: list[Optimizer] | Optimizer) -> None:
        super()._update_learning_rate(optimizers)
        if self.catches_up():
            for group in self.policy.optimizer.param_groups:
                group["lr"] = CATCHING_UP_RATE
