"""The commands that give the same runs again."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest
from made_results import make_result

from hsrl_agent.evaluation.plan import add_arguments, make_plan
from hsrl_agent.evaluation.report.again import commands
from hsrl_agent.evaluation.report.grouping import group
from hsrl_agent.evaluation.tasks import bundle_digest
from hsrl_gym.bundle.store import PACKAGED


def call_of(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.startswith(("#", "git"))]
    return " ".join(line.rstrip("\\").strip() for line in lines).removeprefix("hsrl-agent compare ").split()


def test_commands_give_the_same_runs_again() -> None:
    runs = [
        make_result(method, seed, 1.0, task, env_kwargs={"reward": "mean_with_cost"} if task == "RL4RS" else {})
        for task in ("RL4RS", "ML1M")
        for method in ("sl", "hsrl")
        for seed in (0, 3)
    ]
    text = commands(group(runs))
    assert text.splitlines()[0] == "git checkout 0123456789abcdef"
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    plan = make_plan(parser.parse_args(call_of(text)))
    assert [(spec.env, spec.method, spec.seed) for spec in plan.specs] == [
        (run.spec.env, run.spec.method, run.spec.seed) for run in runs
    ]
    assert {(spec.steps, spec.n_eval_episodes, spec.n_checkpoints, spec.n_envs) for spec in plan.specs} == {
        (3200, 500, 2, 32)
    }
    assert plan.specs[0].env_kwargs["reward"] == "mean_with_cost"


def test_only_one_clean_commit_is_checked_out() -> None:
    mixed = [make_result("hsrl", seed, 1.0, code=f"c{seed}") for seed in (0, 1)]
    assert commands(group(mixed)).startswith("# These runs come from several states of the code")
    dirty = [make_result("hsrl", 0, 1.0, commit="0123456789ab-dirty")]
    assert commands(group(dirty)).startswith(
        "# These runs come from commit 01234567 with changes that are not committed."
    )
    unknown = [make_result("hsrl", 0, 1.0, commit=None)]
    assert commands(group(unknown)).startswith("# The commit of these runs is not known.")


def test_sizes_bundles_and_agents_of_one_s_own() -> None:
    runs = [make_result("hsrl", 0, 1.0), make_result("m:Mine", 0, 1.0)]
    runs.append(make_result("hsrl", 0, 1.0, "shop", steps=64, bundle="/x/shop", settings={"learning_rate": 0.1}))
    runs.append(make_result("hsrl", 0, 1.0, "RL4RS mine", env="HSRL-RL4RS-v0", bundle="/x/mine", name="mine", steps=96))
    text = commands(group(runs))
    assert text.count("hsrl-agent compare") == 3
    assert "--agent m:Mine" in text
    assert "--bundle path/to/shop" in text
    assert "--bundle HSRL-RL4RS-v0=path/to/mine" in text
    assert "# path/to/shop: the folder of the bundle whose content has the digest abababababababab..." in text
    assert "# shop: --settings must name the settings listed above." in text


@pytest.mark.parametrize(("name", "printed"), [("none", "none"), ("my file.yaml", "'my file.yaml'"), ("ml1m", "ml1m")])
def test_settings_that_are_not_chosen_by_themselves_are_named(name: str, printed: str) -> None:
    runs = [
        replace(run, data=replace(run.data, digest=bundle_digest(PACKAGED / task.lower())))
        for task, settings in (("RL4RS", name), ("ML1M", "ml1m"))
        for run in (make_result("hsrl", 0, 1.0, task, settings={"gamma": 0.8}, settings_name=settings),)
    ]
    first, second = commands(group(runs)).split("hsrl-agent compare")[1:]
    assert f"--settings {printed}" in first
    assert "--settings" not in second  # tuned on this bundle


def test_settings_of_a_bundle_of_one_s_own() -> None:
    run = make_result("hsrl", 0, 1.0, "shop", settings={"gamma": 0.8}, settings_name="mine.yaml")
    assert "--settings mine.yaml" in commands(group([run]))
    assert "#" not in commands(group([run]))
    default = make_result("hsrl", 0, 1.0, "shop", settings_name="none")
    assert "--settings" not in commands(group([default]))  # none were tuned on it


def test_a_digest_of_another_kind_is_not_shown_as_one() -> None:
    run = make_result("hsrl", 0, 1.0, "shop", bundle="/x/shop")
    old = replace(run, data=replace(run.data, digest=f"manifest:{'ab' * 32}"))
    assert "the bundle whose content has an unknown digest." in commands(group([old]))
