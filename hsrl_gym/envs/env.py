"""The single environment: a batch of one session behind Gymnasium's `Env`."""

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
from hsrl_gym.envs.options import read_options
from hsrl_gym.envs.render import RENDER_FPS, RENDER_MODES, check_render_mode, open_rendering, rendered
from hsrl_gym.envs.sessions import Observation, SlateSessions
from hsrl_gym.envs.settings import check_arguments
from hsrl_gym.envs.snapshot import Snapshot, check_snapshot, restore_snapshot, take_snapshot
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog


class SlateEnv(gymnasium.Env[Observation, NDArray[Any]]):
    """A user sees slates until patience runs out.

    ## Description
    Each episode is a session of one user of the bundle's pool. A user model gives each item of the slate a click
    probability, from the user's profile and the items clicked so far. Clicks are drawn from these probabilities.
    Clicked items enter the history, and items without a click cost patience.

    ## Action Space
    - `action_mode="sid"`: `MultiDiscrete([V_1, .., V_L] * K)`, a semantic ID for each slot. Every action is executable:
      a token without a live item counts as its nearest live sibling, and a repeated item is replaced by its neighbour.
    - `"item"`: `MultiDiscrete([N] * K)`; action a shows item a + 1.
    - `"hyper"`: `Box(-1, 1, (d,))`; shows the K items with the largest inner product.

    ## Observation Space
    `Dict(profile=Box((P,), float32), history=Box((H,), int32))`: the encoded profile, and the ids of the clicked items,
    latest last, padded with 0 on the left.

    ## Rewards
    `reward="mean_with_cost"`: mean over the slate of 1 for a click and -`miss_cost` for none. `"sweet_point"`:
    1 - |mean_with_cost - 0.9|.

    ## Starting State
    Profile and history of a logged user, chosen by the seed and the number of the episode, or by
    `reset(options={"user": row of the pool})`.

    ## Episode End
    Terminated when patience falls below 1. It starts at `initial_patience`; each step costs (1 - r) K + 1
    (`patience="reference"`), or n at the n-th step in a row with r <= 0 (`"streak"`). Truncated after `max_steps`.

    ## Info
    `slate` (K,) item ids, `clicks` (K,) 0 or 1, `slate_tokens` (K, L) SIDs of the items shown, `patience` after the
    step, and `patience_before` it, which is not part of the observation, and `user`, the row of the pool. With churn
    also `day`, the days that have ended. All are NumPy arrays or scalars.

    A reset has the same keys, before anything was shown: `slate` and `clicks` are 0, `slate_tokens` -1,
    `patience_before` is `patience`. Only on the last step of a day there are also `arrived` and `retired`, the ids that
    came and went after it.

    ## Arguments
    - `bundle`: folder of a bundle, or a `Bundle`; None for the default of the id. `HSRL-Bundle-v0` has none.
    - `simulator`: who plays the users.
      - `"train"` (default): the user model fitted to the train split, with the users of the train pool.
      - `"eval"`: the user model fitted to all data, with the users of the eval pool, as for all following values.
      - `"true"`: the world that wrote the log, for bundles made from a `SyntheticWorld`.
      - `"package.module:factory"`: your own user model. `factory(bundle)` returns a `ClickModel`, a callable that takes
        encoded profiles (B, P), histories (B, H) and slates (B, K) and returns click logits (B, K).
      - a `ClickModel` object. Specs that must be written as JSON need the string form instead.
    - `action_mode`: `"sid"` (default), `"item"` or `"hyper"`.
    - `reward`: `"mean_with_cost"` or `"sweet_point"`; `miss_cost=0.1`.
    - `patience`: `"reference"` (default) or `"streak"`; `initial_patience=20.0`.
    - `slate_size`: K; None for that of the log. `max_steps=20`.
    - `churn`: None for a catalog that stands still, or settings of `envs.churn.Churn`; `{"every": 9}` replaces a tenth
      of the catalog every 9 steps. `reset(seed=..)` returns to the first day.
    - `onboarding`: None, or settings of `envs.onboarding.Onboarding` for items that are not on sale at the start: their
      SIDs follow what their impressions say, and a share of the slots explores them (`explored` (K,) bool in info).
    - `catalog`: a `Catalog` of the bundle to share with another environment; None for one's own. With `churn`, a seeded
      reset returns it to its start. With `onboarding`, its new items move when the environment is made, and at a seeded
      reset.
    - `device`: of the sessions, `"cpu"` (default) or `"cuda"`. `render_mode`: None, `"ansi"` (text),
      `"rgb_array"` (pictures, (540, 960, 3) uint8) or `"human"` (a window; needs pygame).

    ## Version History
    - v0: first version.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012  (Gymnasium's own form)

    def __init__(
        self,
        bundle: str | Path | Bundle | None = None,
        render_mode: str | None = None,
        default_bundle: str | None = "rl4rs",
        **settings: Any,
    ) -> None:
        """Open the bundle; `settings` are those of the class docstring's Arguments."""
        check_arguments(settings, SlateSessions, ("bundle", "render_mode"))
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.bundle = open_bundle(bundle, default_bundle)
        self.sessions = SlateSessions(self.bundle, **settings)
        self.observation_space: spaces.Space[Any] = self.sessions.observation_space
        self.action_space = self.sessions.actions.space
        self._state: SessionState | None = None
        self.rendering = open_rendering(render_mode, self.bundle, self.sessions.params)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the next session; with a seed, start the first session of that seed.

        Args:
            seed: of the environment.
            options: `{"user": row}` chooses the user; the clicks are drawn as for the one whom the seed would choose.

        Raises:
            HsrlError: for an unknown option, or a user that is not in the pool.
        """
        users = read_options(options, len(self.sessions.core.profiles)).users
        super().reset(seed=seed)
        if seed is not None or self._state is None:
            first = seed if seed is not None else int(self.np_random.integers(2**31))
            self._state = self.sessions.arrive([first])
        else:
            everyone = torch.ones(1, dtype=torch.bool, device=self.sessions.device)
            self._state = self.sessions.core.replace_finished(self._state, everyone)
        if users is not None:
            self._state = self.sessions.seat(self._state, users)
        if self.rendering is not None:
            self.rendering.arrive(self._state)
        return self._observe(), {name: values[0] for name, values in self.sessions.greet(self._state).items()}

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Show the slate named by the action.

        Raises:
            HsrlError: for an action outside the space.
        """
        if self._state is None:
            raise HsrlError("step() came before reset(); call reset() first.")
        self._state, outcome, columns = self.sessions.play(self._state, np.asarray(action)[None])
        info: dict[str, Any] = {name: values[0] for name, values in columns.items()}
        reward = float(outcome.reward)
        if self.rendering is not None:
            self.rendering.follow(self._state, np.array([reward]), outcome.probability, columns)
        return self._observe(), reward, bool(outcome.terminated), bool(outcome.truncated), info

    def snapshot(self) -> Snapshot:
        """Return session, catalog and days as named arrays, from which `restore` goes on in this or another process.

        Raises:
            HsrlError: before the first reset.
        """
        if self._state is None:
            raise HsrlError("snapshot() came before reset(); call reset() first.")
        return take_snapshot(self.sessions, self._state)

    def restore(self, snapshot: Snapshot) -> Observation:
        """Go on where `snapshot` was taken, and return the observation of then.

        Raises:
            HsrlError: for a snapshot of an environment with other users, items or rules, or a damaged one. Nothing is
                changed then.
        """
        check_snapshot(self.sessions, snapshot, 1)
        self._state = restore_snapshot(self.sessions, snapshot)
        if self.rendering is not None:
            self.rendering.go_on(self._state)
        return self._observe()

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the flat mask (sum(nvec),) bool of live choices, in the form of sb3-contrib's maskable algorithms."""
        return self.sessions.action_masks()

    @property
    def catalog(self) -> Catalog:
        """The items on sale, which the action space and policies share."""
        return self.sessions.catalog

    def render(self) -> Any:
        """Return the last slate, its clicks and the patience, as text or as a picture (540, 960, 3) uint8.

        Before the first step it shows the user. With `render_mode="human"` the window shows each step by itself, and
        None is returned.

        Raises:
            HsrlError: if the environment was made without a render mode.
        """
        shown = rendered(self.rendering, 1)
        return None if shown is None else shown[0]

    def close(self) -> None:
        """Close the window of `render_mode="human"`."""
        if self.rendering is not None:
            self.rendering.close()

    def _observe(self) -> Observation:
        assert self._state is not None
        return {name: values[0] for name, values in self.sessions.observe(self._state).items()}
