"""A batch of sessions with the users of a bundle: what the single and the vector environment share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch.nn import functional

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.bundle.simulators import Simulator, open_simulator, pool_of
from hsrl_gym.envs.actions import ACTION_MODES, ActionMode
from hsrl_gym.envs.churn import Churn, open_turnover
from hsrl_gym.envs.core import Outcome, SessionParams, SessionState, SlateCore
from hsrl_gym.envs.infos import Columns
from hsrl_gym.envs.observations import HistorySpace
from hsrl_gym.envs.onboarding import Onboarding, open_onboarder
from hsrl_gym.errors import HsrlError, open_device, unknown_name
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.users.profile import PROFILE_LIMIT

Observation = dict[str, NDArray[Any]]


class SlateSessions:
    """A batch of sessions and the spaces of one session; the arguments are `SlateEnv`'s."""

    def __init__(
        self,
        bundle: Bundle,
        simulator: Simulator = "train",
        action_mode: str = "sid",
        reward: str = "mean_with_cost",
        patience: str = "reference",
        slate_size: int | None = None,
        max_steps: int = 20,
        initial_patience: float = 20.0,
        miss_cost: float = 0.1,
        device: str = "cpu",
        churn: Churn | Mapping[str, Any] | None = None,
        onboarding: Onboarding | Mapping[str, Any] | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        if action_mode not in ACTION_MODES:
            raise unknown_name("action_mode", action_mode, ACTION_MODES)
        self.bundle = bundle
        self.simulator = simulator
        self.device = open_device(device)
        size = bundle.slate_size if slate_size is None else slate_size
        self.params = SessionParams(size, reward, patience, max_steps, initial_patience, miss_cost)
        if catalog is not None:
            _check_shared(catalog, bundle, size)
        self.turnover = None if churn is None else open_turnover(Churn.of(churn), bundle, size, catalog)
        if self.turnover is not None:
            self.catalog = self.turnover.catalog
        else:
            self.catalog = Catalog(bundle.codebook, size) if catalog is None else catalog
        self.actions: ActionMode = ACTION_MODES[action_mode](self.catalog, size, self.device)
        respond = open_simulator(bundle, simulator, self.device, size)
        users = pool_of(bundle, simulator)
        profiles = torch.as_tensor(users.profile, device=self.device)
        histories = torch.as_tensor(users.history, device=self.device)
        self.core = SlateCore(respond, profiles, histories, self.params)
        self._take_codes()
        self.onboarder = open_onboarder(onboarding, self.catalog, bundle, self.device)
        width, length = users.profile.shape[1], users.history.shape[1]
        self.observation_space = spaces.Dict(
            {
                "profile": spaces.Box(-PROFILE_LIMIT, PROFILE_LIMIT, (width,), np.float32),
                "history": HistorySpace(length, self.catalog.codebook),
            }
        )

    def _take_codes(self) -> None:
        self._seen_version = self.catalog.version
        self._codes = torch.as_tensor(self.catalog.codes, device=self.device).long()

    def _follow_catalog(self) -> None:
        if self.catalog.version != self._seen_version:
            changed = self.catalog.changed_since(self._seen_version)
            self._seen_version = self.catalog.version
            self._codes[changed] = torch.as_tensor(self.catalog.codes[changed], device=self.device).long()

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the flat mask (sum(nvec),) bool of choices that lead to a live item."""
        return self.actions.masks()

    def arrive(self, seeds: Sequence[int], restart: bool = True) -> SessionState:
        """Return B users in the first episode of the given seeds (B,), of which 64 bits count.

        With `restart`, the catalog returns to its first day, and onboarding forgets its impressions. Without churn the
        catalog has no days: what is on sale stays.
        """
        if restart:
            self._restart()
        bits = np.array([int(seed) % 2**64 for seed in seeds], dtype=np.uint64)  # some libraries draw seeds of 64 bits
        seed = torch.as_tensor(bits.view(np.int64), device=self.device)
        return self.core.initial(seed, torch.zeros_like(seed))

    def _restart(self) -> None:
        if self.turnover is not None:
            self.turnover.restart()
        if self.onboarder is not None:
            self.onboarder.restart()

    def seat(self, state: SessionState, users: NDArray[np.int64]) -> SessionState:
        """Return the state of arrivals in which they are the users (B,) of the pool; see `SlateCore.seat`."""
        return self.core.seat(state, torch.as_tensor(users, device=self.device))

    def greet(self, state: SessionState) -> Columns:
        """Return the info columns of users who have just arrived: the keys of a step, before anything was shown."""
        n_users, size, n_levels = len(state.user), self.params.slate_size, self.catalog.codes.shape[1]
        patience = state.patience.cpu().numpy().copy()  # not a view of the state
        columns: Columns = {
            "slate": np.zeros((n_users, size), np.int64),
            "clicks": np.zeros((n_users, size), np.uint8),
            "patience": patience,
            "patience_before": patience.copy(),
            "slate_tokens": np.full((n_users, size, n_levels), -1, np.int64),
            "user": state.user.cpu().numpy().copy(),
        }
        if self.onboarder is not None:
            columns["explored"] = np.zeros((n_users, size), dtype=bool)
        if self.turnover is not None:
            columns["day"] = np.full(n_users, self.turnover.day)
        return columns

    def play(
        self, state: SessionState, actions: Any, n_environments: int | None = None
    ) -> tuple[SessionState, Outcome, Columns]:
        """Take actions (B, n); return the next state, the outcome, and the info columns of the step.

        `n_environments` counts those that take no step, too; None for B.

        Raises:
            HsrlError: for an action outside the space.
        """
        own = np.array(actions)  # a copy: torch takes no read-only or reversed views
        self.actions.check(own)
        if len(own) != len(state.user):
            raise HsrlError(f"got {len(own)} actions, expected one for each of the {len(state.user)} environments.")
        self._follow_catalog()
        slate = self.actions.decode(torch.as_tensor(own, device=self.device))
        explored = None
        if self.onboarder is not None:
            profile = self.core.profiles[state.user]
            slate, explored = self.onboarder.explore(profile, state.history, slate)
        after, outcome = self.core.transition(state, slate)
        if self.onboarder is not None:
            self.onboarder.observe(profile, state.history, slate, outcome.clicks)
        info: Columns = {
            "slate": slate.cpu().numpy(),
            "clicks": outcome.clicks.to(torch.uint8).cpu().numpy(),
            "patience": after.patience.cpu().numpy().copy(),  # not a view of the state
            "patience_before": state.patience.cpu().numpy().copy(),
            "slate_tokens": functional.embedding(slate, self._codes).cpu().numpy(),
            "user": state.user.cpu().numpy().copy(),
        }
        if explored is not None:
            info["explored"] = explored.cpu().numpy()
        if self.turnover is not None:
            info.update(self._pass_time(outcome, n_environments))
        return after, outcome, info

    def _pass_time(self, outcome: Outcome, n_environments: int | None) -> Columns:
        """Let a step pass; return the day (B,), and the ids that arrived (B, n) and retired (B, m) if it has ended."""
        assert self.turnover is not None
        finished = outcome.terminated | outcome.truncated
        n_finished = int(finished.sum()) if self.turnover.counts_sessions else 0
        changed = self.turnover.pass_time(n_finished, n_environments or len(finished), len(finished))
        columns: Columns = {"day": np.full(len(finished), self.turnover.day)}
        if changed is not None:
            columns.update(
                {
                    name: np.tile(ids, (len(finished), 1))
                    for name, ids in zip(("arrived", "retired"), changed, strict=True)
                }
            )
        return columns

    def observe(self, state: SessionState) -> Observation:
        """Return the observation arrays (B, P) float32 and (B, H) int32, which share no memory with the state."""
        observation = self.core.observation(state)
        return {
            "profile": observation["profile"].cpu().numpy(),
            "history": observation["history"].to(torch.int32).cpu().numpy(),
        }


def _check_shared(catalog: Catalog, bundle: Bundle, slate_size: int) -> None:
    """Raise HsrlError unless a shared catalog has the bundle's ids and tokens, and serves slates of this size."""
    if not catalog.codebook.has_space_of(bundle.codebook):
        raise HsrlError(
            f"got a catalog of {catalog.n_items} items that is not of the bundle {bundle.name}, expected one made from "
            f"its codebook of {bundle.n_items} items: Catalog(bundle.codebook, slate_size)."
        )
    if catalog.slate_size < slate_size:
        raise HsrlError(
            f"got a catalog for slates of {catalog.slate_size}, expected at least slate_size {slate_size}; make it "
            "with Catalog(codebook, slate_size)."
        )
