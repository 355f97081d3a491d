"""Presets and tuned settings: which hold where, and files that nothing reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hsrl_agent.evaluation.settings import (
    PRESETS,
    TUNED,
    TunedSettings,
    choose_settings,
    preset_names,
    read_preset,
    read_tuned,
    write_tuned,
)
from hsrl_agent.evaluation.tasks import bundle_digest
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.store import PACKAGED
from hsrl_gym.errors import HsrlError
from hsrl_gym.yaml_files import read_yaml

CONFIGS = Path(__file__).parents[2] / "benchmarks" / "configs"


def test_presets_are_what_they_are_for() -> None:
    assert preset_names() == ["quick", "standard", "full"]
    quick, standard, full = (read_preset(name) for name in preset_names())
    assert (full.steps, len(full.seeds), full.episodes) == (1_600_000, 5, 500)  # the paper's 50,000 steps of 32 users
    assert (standard.steps, len(standard.seeds), standard.episodes) == (9_600, 5, 500)
    assert quick.methods is not None
    assert set(METHODS) - set(quick.methods) == {"hac-pretrained", "hsrl-items", "hsrl-two-tower"}


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
    path = tmp_path / "presets.yaml"
    path.write_text(yaml.safe_dump({"mine": {**read_yaml(PRESETS)["quick"], **change}}))
    with pytest.raises(HsrlError, match=message):
        read_preset("mine", path)
    path.write_text("mine: {steps: 3}")
    with pytest.raises(HsrlError, match="no envs, seeds, checkpoints, episodes in it"):
        read_preset("mine", path)
    with pytest.raises(HsrlError, match="unknown preset 'quik'"):
        read_preset("quik")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: {a2d: {}}", "unknown method 'a2d'; did you mean"),
        ("methods: {hsrl: {gama: 0.9}}", "unknown setting of 'hsrl' 'gama'; did you mean gamma"),
        ("methods: {hsrl: {learning_rate: 3e-4}}", "got the text '3e-4' for learning_rate; write 0.0003"),
        ("methods: {hsrl: {learning_rate: 1e-05}}", "write 1.0e-05 for the number"),
        ("methods: {hsrl: [1]}", r"got \[1\], expected names with values"),
        ("methods: {hsrl-items: {settings_of: hsrl}}", "unknown method 'hsrl'"),
        ("methds: {}", "unknown key 'methds'; did you mean methods"),
        ("methods: {}\nreward: sweat_point", "unknown reward rule 'sweat_point'; did you mean sweet_point"),
        ("methods: {", "not readable as YAML"),
    ],
)
def test_refuses_settings_that_nothing_reads(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(HsrlError, match=message) as caught:
        read_tuned(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("name", "rule"), [("rl4rs", "sweet_point"), ("ml1m", "mean_with_cost")])
def test_packaged_bundles_have_settings_of_their_own(name: str, rule: str) -> None:
    tuned = read_tuned(TUNED / f"{name}.yaml")
    digest = bundle_digest(PACKAGED / name)
    assert tuned.bundle == digest, "the packaged bundle has another content: write its digest into the file"
    chosen = choose_settings(None, digest)
    assert chosen.origin == f"tuned on this bundle under {rule} ({name})"
    assert chosen.name == name
    assert chosen.of("hsrl") == tuned.methods["hsrl"] != {}
    assert chosen.of("hsrl-items") == chosen.of("hsrl")  # nothing but the tokens differs
    assert chosen.of("hsrl-two-tower") == chosen.of("hsrl")
    assert chosen.of("random") == {}


def test_other_bundles_have_the_defaults_of_the_code() -> None:
    chosen = choose_settings(None, "another digest")
    assert chosen.of("hsrl") == {}
    assert "the code's defaults" in chosen.origin
    digest = bundle_digest(PACKAGED / "rl4rs")
    assert choose_settings("none", digest).methods == {}
    assert [choose_settings(named, "another digest").name for named in (None, "none", "ml1m")] == ["none"] * 2 + [
        "ml1m"
    ]
    assert choose_settings("ml1m", digest).origin == "tuned on another bundle under mean_with_cost (ml1m)"
    assert choose_settings("ml1m", digest).of("hsrl") != {}
    with pytest.raises(HsrlError, match="unknown settings 'ml1n'; did you mean ml1m"):
        choose_settings("ml1n", digest)
    with pytest.raises(HsrlError, match=r"nowhere\.yaml: no such file"):
        choose_settings("nowhere.yaml", digest)


def test_a_machine_writes_settings_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    write_tuned(path, TunedSettings("mine", "abc", {"hsrl": {"gamma": 0.8}, "a2c": {"gamma": 0.7}}), "One.\nTwo.")
    last = {"a2c": {"gamma": 0.6, "learning_rate": 3e-5}}
    write_tuned(path, TunedSettings("mine", "abc", last, "sweet_point"), "Three.")
    assert path.read_text().startswith("# Three.\n")
    tuned = read_tuned(path)
    assert (tuned.name, tuned.bundle, tuned.reward) == ("mine", "abc", "sweet_point")
    assert tuned.methods == {"hsrl": {"gamma": 0.8}, "a2c": {"gamma": 0.6, "learning_rate": 3e-5}}
    assert choose_settings(str(path), "abc").origin == f"tuned on this bundle under sweet_point ({path})"


def test_shipped_settings_can_be_read() -> None:
    for path in (*TUNED.glob("*.yaml"), *CONFIGS.glob("sharp*.yaml")):
        assert set(read_tuned(path).methods) <= set(METHODS)
