"""A session in which one ad a step is shown, clicked and perhaps followed by a conversion, as pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hsrl_gym.envs.ads.market import AdsMarket
from hsrl_gym.envs.ads.rewards import ADS_REWARDS, Feedback
from hsrl_gym.envs.ads.world import AdsUsers
from hsrl_gym.envs.core import Outcome, SessionParams, SessionState, SlateCore, _noise, _uniform
from hsrl_gym.errors import unknown_name

_CONVERSION = 2  # slot of the noise; 1 is for the click


@dataclass(frozen=True)
class AdsOutcome(Outcome):
    """An `Outcome` with its `Feedback`."""

    feedback: Feedback


class AdsCore(SlateCore):
    """Sessions of an ad a step. Clicks, history and patience are `SlateCore`'s; conversion, cost and reward are added.

    Patience follows the clicks, as `mean_with_cost` counts them, whatever the reward rule: users do not care who pays.
    """

    respond: AdsUsers

    def __init__(
        self, users: AdsUsers, histories: Tensor, params: SessionParams, reward: str, market: AdsMarket
    ) -> None:
        """Take the pool's users, their histories (M, H), the name of a rule in `ADS_REWARDS`, and the market's prices.

        Raises:
            HsrlError: for an unknown reward rule.
        """
        if reward not in ADS_REWARDS:
            raise unknown_name("reward rule", reward, ADS_REWARDS)
        super().__init__(users, users.profiles, histories, params)
        self.reward = reward
        self._bid = torch.as_tensor(market.bid, device=histories.device)
        self._value = torch.as_tensor(market.value, device=histories.device)
        self._slot = torch.tensor([_CONVERSION], device=histories.device)

    @torch.no_grad()
    def transition(self, state: SessionState, slate: Tensor) -> tuple[SessionState, AdsOutcome]:
        """Show ads (B, 1); return the next state and the outcome."""
        after, outcome = super().transition(state, slate)
        ad, clicks = slate[:, 0], outcome.clicks[:, 0]
        draw = _uniform(_noise(state.stream, state.step, self._slot))[:, 0]
        sold = draw < self.respond.conversion(state.user, slate)[:, 0]
        feedback = Feedback(clicks, clicks * sold, clicks * self._bid[ad], self._value[ad])
        reward = ADS_REWARDS[self.reward](feedback, self.params.miss_cost)
        return after, AdsOutcome(
            outcome.probability, outcome.clicks, reward, outcome.terminated, outcome.truncated, feedback
        )
