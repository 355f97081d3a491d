"""The window of `render_mode="human"`, by pygame as in Gymnasium's own environments."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.errors import HsrlError


class Window:
    """A window that shows frames at a steady rate; it opens with the first frame.

    Args:
        fps: frames a second.

    Raises:
        HsrlError: if pygame is not installed.
    """

    def __init__(self, fps: int) -> None:
        if find_spec("pygame") is None:
            raise HsrlError(
                'render_mode="human" needs pygame, which is not installed; run `pip install pygame-ce`, or take '
                'render_mode="rgb_array".'
            )
        self.fps = fps
        self._screen: Any = None
        self._clock: Any = None

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Show a frame (height, width, 3), and wait until the one before was seen long enough.

        Raises:
            HsrlError: on a machine without a display.
        """
        import pygame

        if self._screen is None:
            try:
                pygame.display.init()
                self._screen = pygame.display.set_mode((frame.shape[1], frame.shape[0]))
            except pygame.error as error:
                raise HsrlError(
                    f'render_mode="human" cannot open a window ({error}); take render_mode="rgb_array".'
                ) from None
            pygame.display.set_caption("hsrl-gym")
            self._clock = pygame.time.Clock()
        self._screen.blit(pygame.surfarray.make_surface(frame.swapaxes(0, 1)), (0, 0))
        pygame.event.pump()  # else the desktop takes the window for hung
        self._clock.tick(self.fps)
        pygame.display.flip()

    def close(self) -> None:
        """Close the window, if one is open."""
        if self._screen is not None:
            import pygame

            pygame.display.quit()
            self._screen = None
