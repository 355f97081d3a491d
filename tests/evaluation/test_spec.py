"""What a run is: seeds that are apart, a key that goes by all that decides the result."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hsrl_agent.evaluation.spec import EVAL_SEEDS, MAX_SEED, RunSpec
from hsrl_gym.errors import HsrlError


def test_seeds_of_runs_and_of_scoring_are_apart(spec: RunSpec) -> None:
    own = [set(range(one.train_seed, one.train_seed + 32)) for one in (spec, replace(spec, seed=1))]
    scoring = [set(range(one.eval_seed, one.eval_seed + 500)) for one in (spec, replace(spec, seed=1))]
    sets = [*own, *scoring]
    assert len(set().union(*sets)) == sum(map(len, sets))
    assert replace(spec, seed=MAX_SEED).train_seed < 2**32 < EVAL_SEEDS
    assert spec.eval_seed == replace(spec, method="random", steps=7).eval_seed


@pytest.mark.parametrize(
    "change",
    [
        {"env": "HSRL-ML1M-v0"},
        {"method": "a2c"},
        {"seed": 1},
        {"steps": 129},
        {"n_envs": 9},
        {"n_eval_episodes": 21},
        {"n_checkpoints": 3},
        {"device": "cuda"},
        {"settings": {"gamma": 0.8}},
        {"env_kwargs": {"reward": "mean_with_cost"}},
        {"env_kwargs": {"max_steps": 10}},
        {"variant": "without"},
        {"protocol_kwargs": {"share": 0.5}},
    ],
)
def test_key_changes_with_what_decides_the_result(spec: RunSpec, change: dict[str, Any]) -> None:
    assert replace(spec, **change).key() != spec.key()


def test_key_goes_by_the_content_of_the_bundle(spec: RunSpec, tmp_path: Path) -> None:
    assert replace(spec).key() == spec.key()
    assert replace(spec, env_kwargs={"reward": "sweet_point"}).key() == spec.key()  # the id's own rule
    assert spec.bundle is not None
    copy = shutil.copytree(spec.bundle, tmp_path / "copy")
    moved = replace(spec, bundle=str(copy), task="another name", settings_name="another name")
    assert moved.key() == spec.key()
    manifest = yaml.safe_load((copy / "bundle.yaml").read_text())
    for change, matters in (
        ({"name": "other", "provenance": {}}, False),
        ({"files": {**manifest["files"], "codebook.safetensors": "0" * 64}}, True),
    ):
        (copy / "bundle.yaml").write_text(yaml.safe_dump({**manifest, **change}))
        assert (moved.key() != spec.key()) is matters


def test_key_goes_by_the_code(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    before = spec.key()
    monkeypatch.setattr("hsrl_agent.evaluation.spec.code_digest", lambda: "another state")
    assert spec.key() != before


def test_key_goes_by_the_source_of_a_protocol(spec: RunSpec, plugins: Path) -> None:
    own = replace(spec, protocol="plugins_for_tests:protocol")
    before = own.key()
    plugins.write_text(plugins.read_text() + "# changed\n")
    assert own.key() != before


def test_key_goes_by_the_source_of_an_agent(spec: RunSpec, plugins: Path) -> None:
    own = replace(spec, method="plugins_for_tests:Sids")
    before = own.key()
    assert own.key() == before
    plugins.write_text(plugins.read_text() + "# changed\n")
    assert own.key() != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "got seed -1, expected 0 to"),
        ({"seed": MAX_SEED + 1}, "expected 0 to"),
        ({"steps": 0}, "got steps 0, expected at least 1"),
        ({"steps": 10**9 + 1}, "got steps 1000000001, expected at least 1 and at most 1000000000"),
        ({"n_envs": 0}, "got n_envs 0, expected at least 1"),
        ({"n_eval_episodes": 100_001}, "at most 100000"),
        ({"n_checkpoints": 0}, "got n_checkpoints 0"),
        ({"n_checkpoints": 10_001}, "got n_checkpoints 10001, expected at least 1 and at most 10000"),
    ],
)
def test_refuses_a_run_that_cannot_be(spec: RunSpec, change: dict[str, Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        replace(spec, **change)
