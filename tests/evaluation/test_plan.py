"""From options to runs: what wins over what, which users are played, and calls that cannot be run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import gymnasium
import pytest

from hsrl_agent.evaluation.options import Parser
from hsrl_agent.evaluation.plan import Plan, add_arguments, cost, make_plan
from hsrl_agent.evaluation.settings import TUNED, TunedSettings, choose_settings, read_preset, write_tuned
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.tasks import BUNDLE_ENV, bundle_digest
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.manifest import sealed, unsealed
from hsrl_gym.errors import HsrlError

ENV = "HSRL-RL4RS-v0"
own_bundles = pytest.mark.skipif(BUNDLE_ENV not in gymnasium.registry, reason=f"{BUNDLE_ENV} is not registered yet")


def plan_of(*arguments: str) -> Plan:
    parser = Parser(prog="compare")
    add_arguments(parser)
    return make_plan(parser.parse_args(arguments))


@pytest.fixture
def bundle(tiny_bundle_folder: Path) -> str:
    return f"--bundle={ENV}={tiny_bundle_folder}"


def test_options_win_over_the_preset(bundle: str) -> None:
    quick, preset = plan_of(f"--envs={ENV}", bundle, "--jobs=3"), read_preset("quick")
    assert preset.methods is not None
    assert [(spec.method, spec.seed) for spec in quick.specs] == [
        (method, seed)
        for method in METHODS  # in the order of the tables
        if method in preset.methods
        for seed in preset.seeds
    ]
    assert {spec.steps for spec in quick.specs} == {preset.steps}
    assert {spec.n_eval_episodes for spec in quick.specs} == {preset.episodes}
    assert {spec.task for spec in quick.specs} == {"RL4RS tiny"}
    assert (quick.jobs, quick.what, quick.out) == (3, "table2", Path("results/table2"))
    full = plan_of(
        f"--envs={ENV}", bundle, "--preset=full", "--seeds=3", "--methods=a2c", f"--reward={ENV}=mean_with_cost"
    )
    (only,) = full.specs
    assert (only.steps, only.seed, only.env_kwargs) == (1_600_000, 3, {"reward": "mean_with_cost"})
    assert full.jobs == 1  # no more processes than runs
    assert full.seeds() == {"RL4RS tiny (mean_with_cost)": [3]}


def test_notes_say_what_is_played_and_with_which_settings(bundle: str) -> None:
    synthetic, settings = plan_of(f"--envs={ENV}", "--methods=random").notes
    assert synthetic.startswith("RL4RS: no --bundle was named, so its users were learned from SyntheticWorld")
    assert "synthetic data, no real user" in synthetic
    assert settings == "RL4RS: settings: tuned on this bundle under sweet_point (rl4rs)."
    left_out, settings = plan_of(f"--envs={ENV}", bundle).notes
    assert (
        left_out == "The preset quick leaves out hac-pretrained, hsrl-items, hsrl-two-tower; --methods can name them."
    )
    assert settings == "RL4RS tiny: settings: the code's defaults; none were tuned on this bundle."
    whole = plan_of(f"--envs={ENV}", bundle, "--preset=standard")
    assert len(whole.notes) == 1
    assert {spec.method for spec in whole.specs} == set(METHODS)


def test_settings_go_with_the_content_of_a_bundle(
    bundle: str, tiny_bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = (f"--envs={ENV}", bundle, "--seeds=0", "--methods=hsrl")
    assert plan_of(*call).specs[0].settings == {}
    assert plan_of(*call, "--settings=rl4rs").specs[0].settings == choose_settings("rl4rs", "").of("hsrl") != {}
    digest = bundle_digest(tiny_bundle_folder)
    write_tuned(tmp_path / "mine.yaml", TunedSettings("mine", digest, {"hsrl": {"gamma": 0.8}}), "Mine.")
    named = plan_of(*call, f"--settings={tmp_path / 'mine.yaml'}")
    monkeypatch.setattr("hsrl_agent.evaluation.settings.TUNED", tmp_path)
    found = plan_of(*call)
    assert found.specs[0].settings == named.specs[0].settings == {"gamma": 0.8}
    assert found.notes == ("RL4RS tiny: settings: tuned on this bundle (mine).",)
    assert found.specs[0].settings_name == "mine"
    assert named.specs[0].settings_name == str(tmp_path / "mine.yaml")
    without = plan_of(*call, "--settings=none").specs[0]
    assert (without.settings, without.settings_name) == ({}, "none")
    assert tmp_path != TUNED


@own_bundles
def test_a_bundle_alone_is_compared_alone(tiny_bundle_folder: Path) -> None:
    call = ("--seeds=0", "--methods=random")
    (spec,) = plan_of(*call, f"--bundle={tiny_bundle_folder}").specs
    assert (spec.task, spec.env, spec.bundle) == ("tiny", BUNDLE_ENV, str(tiny_bundle_folder))
    both = plan_of(*call, f"--envs={ENV}", f"--bundle={tiny_bundle_folder}", "--reward=sweet_point").specs
    assert [spec.task for spec in both] == ["RL4RS", "tiny (sweet_point)"]
    two = plan_of(*call, f"--bundle={tiny_bundle_folder}", f"--bundle={ENV}={tiny_bundle_folder}").specs
    assert [spec.task for spec in two] == ["RL4RS tiny", "tiny"]


def test_a_bundle_of_an_environment_leaves_the_others_of_the_preset(bundle: str) -> None:
    tasks = plan_of(bundle, "--seeds=0", "--methods=random").specs
    assert [spec.task for spec in tasks] == ["RL4RS tiny", "ML1M"]


def test_longest_runs_cost_most(tiny_bundle_folder: Path) -> None:
    base = RunSpec("tiny", ENV, "hsrl", 0, 32_000, str(tiny_bundle_folder))
    costs = [cost(replace(base, method=method)) for method in ("hsrl", "a2c", "random")]
    assert costs == sorted(costs, reverse=True)
    assert cost(replace(base, steps=64_000)) == pytest.approx(2 * costs[0])
    assert cost(replace(base, method="random", steps=64_000)) == costs[2]
    assert cost(replace(base, method="somebodys.module:Agent")) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--methods hrsl", "unknown method 'hrsl'; did you mean hsrl"),
        ("--envs HSRL-RL4S-v0", "unknown environment 'HSRL-RL4S-v0'; did you mean HSRL-RL4RS-v0"),
        ("--preset quik", "unknown preset 'quik'; did you mean quick"),
        ("--settings ml1n", "unknown settings 'ml1n'; did you mean ml1m"),
        ("--steps many", "--steps: got many, expected a whole number of at least 1"),
        ("--steps -5", "--steps: expected one argument|--steps: got -5, expected a whole number of at least 1"),
        ("--steps 0", "--steps: got 0, expected"),
        ("--steps 1e6", "--steps: got 1e6, expected"),
        ("--episodes 0", "--episodes: got 0, expected"),
        ("--episodes 200000", "got n_eval_episodes 200000, expected"),
        ("--jobs 0", "--jobs: got 0, expected"),
        ("--seeds 0,x", "--seeds: got '0,x', expected whole numbers separated by commas"),
        ("--seeds=-1", "--seeds: got '-1', expected whole numbers"),
        ("--seeds 0,,1", "without empty places"),
        ("--seeds 99999999", "got seed 99999999, expected 0 to"),
        (f"--bundle {ENV}=", "expected DIR or ENV=DIR"),
        ("--bundle HSRL-ML1M-v0=x", "unknown environment in --bundle 'HSRL-ML1M-v0'; did you mean HSRL-RL4RS-v0"),
        (f"--bundle {ENV}=x --bundle {ENV}=y", f"got --bundle twice for {ENV}"),
        (f"--bundle {ENV}=nowhere", "nowhere: no bundle.yaml here"),
        ("--reward HSRL-ML1M-v0=sweet_point", "unknown environment in --reward 'HSRL-ML1M-v0'"),
        (f"--reward {ENV}=sweet", "unknown reward rule 'sweet'; did you mean sweet_point"),
        ("--device tpu", "--device: got tpu, expected cpu, cuda or cuda:N"),
        ("--device cuda:99", "got the device 'cuda:99', but torch sees"),
        ("--agent nowhere_at_all:X", "no module 'nowhere_at_all'"),
        (f"--out {__file__}", "which is a file, expected a folder"),
        ("--table 4", "--table: invalid choice: '4'"),
        ("--table 3 --figure 5", "not allowed with"),
        ("--variants x", "got --variants for table2, which has none"),
        ("--figure 6 --methods a2c", "got --methods or --agent for figure6"),
        ("--frobnicate", "unrecognized arguments: --frobnicate; see --help"),
    ],
)
def test_a_call_that_cannot_be_run_gets_one_line(arguments: str, message: str) -> None:
    with pytest.raises(HsrlError, match=message) as caught:
        plan_of(*([] if "--envs" in arguments else [f"--envs={ENV}"]), *arguments.split())
    assert "\n" not in str(caught.value)


def test_churn_with_and_without_onboarding(bundle: str) -> None:
    """Each method twice, but those that look at no vectors; sessions and user-steps are those of the churn tables."""
    plan = plan_of("--table=churn", f"--envs={ENV}", bundle, "--methods=oracle,sl,hsrl", "--seeds=0,1")
    assert (plan.what, plan.out) == ("churn", Path("results/churn"))
    assert [(spec.line, spec.protocol_kwargs["onboarding"], spec.seed) for spec in plan.specs] == [
        (line, onboarding, seed)
        for line, onboarding in [
            ("oracle", False),
            ("sl", False),
            ("SL, onboarding", True),
            ("hsrl", False),
            ("HSRL, onboarding", True),
        ]
        for seed in (0, 1)
    ]
    assert {(spec.steps, spec.n_eval_episodes, spec.protocol) for spec in plan.specs} == {
        (9_600, 300, "hsrl_agent.evaluation.churn_table:churn")
    }
    assert {spec.protocol_kwargs["arrivals"] for spec in plan.specs} == {"random"}
    (only,) = plan_of(
        "--figure=churn", f"--envs={ENV}", bundle, "--methods=hsrl", "--seeds=0", "--onboarding=yes", "--warmup=640"
    ).specs
    assert (only.steps, only.protocol_kwargs["n_days"], only.protocol_kwargs["every"]) == (640, 21, 15)
    assert only.protocol == "hsrl_agent.evaluation.churn_days:days"
    compared = plan_of("--table=churn", f"--envs={ENV}", bundle, "--onboarding=no").specs
    assert {"popularity", "oracle", "sl", "a2c-pretrained", "hac-pretrained", "hsrl-items", "hsrl"} <= {
        spec.method for spec in compared
    }


def test_a_log_of_real_users_holds_back_its_latest_items(bundle: str, tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """Its order of first appearance means something; that of a made-up log does not."""
    copy = tmp_path / "real"
    shutil.copytree(tiny_bundle_folder, copy)
    manifest = copy / "bundle.yaml"
    manifest.write_bytes(sealed(unsealed(manifest.read_bytes())[0].replace(b"SyntheticWorld", b"A shop")))
    specs = plan_of("--table=churn", f"--envs={ENV}", f"--bundle={ENV}={copy}", "--methods=oracle").specs
    assert {spec.protocol_kwargs["arrivals"] for spec in specs} == {"latest"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["--onboarding=yes"], "got --onboarding for table2, where no item is new"),
        (["--table=churn", "--days=3"], "got --days for churn, which has none"),
        (["--table=churn", "--warmup=3"], "got --warmup for churn, which has none"),
        (["--table=churn", "--methods=ddpg"], "got the method 'ddpg', which cannot follow a catalog that changes"),
        (["--table=churn", "--variants=levels"], "got --variants for churn, which has none"),
    ],
)
def test_churn_that_cannot_be(call: list[str], message: str, bundle: str) -> None:
    with pytest.raises(HsrlError, match=message):
        plan_of(f"--envs={ENV}", bundle, *call)
