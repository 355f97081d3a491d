"""Studies: what stands in the file, which runs come of it, and what their tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hsrl_gym.bundle.folder import load_bundle, read_manifest
from hsrl_gym.errors import HsrlError
from plan import make_plan
from reports import write_report
from runner import run
from spec import bundle_digest
from studies import Variant, bundle_of, read_study
from study_report import PAPER_CHANGES, groups_of, study_table

ENV = "HSRL-ML1M-v0"


def row(variant: str, seed: int, reward: float, **changes: Any) -> dict[str, Any]:
    return {
        "env": ENV,
        "method": "hsrl",
        "variant": variant,
        "seed": seed,
        "steps": 64,
        "total_reward": reward,
        "depth": reward + 1.0,
        "click_rate": 0.5,
        "n_episodes": 10,
        "learns_online": True,
        "curve": [[0, 0.0, 1.0, 2.0], [64, 1.0, reward, 2.0]],
        "bundle": {"source": "somewhere"},
        "session": {"reward": "mean_with_cost", "slate_size": 4},
        "settings": {},
        "codebook": {"vocabulary": [64, 64, 64]},
        **changes,
    }


def test_the_paper_s_four_ablations_are_in_table_3() -> None:
    study = read_study("table3")
    assert study.env == "HSRL-RL4RS-v0"
    assert study.variants[0] == Variant()
    assert set(PAPER_CHANGES) < {variant.name for variant in study.variants}


def test_figure_5_sweeps_what_the_paper_sweeps() -> None:
    """HSRL as it is stands for vocabulary 64 and 3 levels."""
    panels: dict[str, list[str]] = {}
    for variant in read_study("figure5").variants[1:]:
        panel, _, value = variant.name.partition(" = ")
        panels.setdefault(panel, []).append(value)
    assert panels == {
        "entropy weight": ["0", "0.1", "0.2", "0.3"],
        "vocabulary": ["16", "32", "80", "128"],
        "levels": ["2", "4", "5"],
    }


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"env": ENV}, "got env, expected env and variants"),
        ({"env": "HSRL-ML1M", "variants": {}}, "unknown environment 'HSRL-ML1M'; did you mean HSRL-ML1M-v0"),
        ({"env": ENV, "variants": {"x": {"setings": {}}}}, "unknown key 'setings'; did you mean settings"),
        ({"env": ENV, "variants": {"x": {"settings": {"entropy": 0}}}}, "unknown setting of 'hsrl' 'entropy'"),
        ({"env": ENV, "variants": {"x": {"codebook": {"level": 2}}}}, "unknown key 'level'; did you mean levels"),
        ({"env": ENV, "variants": {"x": {"codebook": {"kind": "k"}}}}, "unknown codebook 'k'"),
        ({"env": ENV, "variants": {"x": {"codebook": {"levels": 0}}}}, "got levels 0, expected a whole number above 0"),
        ({"env": ENV, "variants": {"x": {"codebook": {"levels": "items"}}}}, "got levels 'items', expected a whole"),
        ({"env": ENV, "variants": {"x": {"codebook": {"vocabulary": True}}}}, "got vocabulary True, expected a whole"),
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
    assert read_manifest(plain)["provenance"]["codebook"] == "features"


def test_a_plan_has_each_variant_with_each_seed(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    env = "HSRL-RL4RS-v0"
    plan = make_plan(["--table=3", "--seeds=0,1", f"--bundle={env}={tiny_bundle_folder}", f"--out={tmp_path}"])
    assert plan.what == "table3"
    names = [spec.variant for spec in plan.specs]
    assert names[:4] == ["", "", "w/o entropy", "w/o entropy"]
    by_name = {spec.variant: spec for spec in plan.specs}
    assert by_name["w/o entropy"].settings["entropy_weight"] == 0.0
    assert by_name["w/o entropy"].bundle == str(tiny_bundle_folder)
    assert by_name["w/o behaviour (codebook, inputs)"].bundle != str(tiny_bundle_folder)
    assert len({spec.key() for spec in plan.specs}) == len(plan.specs)
    assert by_name["w/o BC"].name == f"{env} w/o BC seed 1"
    call = ["--table=3", "--variants=w/o BC,w/o entropy", "--seeds=1", f"--bundle={env}={tiny_bundle_folder}"]
    some = make_plan(call).specs
    assert [spec.variant for spec in some] == ["", "w/o entropy", "w/o BC"]
    assert some[2] == by_name["w/o BC"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table=3", "--figure=5"], "got --table 3 and --figure 5, expected one of them"),
        (["--table=4"], "got --table 4, expected --table 2 or 3, --figure 5 or 6"),
        (["--figure=2"], "got --figure 2, expected"),
        (["--table=3", "--methods=sl"], "got --methods or --agent for table3, which is about HSRL alone"),
        (["--table=2", "--variants=w/o BC"], "got --variants for table2, which has none; leave it out"),
        (["--table=3", "--variants=w/o Bc"], "unknown variant 'w/o Bc'; did you mean w/o BC"),
    ],
)
def test_calls_that_cannot_be(arguments: list[str], message: str) -> None:
    with pytest.raises(HsrlError) as error:
        make_plan(arguments)
    assert message in str(error.value)


def test_table_by_hand() -> None:
    """Seeds 0, 1: HSRL 10 and 12, without entropy 9 and 10: -1.5, that is -13.6% of 11, and 1 of 4 pairs is a tie."""
    rows = [row("", 0, 10.0), row("", 1, 12.0), row("w/o entropy", 0, 9.0), row("w/o entropy", 1, 10.0)]
    heading, lines = study_table("table3", rows)
    assert heading[0] == "Variant"
    assert [line[0] for line in lines] == ["HSRL (full)", "w/o entropy"]
    assert lines[0][3:] == ["", "", "", ""]
    assert lines[1][1:] == [
        "9.50 [9.00, 10.00]",
        "10.50 [10.00, 11.00]",
        "-1.50 [-2.00, -1.00]",
        "-13.6",
        "0.88",
        "-20.7 / -17.1",
    ]


def test_the_true_user_s_change_stands_beside() -> None:
    """Seeds 0, 1: the true user gives HSRL 8 and 9, without entropy 6 and, of seed 1, nobody asked."""
    rows = [row("", seed, 10.0, true_user={"total_reward": 8.0 + seed}) for seed in (0, 1)]
    rows += [row("w/o entropy", 0, 9.0, true_user={"total_reward": 6.0}), row("w/o entropy", 1, 9.0)]
    heading, lines = study_table("table3", rows)
    assert heading[-3:] == ["true user [95%]", "change [95%]", "paper: reward % / depth %"]
    assert [line[-3:-1] for line in lines] == [["8.50 [8.00, 9.00]", ""], ["6.00 [n/a]", "-2.00 [n/a]"]]


def test_panels_of_figure_5() -> None:
    rows = [row("", 0, 10.0), row("vocabulary = 128", 0, 9.0), row("vocabulary = 16", 0, 8.0)]
    rows += [row("entropy weight = 0", 0, 7.0)]
    panels = groups_of(rows, "total_reward")
    assert panels["vocabulary"] == [(16.0, [8.0]), (64.0, [10.0]), (128.0, [9.0])]
    assert [values for _, values in panels["entropy weight"]] == [[7.0], [10.0]]


def test_a_study_runs_and_is_written(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """Real runs of two variants: table, rows and picture are there, and the picture of Figure 5 is one."""
    arguments = ["--figure=5", "--seeds=0", "--steps=64", "--episodes=4", "--checkpoints=1", "--n-envs=8"]
    plan = make_plan([*arguments, f"--bundle={ENV}={tiny_bundle_folder}", f"--out={tmp_path}"])
    chosen = [spec for spec in plan.specs if spec.variant in ("", "levels = 2")]
    rows = [run(spec) for spec in chosen]
    files = write_report("figure5", rows, tmp_path, {ENV: [0]})
    assert [path.name for path in files] == ["results.jsonl", "figure5.md", "figure5.png"]
    text = (tmp_path / "figure5.md").read_text()
    assert text.startswith("# Figure 5")
    assert "| levels = 2 |" in text
    assert (tmp_path / "figure5.png").read_bytes().startswith(b"\x89PNG")
