"""A step as text, line by line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.core import SessionParams
from hsrl_gym.envs.render import render_step

PARAMS = SessionParams(slate_size=3, initial_patience=20.0, max_steps=12)
SHOWN: dict[str, Any] = {
    "slate": np.array([2, 1, 3]),
    "slate_tokens": np.array([[7, 0, 5], [1, 2, 3], [10, 11, 12]]),
    "clicks": np.array([1, 0, 1]),
    "patience": 12.5,
    "reward": 0.6333,
    "step": 4,
}


@pytest.fixture
def bundle(tiny_bundle: Bundle) -> Bundle:
    labels = ("", "Heat (1995)", "Alien (1979)", "a" * 60, *tiny_bundle.item_labels[4:])
    return replace(tiny_bundle, item_labels=labels)


def test_a_step(bundle: Bundle) -> None:
    assert render_step(bundle, PARAMS, SHOWN).splitlines() == [
        "step 4 of at most 12",
        f"   1  {'Alien (1979)':<44}  SID 7-0-5       click",
        f"   2  {'Heat (1995)':<44}  SID 1-2-3         .",
        f"   3  {'a' * 43}…  SID 10-11-12    click",
        "  2 of 3 clicked, reward 0.633",
        "  patience 12.50 |############        |",  # 12.5 of 20 is 12.5 of 20 characters, rounded to even
    ]


def test_the_last_step(bundle: Bundle) -> None:
    lines = render_step(bundle, PARAMS, {**SHOWN, "patience": -3.2}).splitlines()
    assert lines[-1] == "  patience  0.00 |                    |  the user leaves"
    assert render_step(bundle, PARAMS, {**SHOWN, "patience": 1.0}).endswith("|#                   |")


def test_a_full_bar(bundle: Bundle) -> None:
    params = replace(PARAMS, initial_patience=40.0)
    assert "|" + "#" * 20 + "|" in render_step(bundle, params, {**SHOWN, "patience": 40.0})


def test_before_the_first_step(bundle: Bundle) -> None:
    assert render_step(bundle, PARAMS, None) == "a new user, patience 20.0"
