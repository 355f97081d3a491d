"""A batch of advertising sessions: spaces, days, and what a step shows and tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.envs.ads.config import AdsConfig
from hsrl_gym.envs.ads.core import AdsCore
from hsrl_gym.envs.ads.days import AdsDays
from hsrl_gym.envs.ads.decode import CANDIDATE_MODES, CandidateMode
from hsrl_gym.envs.ads.recall import Recall
from hsrl_gym.envs.ads.world import AdsUsers
from hsrl_gym.envs.ads.world_bundle import open_ads
from hsrl_gym.envs.core import Outcome, SessionParams, SessionState
from hsrl_gym.envs.infos import Columns
from hsrl_gym.envs.observations import HistorySpace
from hsrl_gym.envs.sessions import Observation, SlateSessions
from hsrl_gym.envs.settings import check_arguments, from_json, whole_number
from hsrl_gym.errors import HsrlError, open_device, unknown_name
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.users.profile import PROFILE_LIMIT

SIMULATORS = ("train", "eval", "true")


class AdsSessions(SlateSessions):
    """A batch of advertising sessions and the spaces of one; the arguments are `AdsEnv`'s.

    Attributes:
        days: of market, catalog and recall.
    """

    core: AdsCore

    def __init__(
        self,
        market: AdsConfig | Mapping[str, Any] | None = None,
        market_seed: int = 0,
        simulator: str = "train",
        action_mode: str = "sid",
        reward: str = "mean_with_cost",
        patience: str = "reference",
        steps_per_day: int = 200,
        start_day: int = 0,
        max_steps: int = 20,
        initial_patience: float = 20.0,
        miss_cost: float = 0.1,
        device: str = "cpu",
    ) -> None:
        # Not SlateSessions' own: there is one ad a request, out of candidates, and nobody was fitted.
        if action_mode not in CANDIDATE_MODES:
            raise unknown_name("action_mode", action_mode, CANDIDATE_MODES)
        if simulator not in SIMULATORS:
            raise unknown_name("simulator", simulator, SIMULATORS)
        config = from_json(AdsConfig, "advertising market", {} if market is None else market)
        self.device = open_device(device)
        self.simulator = simulator
        self.params = SessionParams(1, "mean_with_cost", patience, max_steps, initial_patience, miss_cost)
        opened = open_ads(config, whole_number("market_seed", market_seed, 0))
        self.market, self.bundle = opened.market, opened.bundle
        self.turnover = self.onboarder = None  # the market has days of its own
        self.catalog = Catalog(self.bundle.codebook, 1, cooldown=1)
        self.candidate_mode: CandidateMode = CANDIDATE_MODES[action_mode](
            self.catalog, config.n_candidates, self.device
        )
        users = self.bundle.users["train" if simulator == "train" else "eval"]
        profiles = torch.as_tensor(users.profile, device=self.device)
        histories = torch.as_tensor(users.history, device=self.device)
        self.core = AdsCore(AdsUsers(opened.world, profiles), histories, self.params, reward, self.market)
        self.recall = Recall(self.market, opened.world, profiles)
        self.days = AdsDays(self.market, self.catalog, self.recall, steps_per_day, start_day)
        self._take_codes()
        n_ads, length = config.n_ads, users.history.shape[1]
        self.observation_space = spaces.Dict(
            {
                "profile": spaces.Box(-PROFILE_LIMIT, PROFILE_LIMIT, (config.n_profile,), np.float32),
                "history": HistorySpace(length, self.catalog.codebook),
                "candidates": spaces.Box(0, n_ads, (config.n_candidates,), np.int32),
            }
        )

    def _restart(self) -> None:
        self.days.restart()

    def greet(self, state: SessionState) -> Columns:
        """See `SlateSessions.greet`."""
        columns, n_users = super().greet(state), len(state.user)
        columns["conversions"] = np.zeros((n_users, 1), np.uint8)
        columns["cost"] = np.zeros((n_users, 1), np.float32)
        columns["day"] = np.full(n_users, self.days.day)
        return columns

    def play(
        self, state: SessionState, actions: Any, n_environments: int | None = None
    ) -> tuple[SessionState, Outcome, Columns]:
        """Take actions (B, n); return the next state, the outcome, and the info columns of the step.

        `n_environments` counts those that take no step, too; None for B. After the last step of a day the next day
        begins: what came and went is in `arrived`, `retired` and `spent`, and the next observation shows candidates of
        the new day.

        Raises:
            HsrlError: for an action outside the space.
        """
        own = np.array(actions)  # a copy: torch takes no read-only or reversed views
        self.candidate_mode.check(own)
        n_users = len(state.user)
        if len(own) != n_users:
            raise HsrlError(f"got {len(own)} actions, expected one for each of the {n_users} environments.")
        self._follow_catalog()
        candidates = self.candidates(state)
        slate = self.candidate_mode.decode(
            torch.as_tensor(own, device=self.device), candidates, self._codes[candidates]
        )
        after, outcome = self.core.transition(state, slate)
        feedback = outcome.feedback
        columns = {
            "slate": slate,
            "clicks": outcome.clicks.to(torch.uint8),
            "conversions": feedback.conversions.to(torch.uint8).unsqueeze(1),
            "cost": feedback.cost.unsqueeze(1),
            "patience": after.patience.clone(),  # not a view of the state
            "patience_before": state.patience.clone(),
            "slate_tokens": self._codes[slate],
            "user": state.user.clone(),
        }
        info: Columns = {name: column.cpu().numpy() for name, column in columns.items()}
        changes = self.days.pass_step(n_environments or n_users, n_users)
        info.update({name: np.tile(ids, (n_users, 1)) for name, ids in changes.items()})
        info["day"] = np.full(n_users, self.days.day)
        return after, outcome, info

    def candidates(self, state: SessionState) -> Tensor:
        """Return the candidates (B, R) int64 of the requests at hand."""
        return self.recall.candidates(state.user, state.stream, state.step)

    def observe(self, state: SessionState) -> Observation:
        """Return the observation arrays (B, P) float32, (B, H) int32 and (B, R) int32."""
        return {**super().observe(state), "candidates": self.candidates(state).to(torch.int32).cpu().numpy()}

    def masks(self, state: SessionState) -> NDArray[np.bool_]:
        """Return the masks (B, sum(nvec)) bool of choices that some candidate of each request has."""
        self._follow_catalog()
        return self.candidate_mode.masks(self._codes[self.candidates(state)])


def open_sessions(settings: Mapping[str, Any], more: Iterable[str] = ()) -> AdsSessions:
    """Return the sessions of the arguments that an environment was made with; it takes `more` itself.

    Raises:
        HsrlError: for an unknown one, those of other environments included.
    """
    check_arguments(settings, AdsSessions, more, "HSRL-Ads-v0")
    return AdsSessions(**settings)
