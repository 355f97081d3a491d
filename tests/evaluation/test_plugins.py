"""Agents of one's own: found in the working directory, refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hsrl_agent.evaluation.plugins import (
    load_agent_class,
    record_of,
    resolve,
    settings_of,
    sorted_methods,
    source_digest,
)
from hsrl_agent.methods import METHODS
from hsrl_gym.errors import HsrlError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plugins_for_tests:", "expected package.module:Class"),
        (":Sids", "expected package.module:Class"),
        ("no_such_module_x:Agent", "no module 'no_such_module_x'"),
        ("no_such_package_x.sub:Agent", "no module 'no_such_package_x'"),
        ("broken_plugin:Agent", "importing broken_plugin failed: No module named 'not_there_at_all'"),
        ("raising_plugin:Agent", "importing raising_plugin failed: ZeroDivisionError"),
        ("plugins_for_tests:Sid", "unknown name in plugins_for_tests 'Sid'; did you mean Sids"),
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


def test_a_plug_in_has_a_record(plugins: Path) -> None:
    method = resolve("plugins_for_tests:Items")
    assert (method.name, method.label, method.learns_online) == ("plugins_for_tests:Items", "Items", True)
    assert method.rank > max(record.rank for record in METHODS.values())
    assert not method.passes_device
    assert resolve("plugins_for_tests:OnDevice").passes_device


def test_tables_need_no_module_of_a_plug_in() -> None:
    assert record_of("nowhere.to.be.found:Mine").label == "Mine"
    assert record_of("hsrl") is METHODS["hsrl"]
    assert sorted_methods(["a.b:Mine", "hsrl", "sl", "hsrl"]) == ["sl", "hsrl", "a.b:Mine"]


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("hsrl", {"gama": 0.9}, "unknown setting of 'hsrl' 'gama'; did you mean gamma"),
        (
            "hsrl",
            {"policy_kwargs": {"withd": 3}},
            "unknown entry of policy_kwargs of 'hsrl' 'withd'; did you mean width",
        ),
        ("a2c", {"buffer_size": 3}, "unknown setting of 'a2c' 'buffer_size'"),
        ("random", {"temperature": 2}, "got the setting 'temperature' for 'random', which takes none"),
        ("hsrl", {"seed": 3}, "unknown setting of 'hsrl' 'seed'"),
    ],
)
def test_refuses_settings_that_no_agent_takes(method: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        resolve(method, settings)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("hsrl", {"learning_rate": 1e-3, "pretrain_epochs": 2, "policy_kwargs": {"heads": "free", "width": 8}}),
        ("a2c-pretrained", {"ent_coef": 0.1, "inverse_temperature": 2.0}),
        ("ddpg", {"action_noise": 0.3, "policy_kwargs": {"n_layers": 1}}),
        ("sl", {"weight_decay": 0.1}),
    ],
)
def test_takes_settings_of_the_class_and_its_parents(method: str, settings: dict[str, Any]) -> None:
    assert resolve(method, settings) is METHODS[method]
    assert set(settings) <= set(settings_of(METHODS[method]))


def test_source_of_what_the_code_digest_covers_does_not_count_again(plugins: Path) -> None:
    assert source_digest("hsrl") is None
    assert source_digest("hsrl_agent.evaluation.run:learn_and_score", "protocol") is None
    before = source_digest("plugins_for_tests:Sids")
    plugins.write_text(plugins.read_text() + "# changed\n")
    after = source_digest("plugins_for_tests:Sids")
    assert before is not None
    assert after not in (None, before)
