"""The settings of methods and the presets: which section holds where, and files that nothing reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from configuration import preset_names, read_preset, read_settings, settings_for
from hsrl_agent.methods import METHODS
from hsrl_gym.errors import HsrlError
from plan import make_plan

ENV = "HSRL-RL4RS-v0"


def test_presets_are_what_they_are_for() -> None:
    assert preset_names() == ["full", "quick", "standard"]
    quick, standard, full = (read_preset(name) for name in ("quick", "standard", "full"))
    assert (full["steps"], len(full["seeds"]), full["episodes"]) == (1_600_000, 5, 500)
    assert (standard["steps"], len(standard["seeds"]), standard["episodes"]) == (9_600, 5, 500)
    assert quick["episodes"] == 500
    assert quick["envs"] == standard["envs"] == full["envs"] == [ENV, "HSRL-ML1M-v0"]
    assert set(METHODS) - set(quick["methods"]) == {"hac-log", "hsrl-items"}


def test_a_preset_says_which_methods_it_leaves_out(tiny_bundle_folder: Path) -> None:
    call = [f"--envs={ENV}", "--seeds=0", f"--bundle={ENV}={tiny_bundle_folder}"]
    plan = make_plan(call)
    assert plan.notes == ("The preset quick leaves out hac-log, hsrl-items; --methods can name them.",)
    assert [spec.method for spec in plan.specs] == read_preset("quick")["methods"]
    assert make_plan([*call, "--methods=hac-log"]).notes == ()
    whole = make_plan([*call, "--preset=standard"])
    assert whole.notes == ()
    assert {spec.method for spec in whole.specs} == set(METHODS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hrsl: {}", "unknown method 'hrsl'; did you mean hsrl"),
        ("hsrl: {default: {gama: 0.9}}", "unknown setting of 'hsrl' 'gama'; did you mean gamma"),
        ("hsrl: {HSRL-ML1-v0: {gamma: 0.9}}", "unknown environment 'HSRL-ML1-v0'; did you mean HSRL-ML1M-v0"),
        ("hsrl: {default: {learning_rate: 3e-4}}", "got the text '3e-4' for learning_rate; write 3.0e-04|write 0.0003"),
        ("hsrl: 3", "got 3, expected names with values"),
        ("hsrl: {default: [1]}", r"got \[1\], expected names with values"),
        ("- hsrl", "expected names with values"),
        ("hsrl: {", "not readable as YAML"),
        ("a2c: {default: {buffer_size: 3}}", "unknown setting of 'a2c' 'buffer_size'"),
        ("random: {default: {x: 1}}", "got the setting 'x' for 'random', which takes none"),
    ],
)
def test_refuses_settings_that_nothing_reads(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "methods.yaml"
    path.write_text(text)
    with pytest.raises(HsrlError, match=message) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepps": 3}, "unknown key 'stepps'; did you mean steps"),
        ({"steps": None}, "got steps: None, expected a whole number"),
        ({"steps": "9"}, "got steps: '9', expected a whole number"),
        ({"seeds": 3}, "got seeds: 3, expected a list of whole numbers"),
        ({"envs": [1]}, "expected a list of names"),
        ({"methods": "hsrl"}, "got methods: 'hsrl', expected a list of names"),
    ],
)
def test_refuses_presets_that_nothing_reads(tmp_path: Path, change: dict[str, object], message: str) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**read_preset("quick"), **change}))
    with pytest.raises(HsrlError, match=message):
        read_preset("mine", tmp_path)
    (tmp_path / "mine.yaml").write_text("steps: 3")
    with pytest.raises(HsrlError, match="no envs, seeds, checkpoints, episodes in it"):
        read_preset("mine", tmp_path)


def test_settings_of_an_environment_win(tmp_path: Path) -> None:
    (tmp_path / "methods.yaml").write_text(
        "hsrl: {default: {gamma: 0.8, tau: 0.5}, HSRL-ML1M-v0: {gamma: 0.7}}\nmy.module:Agent: {default: {any: 1}}\n"
    )
    settings = read_settings(tmp_path / "methods.yaml")
    assert settings_for(settings, "hsrl", ENV) == {"gamma": 0.8, "tau": 0.5}
    assert settings_for(settings, "hsrl", "HSRL-ML1M-v0") == {"gamma": 0.7, "tau": 0.5}
    assert settings_for(settings, "a2c", ENV) == {}
    assert settings_for(settings, "my.module:Agent", ENV) == {"any": 1}


def test_settings_chosen_on_a_bundle_hold_there_alone(tmp_path: Path) -> None:
    (tmp_path / "methods.yaml").write_text(
        f"hsrl: {{default: {{tau: 0.5}}, {ENV}: {{gamma: 0.8, batch_size: 8}}, {ENV}/mine: {{gamma: 0.7}}}}\n"
    )
    settings = read_settings(tmp_path / "methods.yaml")
    assert settings_for(settings, "hsrl", ENV, tmp_path / "mine") == {"tau": 0.5, "gamma": 0.7, "batch_size": 8}
    assert settings_for(settings, "hsrl", ENV, tmp_path / "yours") == {"tau": 0.5, "gamma": 0.8, "batch_size": 8}
    assert settings_for(settings, "hsrl", ENV) == {"tau": 0.5, "gamma": 0.8, "batch_size": 8}
    (tmp_path / "methods.yaml").write_text("hsrl: {HSRL-RL5RS-v0/mine: {gamma: 0.7}}\n")
    with pytest.raises(HsrlError, match=r"HSRL-RL5RS-v0/mine: .*HSRL-RL4RS-v0"):
        read_settings(tmp_path / "methods.yaml")


def test_settings_chosen_under_a_reward_rule_hold_there_alone(tmp_path: Path) -> None:
    settings = {
        "hsrl": {ENV: {"tau": 0.5}, f"{ENV}/mine": {"gamma": 0.8}, f"{ENV}/mine/mean_with_cost": {"gamma": 0.7}}
    }
    for reward, gamma in ((None, 0.8), ("sweet_point", 0.8), ("mean_with_cost", 0.7)):  # sweet_point is ENV's own
        assert settings_for(settings, "hsrl", ENV, "mine", reward) == {"tau": 0.5, "gamma": gamma}
    assert settings_for(settings, "hsrl", ENV, None, "mean_with_cost") == {"tau": 0.5}


@pytest.mark.parametrize("section", [f"{ENV}/", f"{ENV}/a/b", f"{ENV}/a b", f"{ENV}/a/sweet_point/b"])
def test_sections_that_nothing_reads(section: str, tmp_path: Path) -> None:
    (tmp_path / "methods.yaml").write_text(f"hsrl: {{'{section}': {{gamma: 0.7}}}}\n")
    with pytest.raises(HsrlError, match="expected ENV, ENV/NAME of a bundle's folder, or ENV/NAME/REWARD"):
        read_settings(tmp_path / "methods.yaml")


def test_a_plan_takes_the_settings_of_its_bundle(tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"hsrl": {f"{ENV}/tiny": {"gamma": 0.8}, f"{ENV}/tiny/mean_with_cost": {"gamma": 0.7}}}
    monkeypatch.setattr("plan.read_settings", lambda: chosen)
    call = [f"--envs={ENV}", "--seeds=0", f"--bundle={ENV}={tiny_bundle_folder}"]
    (spec,) = make_plan([*call, "--methods=hsrl"]).specs
    assert spec.settings == {"gamma": 0.8}
    (spec,) = make_plan([*call, "--methods=hsrl", f"--reward={ENV}=mean_with_cost"]).specs
    assert spec.settings == {"gamma": 0.7}
    assert {spec.settings["gamma"] for spec in make_plan([*call, "--table=3"]).specs} == {0.8}


def test_shipped_settings_are_of_methods_that_exist() -> None:
    settings = read_settings()
    assert set(settings) <= set(METHODS)
    assert settings["hsrl-items"] == settings["hsrl"]  # nothing but the tokens differs
