"""Rendering of B sessions: what was shown last is kept, and drawn when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.envs.core import SessionParams, SessionState
from hsrl_gym.envs.render_text import step_text
from hsrl_gym.envs.render_view import COLUMNS, View, cards_of, history_of
from hsrl_gym.envs.render_window import Window
from hsrl_gym.errors import HsrlError, unknown_name

RENDER_MODES = ("ansi", "rgb_array", "human")
RENDER_FPS = 2  # a person has to read a slate


class Rendering:
    """Text and pictures of B sessions.

    Attributes:
        mode: one of `RENDER_MODES`.
    """

    def __init__(self, mode: str, bundle: Bundle, params: SessionParams) -> None:
        self.mode = mode
        self._bundle, self._params = bundle, params
        self._state: SessionState | None = None
        self._last: dict[str, NDArray[Any]] = {}
        self._total = np.zeros(0)
        self._window = Window(RENDER_FPS) if mode == "human" else None

    def arrive(self, state: SessionState) -> None:
        """Keep the state of B sessions, of which some or all are at their start: step 0."""
        started = state.step.cpu().numpy() == 0
        self._total = np.where(started, 0.0, self._total if self._state is not None else 0.0)
        self._state = state
        self._refresh()

    def go_on(self, state: SessionState) -> None:
        """Keep the state of B sessions in the middle, of whose last step nothing is known; rewards count from here."""
        self._last, self._total = {}, np.zeros(len(state.user))
        self._state = state
        self._refresh()

    def follow(
        self,
        after: SessionState,
        reward: NDArray[np.float64],
        probability: Tensor,
        columns: Mapping[str, NDArray[Any]],
    ) -> None:
        """Keep a step of B sessions.

        Args:
            after: the state after the step.
            reward: (B,).
            probability: (B, K), of a click.
            columns: infos of the step, each (B, ..).
        """
        copies = {name: columns[name].copy() for name in COLUMNS if name in columns}  # the caller may change its info
        step = after.step.cpu().numpy()
        self._total = reward * (step > 0) + self._total * (step > 1)
        self._state = after
        self._last = {**copies, "reward": reward.copy(), "probability": probability.cpu().numpy()}
        self._refresh()

    def view(self, index: int) -> View:
        """Return what is to be seen of session `index`; before the first reset, a user of whom nothing is known."""
        full = self._params.initial_patience
        start = View(self._bundle.name, self._params, patience_before=full, patience=full)
        if self._state is None:
            return start
        labels, step = self._bundle.item_labels, int(self._state.step[index])
        patience = float(self._state.patience[index])
        history = history_of(labels, self._state.history[index].cpu().numpy())
        if step == 0 or not self._last:
            return replace(start, step=step, patience_before=patience, patience=patience, history=history)
        last = {name: values[index] for name, values in self._last.items()}
        return View(
            self._bundle.name,
            self._params,
            step,
            float(last["patience_before"]),
            patience,
            float(last["reward"]),
            float(self._total[index]),
            cards_of(labels, last),
            history,
            int(last["day"]) if "day" in last else None,
        )

    def text(self, index: int) -> str:
        """Return the last step of session `index` as text."""
        return step_text(self.view(index))

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return the last step of session `index` as a picture (540, 960, 3) uint8."""
        from hsrl_gym.envs.render_frame import draw_frame  # Pillow and fonts: only for those who look

        return np.asarray(draw_frame(self.view(index))).copy()

    def render(self, n_sessions: int) -> tuple[Any, ...] | None:
        """Return text or picture of each session; None in a window, which shows the first session by itself."""
        if self.mode == "human":
            return None
        one = self.text if self.mode == "ansi" else self.frame
        return tuple(one(index) for index in range(n_sessions))

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()

    def _refresh(self) -> None:
        if self._window is not None:
            self._window.show(self.frame(0))


def open_rendering(mode: str | None, bundle: Bundle, params: SessionParams) -> Rendering | None:
    """Return what keeps and draws the steps; None without a render mode.

    Raises:
        HsrlError: for an unknown render mode, or "human" without pygame.
    """
    return None if mode is None else Rendering(mode, bundle, params)


def check_render_mode(render_mode: str | None) -> None:
    """Raise HsrlError for a render mode that does not exist; None means that nothing is rendered."""
    if render_mode not in (None, *RENDER_MODES):
        raise unknown_name("render_mode", render_mode, RENDER_MODES)


def rendered(rendering: Rendering | None, n_sessions: int) -> tuple[Any, ...] | None:
    """Return `rendering.render(n_sessions)`.

    Raises:
        HsrlError: if the environment was made without a render mode: it then keeps nothing to show.
    """
    if rendering is None:
        raise HsrlError(
            'render() needs a render mode; make the environment with render_mode="ansi" or render_mode="rgb_array".'
        )
    return rendering.render(n_sessions)
