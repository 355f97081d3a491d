"""Agents of one's own: found in the working directory, refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hsrl_gym.errors import HsrlError
from plugins import load_agent_class, resolve


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plugins_for_tests:", "expected package.module:Class"),
        (":Sids", "expected package.module:Class"),
        ("no_such_module_x:Agent", "no module 'no_such_module_x'"),
        ("no_such_package_x.sub:Agent", "no module 'no_such_package_x'"),
        ("broken_plugin:Agent", "importing broken_plugin failed: No module named 'not_there_at_all'"),
        ("raising_plugin:Agent", "importing raising_plugin failed: ZeroDivisionError"),
        ("plugins_for_tests:Sid", "unknown class of plugins_for_tests 'Sid'; did you mean Sids"),
        ("plugins_for_tests:nothing", "has no learn and no predict"),
        ("plugins_for_tests:NoPredict", "has no predict"),
        ("plugins_for_tests:BadMode", "unknown action_mode of 'plugins_for_tests:BadMode' 'pixels'"),
        ("plugins_for_tests:NeedsMore", r"missing a required argument: 'width'; expected Class\(env, seed=seed\)"),
    ],
)
def test_refuses_what_is_no_agent(plugins: Path, name: str, message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        resolve(name)


def test_finds_agents_in_the_working_directory(plugins: Path) -> None:
    assert load_agent_class("plugins_for_tests:Sids").__name__ == "Sids"
    assert resolve("plugins_for_tests:Sids").action_mode == "sid"
    assert resolve("plugins_for_tests:Items", {"width": 3}).action_mode == "item"
    agent: Any = resolve("plugins_for_tests:Items").make(None, 0, "cpu", {"width": 3})  # type: ignore[arg-type]
    assert agent.settings == {"width": 3}
