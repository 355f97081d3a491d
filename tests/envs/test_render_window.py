"""The window, on a screen that exists in memory alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs import render_window
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError

pygame = pytest.importorskip("pygame", reason="the extra `human` is not installed")


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.display.quit()


def shown() -> Any:
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


@pytest.mark.parametrize("make", [SlateEnv, SlateVectorEnv])
def test_the_window_shows_each_step_by_itself(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    monkeypatch.setattr("hsrl_gym.envs.render.RENDER_FPS", 200)
    env = make(bundle=tiny_bundle, render_mode="human")
    frames = make(bundle=tiny_bundle, render_mode="rgb_array")
    assert pygame.display.get_surface() is None  # it opens with the first frame
    env.action_space.seed(0)
    for call in (
        lambda one, _: one.reset(seed=0),
        lambda one, action: one.step(action),
        lambda one, action: one.step(action),
    ):
        action = env.action_space.sample()
        call(env, action)
        call(frames, action)
        expected = frames.render()
        np.testing.assert_array_equal(shown(), expected[0] if isinstance(expected, tuple) else expected)
        assert env.render() is None
    env.close()
    assert not pygame.display.get_init()
    env.close()


def test_without_pygame(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_window, "find_spec", lambda name: None)
    with pytest.raises(HsrlError, match=r'"human" needs pygame, which is not installed; run `pip install pygame-ce`'):
        SlateEnv(tiny_bundle, render_mode="human")


def test_without_a_display(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "no such driver")
    env = SlateEnv(tiny_bundle, render_mode="human")
    with pytest.raises(HsrlError, match=r'cannot open a window \(.*\); take render_mode="rgb_array"'):
        env.reset(seed=0)
