"""What tuning chooses from, and where it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hsrl_agent.method import Look, Method
from hsrl_agent.methods import METHODS, find_method
from hsrl_agent.vec_env import make_vec_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError
from search import Choice, read_search, rounded, starting_point


def test_every_method_that_learns_has_a_space_that_holds_what_it_has_now(tiny_bundle: Bundle) -> None:
    spaces = read_search()
    learning = {"sl", *(name for name, method in METHODS.items() if method.learns_online)}
    assert learning - {"hsrl-items", "hsrl-two-tower"} <= set(spaces)  # which have HSRL's settings
    for name, space in spaces.items():
        now = starting_point(find_method(name), space, {})
        method = find_method(name)
        envs = make_vec_env("HSRL-RL4RS-v0", 8, bundle=tiny_bundle, action_mode=method.action_mode)
        agent: Any = method.make(envs, 0)
        made = {key: getattr(agent, key) for key in now if isinstance(getattr(agent, key, None), int | float)}
        assert made.items() <= now.items()
        if "action_noise" in now:
            assert agent.action_noise._sigma[0] == now["action_noise"]


class Parent:
    def __init__(self, width: int = 3, depth: int = 4, **settings: Any) -> None: ...


class Child(Parent):
    def __init__(self, depth: int = 5, **settings: Any) -> None: ...


def test_a_search_starts_from_settings_then_record_then_class_then_the_file() -> None:
    method = Method("mine", "Mine", Child, "sid", 0, Look("#000000", "o"), defaults={"speed": 7})
    numbers = IntDistribution(1, 9)
    space = {"width": Choice(numbers), "depth": Choice(numbers), "speed": Choice(numbers), "noise": Choice(numbers, 2)}
    assert starting_point(method, space, {}) == {"width": 3, "depth": 5, "speed": 7, "noise": 2}
    assert starting_point(method, space, {"depth": 6})["depth"] == 6
    with pytest.raises(HsrlError, match=r"mine, depth: it is 10 now, expected that within 1 \.\. 9"):
        starting_point(method, space, {"depth": 10})
    with pytest.raises(HsrlError, match=r"mine, other: nothing says what it is now; add `default: \.\.`"):
        starting_point(method, {"other": Choice(numbers)}, {})


def test_choices_become_optuna_s_distributions(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text("a2c: {gamma: {low: 0.5, high: 1.0}, n_steps: {low: 1, high: 4}, vf_coef: {choices: [0.5, 1.0]}}")
    assert read_search(path)["a2c"] == {
        "gamma": Choice(FloatDistribution(0.5, 1.0)),
        "n_steps": Choice(IntDistribution(1, 4)),
        "vf_coef": Choice(CategoricalDistribution([0.5, 1.0])),
    }


def test_drawn_numbers_have_three_digits() -> None:
    assert rounded({"a": 0.000123456, "b": 64, "c": 12345.6}) == {"a": 0.000123, "b": 64, "c": 12300.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a2", "expected names with values"),
        ("a2: {gamma: {low: 0.1, high: 1.0}}", "unknown method 'a2'; did you mean a2c"),
        ("a2c: {gama: {low: 0.1, high: 1.0}}", "unknown setting of 'a2c' 'gama'; did you mean gamma"),
        ("a2c: {}", "got {}, expected keywords"),
        ("a2c: {gamma: 0.9}", "got 0.9, expected {low: .., high: .., log: true} or {choices"),
        ("a2c: {gamma: {low: 1e-4, high: 1.0}}", "YAML reads 1e-4, without a point, as text"),
        ("a2c: {gamma: {low: 1.0, high: 0.1}}", "got 1.0 to 0.1, expected low < high"),
        ("a2c: {gamma: {low: 0.0, high: 0.1, log: true}}", "expected low < high, above 0 for log"),
        ("a2c: {gamma: {low: 0.1, hihg: 1.0}}", "unknown key 'hihg'; did you mean high"),
        ("a2c: {gamma: {choices: [1]}}", "at least two choices"),
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
