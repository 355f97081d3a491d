"""Pretraining on logged slates: the mixin of HSRL, A2C and HAC, and the losses they share with SL."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from hsrl_agent.policies import SlatePolicy
from hsrl_agent.vec_env import train_pool
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError
from hsrl_gym.progress import progress_bar
from hsrl_gym.users.early_stopping import train_with_early_stopping

HELD_OUT = 0.1  # latest share of the rows, which says when to stop
PATIENCE = 2  # epochs without a better held-out loss
_ROWS_HELD_OUT_AT_ONCE = 1024
CRITIC_WARMUP_RATE = 1e-3  # the critic starts from scratch and may take larger steps than a pretrained policy
_MANY_ROWS = 20_000  # row passes; fewer take a second or two


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
    """Minimise a loss over logged slates with AdamW, and return the held-out loss of the best epoch.

    The latest 10% of the rows are held out. Training stops two epochs after the best one, whose weights are kept.

    Args:
        network: the module to train, in place.
        loss: mean over rows, a scalar; it may use the network in either mode.
        log: rows in time order, as tensors.
        max_epochs: passes at most.
        seed: of the order of the rows and of dropout. The state of the global generator is restored.
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


def cloning_loss(policy: SlatePolicy, log: LoggedSlates, inverse_temperature: float = 1.0) -> Tensor:
    """Return the binary cross-entropy of the logged clicks, a scalar, from item scores and the state's value.

        logit of a click = (score - mean score of all live items) / inverse_temperature + value

    The best fit has item odds proportional to the click odds to the power of `inverse_temperature`. At 1, a policy over
    many items samples nearly at random. The value head supplies the bias, that is how ready this user is to click on
    anything; it is reset afterwards. Items that are no longer live do not count. Eq. 24 has the clicks only; here the
    misses count too, because the log chose what could be clicked.
    """
    above, value = policy.scores_above_mean({"profile": log.profile, "history": log.history}, log.slate)  # (B, K)
    return click_loss(above / inverse_temperature + value.unsqueeze(1), log.clicks)


def click_loss(logits: Tensor, clicks: Tensor) -> Tensor:
    """Return the mean cross-entropy of clicks (B, K). A logit of -inf, of an item that is not live, counts as 0."""
    live = ~logits.isneginf()
    return functional.binary_cross_entropy_with_logits(logits.where(live, 0.0), clicks, live.to(clicks.dtype))


