"""Studies: what stands in the file, which bundles come of it, and which runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from hsrl_agent.evaluation.options import Parser
from hsrl_agent.evaluation.plan import STUDIES, Plan, add_arguments, make_plan
from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.studies import Variant, bundle_of, read_study
from hsrl_agent.evaluation.summary import REFERENCE
from hsrl_agent.evaluation.tasks import bundle_digest
from hsrl_agent.vec_env import make_vec_env
from hsrl_gym.bundle.folder import Bundle, load_bundle, read_manifest
from hsrl_gym.errors import HsrlError

ENV = "HSRL-ML1M-v0"


def plan_of(*arguments: str) -> Plan:
    parser: argparse.ArgumentParser = Parser()
    add_arguments(parser)
    return make_plan(parser.parse_args(arguments))


def test_the_paper_s_four_ablations_are_in_table_3() -> None:
    study = read_study("table3")
    assert study.env == "HSRL-RL4RS-v0"
    assert study.variants[0] == Variant()
    paper = {"w/o entropy", "w/o hierarchical policy", "w/o BC", "w/o multi-level critic"}
    assert paper < {variant.name for variant in study.variants}


def test_every_variant_can_be_named_on_the_command_line() -> None:
    """`--variants` separates names by commas."""
    assert not [variant.name for name in STUDIES for variant in read_study(name).variants if "," in variant.name]


def test_figure_5_sweeps_what_the_paper_sweeps() -> None:
    """HSRL as it is stands for vocabulary 64 and 3 levels; what a variant changes is the value it stands at."""
    panels: dict[str, list[float]] = {}
    for variant in read_study("figure5").variants[1:]:
        assert variant.panel is not None
        assert variant.value is not None
        changed = {**variant.settings, **variant.codebook}
        assert changed == {variant.panel.replace(" ", "_"): variant.value}
        assert variant.place == {"panel": variant.panel, "value": variant.value}
        panels.setdefault(variant.panel, []).append(variant.value)
    assert panels == {"entropy weight": [0, 0.1, 0.2, 0.3], "vocabulary": [16, 32, 80, 128], "levels": [2, 4, 5]}


@pytest.mark.parametrize("variant", [v for name in STUDIES for v in read_study(name).variants], ids=lambda v: v.name)
def test_hsrl_can_be_made_with_the_settings_of_each_variant(variant: Variant, tiny_bundle: Bundle) -> None:
    """Right keywords are not enough: an item residual, for instance, is refused with the unnormalised likelihood."""
    envs = make_vec_env("HSRL-RL4RS-v0", 2, bundle=tiny_bundle)
    agent: Any = resolve(REFERENCE, variant.settings).make(envs, 0, settings=variant.settings)
    for name, value in variant.settings.get("policy_kwargs", {}).items():
        assert getattr(agent.policy, name) == value


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"env": ENV}, "got env, expected env and variants"),
        ({"env": "HSRL-ML1M", "variants": {}}, "unknown environment 'HSRL-ML1M'; did you mean HSRL-ML1M-v0"),
        ({"env": ENV, "variants": {"x": {"setings": {}}}}, "unknown key 'setings'; did you mean settings"),
        ({"env": ENV, "variants": {"x": {"settings": {"entropy": 0}}}}, "unknown setting of 'hsrl' 'entropy'"),
        ({"env": ENV, "variants": {"x": {"settings": {"policy_kwargs": {"head": "free"}}}}}, "did you mean heads"),
        ({"env": ENV, "variants": {"x": {"codebook": {"level": 2}}}}, "unknown key 'level'; did you mean levels"),
        ({"env": ENV, "variants": {"x": {"codebook": {"kind": "k"}}}}, "unknown codebook 'k'"),
        ({"env": ENV, "variants": {"x": {"codebook": {"levels": 0}}}}, "got levels 0, expected a whole number above 0"),
        ({"env": ENV, "variants": {"x": {"codebook": {"vocabulary": True}}}}, "got vocabulary True, expected a whole"),
        ({"env": ENV, "variants": {"x": {"panel": "levels"}}}, "got panel 'levels' and value None"),
        ({"env": ENV, "variants": {"x": {"panel": "levels", "value": "two"}}}, "and value 'two', expected a name with"),
    ],
)
def test_a_study_that_cannot_be(tmp_path: Path, study: dict[str, Any], message: str) -> None:
    path = tmp_path / "studies.yaml"
    path.write_text(yaml.safe_dump({"mine": study}))
    with pytest.raises(HsrlError) as error:
        read_study("mine", path)
    assert message in str(error.value)


def test_other_codebooks_are_made_once(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    bundle = str(tiny_bundle_folder)
    assert bundle_of(Variant("x"), ENV, bundle, tmp_path) == bundle
    variant = Variant("levels = 2", codebook={"levels": 2, "vocabulary": 16})
    folder = bundle_of(variant, ENV, bundle, tmp_path)
    assert folder is not None
    made = load_bundle(folder)
    assert made.codebook.vocabulary == (16, 16)
    assert made.provenance["recoded_from"] == bundle_digest(tiny_bundle_folder)
    before = (Path(folder) / "bundle.yaml").stat().st_mtime_ns
    assert bundle_of(variant, ENV, bundle, tmp_path) == folder
    assert (Path(folder) / "bundle.yaml").stat().st_mtime_ns == before
    plain = bundle_of(Variant("x", codebook={"kind": "features"}), ENV, bundle, tmp_path)
    assert plain is not None
    assert read_manifest(Path(plain))["provenance"]["codebook"] == "features"


def test_a_plan_has_each_variant_with_each_seed(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    env = "HSRL-RL4RS-v0"
    given = [f"--bundle={env}={tiny_bundle_folder}", f"--out={tmp_path}"]
    plan = plan_of("--table=3", "--seeds=0,1", *given)
    assert plan.what == "table3"
    names = [spec.variant for spec in plan.specs]
    assert names[:4] == ["", "", "w/o entropy", "w/o entropy"]
    by_name = {spec.variant: spec for spec in plan.specs}
    assert by_name["w/o entropy"].settings["entropy_weight"] == 0.0
    assert by_name["w/o tied heads"].settings["policy_kwargs"] == {"heads": "free"}
    assert by_name["w/o entropy"].bundle == str(tiny_bundle_folder)
    assert by_name["w/o behaviour (codebook and inputs)"].bundle != str(tiny_bundle_folder)
    assert len({spec.key() for spec in plan.specs}) == len(plan.specs)
    some = plan_of("--table=3", "--variants=w/o BC,w/o entropy", "--seeds=1", *given).specs
    assert [spec.variant for spec in some] == ["", "w/o entropy", "w/o BC"]
    assert some[2] == by_name["w/o BC"]
    with pytest.raises(HsrlError, match="unknown variant 'w/o Bc'; did you mean w/o BC"):
        plan_of("--table=3", "--variants=w/o Bc", *given)


def test_runs_of_figure_5_carry_panel_and_value(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    plan = plan_of("--figure=5", "--seeds=0", f"--bundle={ENV}={tiny_bundle_folder}", f"--out={tmp_path}")
    by_name = {spec.variant: spec for spec in plan.specs}
    assert by_name["levels = 4"].protocol_kwargs == {"panel": "levels", "value": 4.0}
    assert by_name[""].protocol_kwargs == {}
