"""Pictures of a step: size, what changes them, and that everything stays inside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import ImageFont

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs import render_frame
from hsrl_gym.envs.ads.env import AdsEnv, AdsVectorEnv
from hsrl_gym.envs.core import SessionParams
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.render_frame import draw_frame
from hsrl_gym.envs.render_ink import fitted, font, wrapped
from hsrl_gym.envs.render_view import Card, View
from hsrl_gym.envs.vector_env import SlateVectorEnv

SHAPE = (540, 960, 3)
ADS = {"n_ads": 2_000, "n_campaigns": 250}


def view(n_cards: int, **changes: Any) -> View:
    cards = tuple(
        Card(f"film {n}", f"{n}-0-5", n / (n_cards + 1), n % 3 == 0, ("cost 0.50",) * (n == 2)) for n in range(n_cards)
    )
    params = SessionParams(max(n_cards, 1))
    return replace(View("films", params, 3, 9.0, 7.5, 0.6, 1.25, cards, ("film 3", "film 0", "Heat")), **changes)


def pixels(one: View) -> Any:
    return np.asarray(draw_frame(one))


@pytest.mark.parametrize("make", [SlateEnv, SlateVectorEnv])
def test_frames_of_an_environment(tiny_bundle: Bundle, make: Any) -> None:
    """Also right after a reset, as recorders ask for it."""
    env = make(bundle=tiny_bundle, render_mode="rgb_array")
    env.reset(seed=0)
    start = env.render()
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    frames = env.render()
    if make is SlateVectorEnv:
        assert isinstance(frames, tuple)
        (start,), (frames,) = start, frames
    for frame in (start, frames):
        assert (frame.shape, frame.dtype) == (SHAPE, np.uint8)
        assert frame.flags.writeable
    assert (start != frames).any()
    env.reset(seed=0)
    again = env.render()
    np.testing.assert_array_equal(again[0] if make is SlateVectorEnv else again, start)


def test_the_frame_of_a_restored_session_is_not_that_of_a_new_user() -> None:
    restored = view(0, patience=4.0, patience_before=4.0, total=0.0)
    assert (pixels(restored) != pixels(replace(restored, step=0))).any(2)[250:290].any()  # where the slate would be


def test_a_batch_has_the_frames_of_single_environments(tiny_bundle: Bundle) -> None:
    envs = SlateVectorEnv(2, tiny_bundle, render_mode="rgb_array")
    envs.reset(seed=5)
    envs.action_space.seed(0)
    actions = envs.action_space.sample()
    envs.step(actions)
    for index, frame in enumerate(envs.render() or ()):
        env = SlateEnv(tiny_bundle, render_mode="rgb_array")
        env.reset(seed=5 + index)
        env.step(actions[index])
        np.testing.assert_array_equal(frame, env.render())


@pytest.mark.parametrize("make", [AdsEnv, AdsVectorEnv])
def test_frames_of_ads(make: Any) -> None:
    env = make(market=ADS, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    frame = env.render()[0] if make is AdsVectorEnv else env.render()
    assert frame.shape == SHAPE


@pytest.mark.parametrize("n_cards", [1, 2, 3, 4, 5, 9, 10, 12, 16, 20, 25, 26, 60])
def test_every_slate_fits(n_cards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No card leaves the slate's area or touches another, and what does not fit is counted."""
    boxes, counted = [], []
    draw_card, one = render_frame._draw_card, view(n_cards)

    def remember(draw: Any, box: Any, slot: int, card: Card) -> None:
        boxes.append(box)
        counted.append(card)
        draw_card(draw, box, slot, card)

    monkeypatch.setattr(render_frame, "_draw_card", remember)
    pixels(one)
    assert counted == list(one.cards[: n_cards if n_cards <= 25 else 24])
    left, top, right, bottom = render_frame._SLATE
    for place, (x, y, end, low) in enumerate(boxes):
        assert left <= x < end <= right
        assert top <= y < low <= bottom
        assert end - x >= 170
        assert low - y >= 60
        for other in boxes[:place]:
            assert x > other[2] or other[0] > end or y > other[3] or other[1] > low


def test_everything_shown_changes_the_picture() -> None:
    base = view(9)
    first = base.cards[0]
    others = [
        replace(base, **change)
        for change in (
            {"name": "songs"},
            {"step": 4},
            {"patience": 2.5},
            {"patience": 0.5},  # the user leaves
            {"reward": 0.7},
            {"total": 1.5},
            {"history": ("film 3", "film 0")},
            {"day": 2},
            {"cards": ()},
            *(
                {"cards": (replace(first, **own), *base.cards[1:])}
                for own in ({"label": "Heat"}, {"sid": "9-9-9"}, {"probability": 0.9}, {"clicked": False})
            ),
            {"cards": (*base.cards, first)},
        )
    ]
    pictures = {pixels(one).tobytes() for one in (base, *others)}
    assert len(pictures) == 1 + len(others)
    assert pixels(view(26)).tobytes() != pixels(view(27)).tobytes()  # "and 2 more", "and 3 more"


@pytest.mark.parametrize("label", ["a" * 200, "word " * 40, "千と千尋 " * 20, "'\"<>&%{}", "item 7"])
def test_any_label_stays_on_its_card(label: str) -> None:
    for n_cards in (1, 9, 10, 25):
        plain = view(n_cards, history=())
        long = replace(plain, cards=tuple(replace(card, label=label, sid="63-" * 30 + "63") for card in plain.cards))
        changed = (pixels(plain) != pixels(long)).any(2)
        left, top, right, bottom = render_frame._SLATE
        changed[top:bottom, left:right] = False
        assert not changed.any()


def test_text_is_cut_to_fit() -> None:
    own = font(14)
    assert isinstance(own, ImageFont.FreeTypeFont)
    for width in (20, 60, 200):
        assert own.getlength(fitted("Star Wars: Episode V", own, width)) <= width
        for line in wrapped("Star Wars: Episode V - The Empire Strikes Back (1980)", own, width, 3):
            assert own.getlength(line) <= width
    assert fitted("Heat", own, 100) == "Heat"
    assert wrapped("Toy Story (1995)", own, 70, 3) == ["Toy Story", "(1995)"]
    assert wrapped("one two three four", own, 60, 1) == ["one t…"]
    assert wrapped("", own, 60, 2) == [""]


def test_metadata(tiny_bundle_folder: Any) -> None:
    env = gymnasium.make("HSRL-ML1M-v0", bundle=str(tiny_bundle_folder), render_mode="rgb_array")
    assert env.metadata["render_modes"] == ["ansi", "rgb_array", "human"]
    assert env.metadata["render_fps"] == 2
    assert env.render_mode == "rgb_array"