class PretrainedFromLog(BaseAlgorithm):
    """Mixin: the policy is pretrained on logged slates; then the critic learns alone until it knows that policy.

    Used by HSRL, A2C (pretrained) and HAC. After pretraining the critic is as it was before: the values it stood for
    meanwhile are no returns.

    Attributes:
        pretrain_epochs: passes over the log, at most, that `learn` begins with; 0 for none.
        inverse_temperature: of the policy that the log gives; see `cloning_loss`.
        critic_warmup_steps: vector steps of learning after pretraining in which only the critic is updated, at a
            learning rate of its own.
    """

    pretrain_epochs: int
    inverse_temperature: float
    critic_warmup_steps: int
    steps_per_update: Callable[[], float]  # mean number of vector steps per update
    policy: SlatePolicy
    _updates_before_pretraining: int | None = None  # None: never pretrained

    def pretrain(self, log: LoggedSlates | None = None, epochs: int | None = None) -> float:
        """Fit the policy to logged slates, and return the held-out loss.

        The critic stays as it was. The target network, if there is one, becomes a copy of the network.

        Args:
            log: rows in time order, with profiles encoded as in the bundle's pools; None for the bundle's train pool.
            epochs: passes at most; None for `pretrain_epochs`. It stops early, two epochs after the best one.

        Raises:
            HsrlError: if `epochs` is not positive, the log has fewer than 2 rows, or it is not one of this environment.
        """
        epochs = self.pretrain_epochs if epochs is None else epochs
        if epochs < 1:
            raise HsrlError(f"got {epochs} epochs of pretraining, expected at least 1; give epochs=8, for instance.")
        rows = self._fitting(train_pool(self.env) if log is None else log).tensors(self.policy.device)
        untouched = copy.deepcopy(self.policy.critic.state_dict())
        description = f"pretraining {type(self).__name__} on {len(rows):,} logged slates"
        per_epoch, seen = int((1.0 - HELD_OUT) * len(rows)), 0
        shown = _is_worth_a_bar(len(rows) * epochs)
        with progress_bar(description, epochs * per_epoch, shown, closing_line=True, unit=" slates") as bar:

            def loss(batch: LoggedSlates) -> Tensor:
                nonlocal seen
                if self.policy.network.training:
                    seen += len(batch)
                    bar.update(len(batch))
                return self.pretraining_loss(batch)

            held_out = fit(self.policy.network, loss, rows, epochs, self.seed or 0)
            bar.set_postfix(epochs=f"{seen // per_epoch} of {epochs}", held_out_loss=f"{held_out:.4f}")
        self.policy.critic.load_state_dict(untouched)
        if self.policy.keeps_target:
            self.policy.polyak_update(1.0)
        self._updates_before_pretraining = self._n_updates
        if self.verbose >= 1:
            print(f"pretrained on {len(rows):,} logged slates: held-out loss {held_out:.4f}")
        return held_out

    def learn(self, total_timesteps: int, *args: Any, **kwargs: Any) -> Any:
        """Pretrain, if `pretrain_epochs` asks for it and nothing was learned yet; then learn as the algorithm does."""
        if self.pretrain_epochs > 0 and self.num_timesteps == 0 and self._updates_before_pretraining is None:
            self.pretrain()
        return super().learn(total_timesteps, *args, **kwargs)  # type: ignore[safe-super]  # SB3's own, of the other parent

    def _fitting(self, log: LoggedSlates) -> LoggedSlates:
        """Return the log; raise HsrlError if it is too short, or has columns or items that the environment has not."""
        if not 0 < int((1.0 - HELD_OUT) * len(log)) < len(log):
            raise HsrlError(f"got a log of {len(log)} rows, expected at least 2: one to learn from, one to hold out.")
        for name in ("profile", "history"):
            got, expected = getattr(log, name).shape[1], self.observation_space[name].shape[0]  # type: ignore[index]
            if got != expected:
                raise HsrlError(
                    f"got a log with {name} of width {got}, expected {expected} as in the environment; encode profiles "
                    "with the bundle's profile_encoder, histories with right_align(.., length)."
                )
        n_items = len(self.policy.codebook.codes) - 1
        for name, first in (("slate", 1), ("history", 0)):  # 0 is padding, which no slate has
            smallest, largest = int(getattr(log, name).min()), int(getattr(log, name).max())
            if smallest < first or largest > n_items:
                wrong = smallest if smallest < first else largest
                raise HsrlError(
                    f"got a log with item {wrong} in its {name}, expected {first}..{n_items}; is it of another catalog?"
                )
        return log

    def pretraining_loss(self, rows: LoggedSlates) -> Tensor:
        """Return the scalar loss that pretraining minimises."""
        return cloning_loss(self.policy, rows, self.inverse_temperature)

    def transfer_from(self, learned: PretrainedFromLog) -> None:
        """Start from what an agent learned on another state of the catalog, instead of pretraining.

            agent = HSRL("HSRLPolicy", env_with_todays_items)
            agent.transfer_from(HSRL.load("agent"))

        Raises:
            HsrlError: if the networks differ in more than the items; see `networks.copy_shared_weights`.
        """
        self.policy.transfer_from(learned.policy)
        self.pretrain_epochs, self._updates_before_pretraining = 0, None

    def in_critic_warmup(self) -> bool:
        """Return whether only the critic learns: it does not know yet what the pretrained policy is worth."""
        if self._updates_before_pretraining is None:
            return False
        return (self._n_updates - self._updates_before_pretraining) * self.steps_per_update() < self.critic_warmup_steps

    def _update_learning_rate(self, optimizers: list[Optimizer] | Optimizer) -> None:
        super()._update_learning_rate(optimizers)
        if self.in_critic_warmup():
            for group in self.policy.optimizer.param_groups:
                group["lr"] = CRITIC_WARMUP_RATE


def _is_worth_a_bar(row_passes: int) -> bool:
    """Return whether work is long enough to be shown. Worker processes stay silent: the terminal is their parent's."""
    return row_passes > _MANY_ROWS and multiprocessing.parent_process() is None
