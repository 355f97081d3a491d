"""What the single environment refuses, and that a refusal changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.errors import HsrlError


def test_step_before_reset(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle)
    with pytest.raises(HsrlError, match=r"step\(\) came before reset\(\); call reset\(\) first"):
        env.step(env.action_space.sample())


def test_an_action_outside_the_space_leaves_the_session_as_it_was(tiny_bundle: Bundle) -> None:
    env, other = SlateEnv(tiny_bundle), SlateEnv(tiny_bundle)
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(HsrlError, match=r"got 8 at position 11 of action 0, expected an integer in 0\.\.7"):
        env.step(np.array([0] * 11 + [8]))
    with pytest.raises(HsrlError, match=r"expected \(B, 12\)"):
        env.step(np.zeros(3, dtype=int))
    np.testing.assert_equal(env.step(np.zeros(12, dtype=int)), other.step(np.zeros(12, dtype=int)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simulator": "evaluate"}, "unknown simulator 'evaluate'; did you mean eval"),
        ({"action_mode": "sids"}, "unknown action_mode 'sids'; did you mean sid"),
        ({"reward": "mean_cost"}, "unknown reward rule 'mean_cost'; did you mean mean_with_cost"),
        ({"patience": "refrence"}, "unknown patience rule 'refrence'; did you mean reference"),
        ({"render_mode": "rgb"}, "unknown render_mode 'rgb'; did you mean rgb_array"),
        ({"slate_size": 61}, "got slate_size 61, expected at most the 60 live items"),
        ({"slate_size": 0}, "slate_size 0"),
        ({"max_steps": 0}, "max_steps 0"),
    ],
)
def test_settings_are_checked(tiny_bundle: Bundle, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        SlateEnv(tiny_bundle, **settings)


def test_a_folder_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(HsrlError, match=r"no bundle\.yaml here, expected a bundle folder; `hsrl-gym build` makes one"):
        SlateEnv(tmp_path)


def test_a_device_that_is_not_there(tiny_bundle: Bundle) -> None:
    with pytest.raises(HsrlError, match="got the device 'gpu', expected cpu, cuda or cuda:N"):
        SlateEnv(tiny_bundle, device="gpu")
    with pytest.raises(HsrlError, match="but torch sees"):
        SlateEnv(tiny_bundle, device="cuda:99")
