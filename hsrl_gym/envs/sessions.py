"""A batch of sessions with the users of a bundle: what the single and the vector environment share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch.nn import functional

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.bundle.simulators import Simulator, open_simulator, pool_of
from hsrl_gym.envs.actions import ACTION_MODES, ActionMode
from hsrl_gym.envs.core import Outcome, SessionParams, SessionState, SlateCore
from hsrl_gym.errors import HsrlError, open_device, unknown_name
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
    ) -> None:
        if action_mode not in ACTION_MODES:
            raise unknown_name("action_mode", action_mode, ACTION_MODES)
        self.bundle = bundle
        self.device = open_device(device)
        size = bundle.slate_size if slate_size is None else slate_size
        self.params = SessionParams(size, reward, patience, max_steps, initial_patience, miss_cost)
        self.actions: ActionMode = ACTION_MODES[action_mode](bundle.codebook, size, self.device)
        respond = open_simulator(bundle, simulator, self.device, size)
        users = pool_of(bundle, simulator)
        profiles = torch.as_tensor(users.profile, device=self.device)
        histories = torch.as_tensor(users.history, device=self.device)
        self.core = SlateCore(respond, profiles, histories, self.params)
        self.codes = torch.as_tensor(bundle.codebook.codes, device=self.device).long()
        width, length = users.profile.shape[1], users.history.shape[1]
        self.observation_space = spaces.Dict(
            {
                "profile": spaces.Box(-PROFILE_LIMIT, PROFILE_LIMIT, (width,), np.float32),
                "history": spaces.Box(0, bundle.n_items, (length,), np.int32),
            }
        )

    def arrive(self, seeds: NDArray[np.int64]) -> SessionState:
        """Return B users in the first episode of the given seeds (B,)."""
        seed = torch.as_tensor(seeds, dtype=torch.int64, device=self.device)
        return self.core.initial(seed, torch.zeros_like(seed))

    def play(self, state: SessionState, actions: Any) -> tuple[SessionState, Outcome, dict[str, NDArray[Any]]]:
        """Take actions (B, n); return the next state, the outcome, and the info columns of the step.

        Raises:
            HsrlError: for an action outside the space.
        """
        own = np.array(actions)  # a copy: torch takes no read-only or reversed views
        self.actions.check(own)
        if len(own) != len(state.user):
            raise HsrlError(f"got {len(own)} actions, expected one for each of the {len(state.user)} environments.")
        slate = self.actions.decode(torch.as_tensor(own, device=self.device))
        after, outcome = self.core.transition(state, slate)
        info = {
            "slate": slate.cpu().numpy(),
            "clicks": outcome.clicks.to(torch.uint8).cpu().numpy(),
            "patience": after.patience.cpu().numpy().copy(),  # not a view of the state
            "patience_before": state.patience.cpu().numpy().copy(),
            "slate_tokens": functional.embedding(slate, self.codes).cpu().numpy(),
        }
        return after, outcome, info

    def observe(self, state: SessionState) -> Observation:
        """Return the observation arrays (B, P) float32 and (B, H) int32, which share no memory with the state."""
        observation = self.core.observation(state)
        return {
            "profile": observation["profile"].cpu().numpy(),
            "history": observation["history"].to(torch.int32).cpu().numpy(),
        }
