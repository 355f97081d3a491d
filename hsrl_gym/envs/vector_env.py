"""Many users at once: no Python work per user between an action and its observation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.bundle.store import open_bundle
from hsrl_gym.envs import infos
from hsrl_gym.envs.autoreset import open_autoreset_mode, play_all, play_some
from hsrl_gym.envs.core import SessionState
from hsrl_gym.envs.options import read_options
from hsrl_gym.envs.render import RENDER_FPS, RENDER_MODES, check_render_mode, open_rendering, rendered
from hsrl_gym.envs.sessions import Observation, SlateSessions
from hsrl_gym.envs.settings import check_arguments
from hsrl_gym.envs.snapshot import Snapshot, check_snapshot, restore_snapshot, take_snapshot
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog

VECTOR_ARGUMENTS = ("num_envs", "render_mode", "autoreset_mode")


class SlateVectorEnv(VectorEnv[Observation, NDArray[Any], NDArray[Any]]):
    """B independent sessions in one batch; spaces, rewards and arguments are those of `SlateEnv`.

    After `reset(seed=s)`, environment i equals, step for step, the single environment after `reset(seed=s + i)`. What
    follows the end of a session is Gymnasium's `autoreset_mode`:

    - `"SameStep"` (default): another user arrives within the step. The observation is then the new user's, and
      `info["final_obs"]` holds the last one of the old user. Other than in Gymnasium's own vector environments, the
      other infos are those of the step, not of the reset; `info["final_info"]` repeats them.
    - `"NextStep"`: the next step ignores the action, pays 0 and returns the new user's first observation. The days of a
      catalog and onboarding do not count such a step.
    - `"Disabled"`: call `reset(options={"reset_mask": mask})`, a bool array (B,), before the next step.

    Attributes:
        autoreset_mode: the `AutoresetMode`; it stands in `metadata`, too.
    """

    metadata = {  # noqa: RUF012  (Gymnasium's own form)
        "render_modes": list(RENDER_MODES),
        "render_fps": RENDER_FPS,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        bundle: str | Path | Bundle | None = None,
        render_mode: str | None = None,
        default_bundle: str | None = "rl4rs",
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        **settings: Any,
    ) -> None:
        """Open the bundle for `num_envs` users; `settings` are those of `SlateEnv`."""
        check_arguments(settings, SlateSessions, ("bundle", *VECTOR_ARGUMENTS))
        self._take_modes(num_envs, render_mode, autoreset_mode)
        self.bundle = open_bundle(bundle, default_bundle)
        self.sessions = SlateSessions(self.bundle, **settings)
        self._take_spaces(self.sessions.actions.space)

    def _take_modes(self, num_envs: int, render_mode: str | None, autoreset_mode: str | AutoresetMode) -> None:
        if num_envs < 1:
            raise HsrlError(f"got num_envs {num_envs}, expected at least 1.")
        check_render_mode(render_mode)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.autoreset_mode = open_autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}

    def _take_spaces(self, action_space: spaces.Space[Any]) -> None:
        self.single_observation_space, self.single_action_space = self.sessions.observation_space, action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._state: SessionState | None = None
        self._ended = np.zeros(self.num_envs, dtype=bool)  # (B,), sessions that are over and not yet replaced
        self.rendering = open_rendering(self.render_mode, self.bundle, self.sessions.params)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start new sessions; with seed s, environment i starts the first session of seed s + i.

        Args:
            seed: s; or a list with the seed of each environment, None for one that goes on to its next session.
            options: `user`, a row of the pool, or an array (B,) of them; `reset_mask`, a bool array (B,) of the
                environments to reset. Without it all are reset, and with a seed the catalog returns to its first day.

        Raises:
            HsrlError: for another number of seeds, unknown options, a user that is not in the pool, or a mask at the
                first reset.
        """
        chosen = read_options(options, len(self.sessions.core.profiles), self.num_envs)
        mask = np.ones(self.num_envs, dtype=bool) if chosen.mask is None else chosen.mask
        if self._state is None and not mask.all():
            raise HsrlError("got a reset_mask at the first reset, expected none: call reset() first.")
        begun = self._begin(self._seeds(seed), mask)
        if chosen.users is not None:
            begun = self.sessions.seat(begun, chosen.users)
        if not mask.all():
            assert self._state is not None
            begun = begun.where(torch.as_tensor(mask, device=self.sessions.device), self._state)
        self._state, self._ended = begun, self._ended & ~mask
        if self.rendering is not None:
            self.rendering.arrive(begun)
        return self.sessions.observe(begun), infos.only(mask, self.sessions.greet(begun))

    def _seeds(self, seed: int | list[int | None] | None) -> list[int | None]:
        """Return the seed of each environment, None for one that goes on to its next session."""
        if isinstance(seed, list):
            if len(seed) != self.num_envs:
                raise HsrlError(f"got {len(seed)} seeds, expected one for each of the {self.num_envs} environments.")
            if self._state is not None:
                return seed
            return [int(self.np_random.integers(2**31)) if one is None else one for one in seed]
        if seed is None and self._state is not None:
            return [None] * self.num_envs
        super().reset(seed=seed)
        first = seed if seed is not None else int(self.np_random.integers(2**31))
        return [first + index for index in range(self.num_envs)]

    def _begin(self, seeds: list[int | None], mask: NDArray[np.bool_]) -> SessionState:
        """Return the next sessions, and the first ones of the seeds where there are any."""
        device = self.sessions.device
        seeded = np.array([seed is not None for seed in seeds])
        everyone = torch.ones(self.num_envs, dtype=torch.bool, device=device)
        following = None if self._state is None else self.sessions.core.replace_finished(self._state, everyone)
        if following is not None and not seeded.any():
            return following
        first = self.sessions.arrive([seed or 0 for seed in seeds], restart=bool(mask.all()))
        return first if following is None else first.where(torch.as_tensor(seeded, device=device), following)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Show B slates; `autoreset_mode` says what happens to sessions that are over.

        Raises:
            HsrlError: for an action outside the space; with autoreset disabled, for a session that is over.
        """
        if self._state is None:
            raise HsrlError("step() came before reset(); call reset() first.")
        if not self._ended.any():
            played = play_all(self.sessions, self._state, actions)
        elif self.autoreset_mode is AutoresetMode.NEXT_STEP:
            played = play_some(self.sessions, self._state, actions, self._ended)
        else:
            over = ", ".join(map(str, np.flatnonzero(self._ended)))
            raise HsrlError(
                f"got a step, but the sessions of environments {over} are over; call "
                'reset(options={"reset_mask": terminated | truncated}) first.'
            )
        after, info = played.state, played.info
        if self.rendering is not None:
            self.rendering.follow(after, played.reward, played.probability, played.columns)
        done = played.terminated | played.truncated
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._ended = done
        elif done.any():
            info["final_obs"] = infos.rows_of(self.sessions.observe(after), done)
            info["_final_obs"] = done
            info["final_info"] = infos.with_masks(infos.copies(played.columns), done)
            info["_final_info"] = done.copy()
            after = self.sessions.core.replace_finished(after, torch.as_tensor(done, device=self.sessions.device))
        self._state = after
        return self.sessions.observe(after), played.reward, played.terminated, played.truncated, info

    @property
    def catalog(self) -> Catalog:
        """The items on sale, which the action space and policies share."""
        return self.sessions.catalog

    @property
    def state(self) -> SessionState:
        """The full state of the sessions, of which the observation shows a part.

        Raises:
            HsrlError: before the first reset.
        """
        if self._state is None:
            raise HsrlError("state was read before reset(); call reset() first.")
        return self._state

    def snapshot(self) -> Snapshot:
        """Return sessions, catalog and days as named arrays; see `SlateEnv.snapshot`."""
        return {**take_snapshot(self.sessions, self.state), "ended": self._ended.copy()}

    def restore(self, snapshot: Snapshot) -> Observation:
        """Go on where `snapshot` of as many environments was taken; see `SlateEnv.restore`.

        Raises:
            HsrlError: as there, and for sessions that are over where `autoreset_mode` replaces them at once.
        """
        check_snapshot(self.sessions, snapshot, self.num_envs)
        ended = snapshot.get("ended")
        if not isinstance(ended, np.ndarray) or (ended.dtype, ended.shape) != (self._ended.dtype, self._ended.shape):
            raise HsrlError(f"got a snapshot without ended, expected that of a vector of {self.num_envs} environments.")
        if ended.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            raise HsrlError(
                'got a snapshot with sessions that are over, which autoreset_mode "SameStep" never leaves; make the '
                "environment with the autoreset_mode that the other one had."
            )
        self._state, self._ended = restore_snapshot(self.sessions, snapshot), ended.copy()
        if self.rendering is not None:
            self.rendering.go_on(self._state)
        return self.sessions.observe(self._state)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the masks (B, sum(nvec)) bool of all environments; all rows are equal."""
        return np.tile(self.sessions.action_masks(), (self.num_envs, 1))

    def render(self) -> tuple[Any, ...] | None:
        """Return text or picture of the last step of each environment; see `SlateEnv.render`.

        Of a session that has just ended it is the last one, not the start of the next. The window of
        `render_mode="human"` shows environment 0.
        """
        return rendered(self.rendering, self.num_envs)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window of `render_mode="human"`."""
        if self.rendering is not None:
            self.rendering.close()
