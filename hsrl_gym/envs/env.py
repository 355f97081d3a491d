"""One user at a time: the batch of one in Gymnasium's clothes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.bundle.store import open_bundle
from hsrl_gym.envs.core import SessionState
from hsrl_gym.envs.render import RENDER_MODES, check_render_mode, check_rendered, render_step
from hsrl_gym.envs.sessions import Observation, SlateSessions
from hsrl_gym.errors import HsrlError


class SlateEnv(gymnasium.Env[Observation, NDArray[Any]]):
    """A user is shown slates until patience runs out.

    ## Description
    Each episode is a session of one user of the bundle's pool. A click model learned from logs plays the user: it
    gives each item of the slate a click probability from the user's profile and the items clicked so far; the clicks
    are drawn, clicked items join the history, and misses cost patience. With `simulator="true"` the user is the one who
    wrote the log, for bundles that were made from a `SyntheticWorld`; the users are those of the "eval" pool.

    ## Action Space
    - `action_mode="sid"`: `MultiDiscrete([V_1, .., V_L] * K)`, a semantic ID for each slot. Every action is executable:
      a token without a live item counts as its nearest live sibling, a repeated item gives way to its neighbour.
    - `"item"`: `MultiDiscrete([N] * K)`; number a shows item a + 1.
    - `"hyper"`: `Box(-1, 1, (d,))`; shows the K items with the largest inner product.

    ## Observation Space
    `Dict(profile=Box((P,), float32), history=Box((H,), int32))`: the encoded profile, and the ids of the clicked items,
    the latest last, padded with 0 on the left.

    ## Rewards
    `reward="mean_with_cost"`: mean over the slate of 1 for a click and -`miss_cost` for none. `"sweet_point"`:
    1 - |mean_with_cost - 0.9|.

    ## Starting State
    Profile and history of a logged user, drawn from the seed and the number of the episode.

    ## Episode End
    Terminated when patience is below 1: it starts at `initial_patience` and each step takes (1 - r) K + 1 off
    (`patience="reference"`), or n at the n-th unrewarded step in a row (`"streak"`). Truncated after `max_steps`.

    ## Info
    `slate` (K,) item ids, `clicks` (K,) 0 or 1, `slate_tokens` (K, L) of what was really shown; `patience` left, and
    `patience_before` the step, which no agent sees when it acts.

    ## Arguments
    `bundle` (folder; None for the id's own), `simulator="train"|"eval"|"true"`, `action_mode`, `reward`,
    `patience`, `slate_size`, `max_steps`, `initial_patience`, `miss_cost`, `device`, `render_mode="ansi"`.

    ## Version History
    - v0: first version.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 1}  # noqa: RUF012  (Gymnasium's own form)

    def __init__(
        self,
        bundle: str | Path | Bundle | None = None,
        render_mode: str | None = None,
        default_bundle: str | None = "rl4rs",
        **settings: Any,
    ) -> None:
        """Open the bundle; `settings` are those of the class docstring's Arguments."""
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.bundle = open_bundle(bundle, default_bundle)
        self.sessions = SlateSessions(self.bundle, **settings)
        self.observation_space: spaces.Space[Any] = self.sessions.observation_space
        self.action_space = self.sessions.actions.space
        self._state: SessionState | None = None
        self._shown: dict[str, Any] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the next session; with a seed, start that seed's first session."""
        super().reset(seed=seed)
        if seed is not None or self._state is None:
            first = seed if seed is not None else int(self.np_random.integers(2**31))
            self._state = self.sessions.arrive(np.array([first]))
        else:
            everyone = torch.ones(1, dtype=torch.bool, device=self.sessions.device)
            self._state = self.sessions.core.replace_finished(self._state, everyone)
        self._shown = None
        return self._observe(), {"patience": float(self._state.patience)}

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Show the slate that the action names.

        Raises:
            HsrlError: for an action outside the space.
        """
        if self._state is None:
            raise HsrlError("step() came before reset(); call reset() first.")
        self._state, outcome, columns = self.sessions.play(self._state, np.asarray(action)[None])
        info: dict[str, Any] = {name: values[0] for name, values in columns.items()}
        info.update({name: float(info[name]) for name in ("patience", "patience_before")})
        reward = float(outcome.reward)
        if self.render_mode is not None:
            last = {name: np.copy(value) for name, value in info.items()}  # `info` is the caller's
            self._shown = {**last, "reward": reward, "step": int(self._state.step)}
        return self._observe(), reward, bool(outcome.terminated), bool(outcome.truncated), info

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the flat mask of live choices, (sum(nvec),) bool, as sb3-contrib's maskable algorithms take it."""
        return self.sessions.actions.masks()

    def render(self) -> str:
        """Return the last slate, its clicks and the patience left, for a person to read; it takes a `render_mode`."""
        check_rendered(self.render_mode)
        return render_step(self.bundle, self.sessions.params, self._shown)

    def _observe(self) -> Observation:
        assert self._state is not None
        return {name: values[0] for name, values in self.sessions.observe(self._state).items()}
