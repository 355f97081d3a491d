"""Many users at once: no Python work per user between an action and its observation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.bundle.store import open_bundle
from hsrl_gym.envs.core import SessionState
from hsrl_gym.envs.render import RENDER_FPS, RENDER_MODES, check_render_mode, open_rendering, rendered
from hsrl_gym.envs.sessions import Observation, SlateSessions
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog


class SlateVectorEnv(VectorEnv[Observation, NDArray[Any], NDArray[Any]]):
    """B independent sessions in one batch; spaces, rewards and arguments are those of `SlateEnv`.

    A user who leaves or reaches `max_steps` is replaced within the same step (`AutoresetMode.SAME_STEP`). The
    observation is then the new user's, and `info["final_obs"]` holds the last one of the old user, as in Gymnasium's
    own vector environments. After `reset(seed=s)`, environment i equals, step for step, the single environment after
    `reset(seed=s + i)`.
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
        **settings: Any,
    ) -> None:
        """Open the bundle for `num_envs` users; `settings` are those of `SlateEnv`."""
        if num_envs < 1:
            raise HsrlError(f"got num_envs {num_envs}, expected at least 1.")
        check_render_mode(render_mode)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.bundle = open_bundle(bundle, default_bundle)
        self.sessions = SlateSessions(self.bundle, **settings)
        self.single_observation_space = self.sessions.observation_space
        self.single_action_space = self.sessions.actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._state: SessionState | None = None
        self.rendering = open_rendering(render_mode, self.bundle, self.sessions.params)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start new sessions in all environments; with seed s, environment i starts the first session of seed s + i."""
        if isinstance(seed, list):
            drawn = [int(self.np_random.integers(2**31)) if one is None else one for one in seed]
            if len(drawn) != self.num_envs:
                raise HsrlError(f"got {len(drawn)} seeds, expected one for each of the {self.num_envs} environments.")
            self._state = self.sessions.arrive(np.array(drawn))
        elif seed is not None or self._state is None:
            super().reset(seed=seed)
            first = seed if seed is not None else int(self.np_random.integers(2**31))
            self._state = self.sessions.arrive(first + np.arange(self.num_envs))
        else:
            everyone = torch.ones(self.num_envs, dtype=torch.bool, device=self.sessions.device)
            self._state = self.sessions.core.replace_finished(self._state, everyone)
        if self.rendering is not None:
            self.rendering.arrive(self._state)
        patience = self._state.patience.cpu().numpy().copy()  # not a view of the state
        return self.sessions.observe(self._state), self._with_masks({"patience": patience})

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Show B slates; finished sessions are replaced within the step.

        Raises:
            HsrlError: for an action outside the space.
        """
        if self._state is None:
            raise HsrlError("step() came before reset(); call reset() first.")
        after, outcome, columns = self.sessions.play(self._state, actions)
        finished = outcome.terminated | outcome.truncated
        info = self._with_masks(columns)
        reward = outcome.reward.double().cpu().numpy()
        if self.rendering is not None:
            self.rendering.follow(after, reward, outcome.probability, columns)
        done = finished.cpu().numpy()
        if done.any():
            info["final_obs"] = _only(done, self.sessions.observe(after))
            info["_final_obs"] = done
            info["final_info"] = self._with_masks(_copies(columns), done)
            info["_final_info"] = done.copy()
            after = self.sessions.core.replace_finished(after, finished)
        self._state = after
        terminated, truncated = outcome.terminated.cpu().numpy(), outcome.truncated.cpu().numpy()
        return self.sessions.observe(after), reward, terminated, truncated, info

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

    def _with_masks(self, columns: dict[str, NDArray[Any]], present: NDArray[Any] | None = None) -> dict[str, Any]:
        """Return info columns with Gymnasium's `_name` masks of the environments that they hold for."""
        everyone = np.ones(self.num_envs, dtype=bool) if present is None else present
        info: dict[str, Any] = dict(columns)
        info.update({f"_{name}": everyone.copy() for name in columns})
        return info


def _copies(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: values.copy() for name, values in columns.items()}


def _only(done: NDArray[np.bool_], observation: Observation) -> NDArray[Any]:
    """Return (B,) objects: the observation of each environment that is done, None elsewhere (Gymnasium's form).

    The results are views of `observation`, which the caller must not use otherwise.
    """
    final = np.full(len(done), None, dtype=object)
    rows = np.flatnonzero(done)
    names, columns = list(observation), zip(*(values[rows] for values in observation.values()), strict=True)
    for row, values in zip(rows, columns, strict=True):  # only the finished ones
        final[row] = dict(zip(names, values, strict=True))
    return final
