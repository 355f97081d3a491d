"""What tuning chooses from, and how what it chose is written among the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from configuration import CONFIGS
from hsrl_agent.methods import METHODS
from hsrl_gym.errors import HsrlError
from search_space import SEARCH_FILE, Choice, current, read_search, rounded
from spec import RunSpec
from tune_record import write_choice
from tune_trial import make_agent

ENV = "HSRL-RL4RS-v0"


def test_shipped_space_is_of_what_methods_have_now(tiny_bundle_folder: Path) -> None:
    spaces = read_search(CONFIGS / SEARCH_FILE)
    assert set(spaces) == set(METHODS) - {"random", "popularity", "oracle"}
    for method, space in spaces.items():
        assert 3 <= len(space) <= 4
        assert space["learning_rate"] == Choice(1e-5 if method in ("a2c-log", "hac-log") else 1e-4, 3e-3, True)
        agent: Any = make_agent(RunSpec(ENV, method, 0, 32, str(tiny_bundle_folder), n_envs=32))
        now = current(agent, space, {}, method)
        assert now.keys() == space.keys()
        if "action_noise" in now:
            assert agent.action_noise._sigma[0] == now["action_noise"]  # the default in the file


def test_current_values_come_from_the_settings_first() -> None:
    class Agent:
        def __init__(self, width: int = 3, depth: int = 4) -> None:
            self.depth = 5

    space = {"width": Choice(1, 9), "depth": Choice(1, 9), "noise": Choice(0.1, 0.9, default=0.2)}
    assert current(Agent(), space, {}, "here") == {"width": 3, "depth": 5, "noise": 0.2}
    assert current(Agent(), space, {"depth": 6, "noise": 0.3}, "here") == {"width": 3, "depth": 6, "noise": 0.3}
    with pytest.raises(HsrlError, match=r"here, depth: it is 10 now, expected that within 1 \.\. 9"):
        current(Agent(), space, {"depth": 10}, "here")
    with pytest.raises(HsrlError, match=r"here, other: nothing says what it is now; add `default: \.\.`"):
        current(Agent(), {"other": Choice(0.0, 1.0)}, {}, "here")
    assert rounded({"a": 0.000123456, "b": 64, "c": 12345.6}) == {"a": 0.000123, "b": 64, "c": 12300.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a2", "expected names with values"),
        ("a2: {gamma: {low: 0.1, high: 1.0}}", "unknown method 'a2'; did you mean a2c"),
        ("a2c: {gama: {low: 0.1, high: 1.0}}", "unknown setting of 'a2c' 'gama'; did you mean gamma"),
        ("a2c: {}", "got {}, expected keywords"),
        ("a2c: {gamma: 0.9}", "got 0.9, expected {low: .., high: .., log: true} or {choices"),
        ("a2c: {gamma: {low: 1e-4, high: 1.0}}", "YAML takes 1e-4, without a point, for a text"),
        ("a2c: {gamma: {low: 1.0, high: 0.1}}", "got 1.0 to 0.1, expected low < high"),
        ("a2c: {gamma: {low: 0.0, high: 0.1, log: true}}", "expected low < high, above 0 for log"),
        ("a2c: {gamma: {low: 0.1, hihg: 1.0}}", "unknown key 'hihg'; did you mean high"),
        ("a2c: {gamma: {choices: [1]}}", "at least two of them"),
        ("a2c: {", "not readable as YAML"),
    ],
)
def test_refuses_spaces_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(text)
    with pytest.raises(HsrlError) as caught:
        read_search(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# top\nhsrl: {}\na2c: {}\n", f"# top\nhsrl:\n  {ENV}: {{gamma: 0.7}}\na2c: {{}}\n"),
        ("a2c: {}", f"a2c: {{}}\nhsrl:\n  {ENV}: {{gamma: 0.7}}\n"),
        (
            f"hsrl:\n  default: {{tau: 0.1}} # why\n  {ENV}:\n    gamma: 0.9\n    tau: 0.5\n\n# b\nb: 1\n",
            f"hsrl:\n  default: {{tau: 0.1}} # why\n  {ENV}: {{gamma: 0.7, tau: 0.5}}\n\n# b\nb: 1\n",
        ),
        (
            "hsrl: {default: {tau: 0.1}}\n# b\nb: 1\n",
            f"hsrl:\n  default: {{tau: 0.1}}\n  {ENV}: {{gamma: 0.7}}\n# b\nb: 1\n",
        ),
        ("hsrl-paper: {}\nhsrl: {}\n", f"hsrl-paper: {{}}\nhsrl:\n  {ENV}: {{gamma: 0.7}}\n"),
    ],
)
def test_all_else_in_the_settings_stays(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "methods.yaml"
    path.write_text(before)
    assert write_choice(path, "hsrl", ENV, {"gamma": 0.7})
    assert path.read_text() == after
    assert not write_choice(path, "hsrl", ENV, {"gamma": 0.7})
    assert path.read_text() == after
