"""Who is played: names of tasks, the bundles of environments, the digest of a bundle's content."""

from __future__ import annotations

import shutil
from pathlib import Path

import gymnasium
import pytest

from hsrl_agent.evaluation.tasks import (
    BUNDLE_ENV,
    bundle_digest,
    bundle_folder,
    distinct,
    find_env,
    make_task,
    packaged_name,
    short,
)
from hsrl_gym.bundle.store import PACKAGED
from hsrl_gym.errors import HsrlError

ENV = "HSRL-RL4RS-v0"
own_bundles = pytest.mark.skipif(BUNDLE_ENV not in gymnasium.registry, reason=f"{BUNDLE_ENV} is not registered yet")


def test_names_say_what_is_played(tiny_bundle_folder: Path) -> None:
    tiny = str(tiny_bundle_folder)
    assert make_task(ENV).name == "RL4RS"
    assert make_task(ENV, str(PACKAGED / "rl4rs")).name == "RL4RS"
    assert make_task(ENV, str(PACKAGED / "ml1m")).name == "RL4RS ml1m"
    assert make_task(ENV, tiny).name == "RL4RS tiny"
    other_rule = make_task(ENV, tiny, "mean_with_cost")
    assert (other_rule.name, other_rule.env_kwargs) == ("RL4RS tiny (mean_with_cost)", {"reward": "mean_with_cost"})
    assert make_task(ENV, tiny, "sweet_point") == make_task(ENV, tiny)  # the environment's own rule
    assert [short(env) for env in (ENV, "HSRL-World-v0", "Shop-v12", "odd")] == ["RL4RS", "World", "Shop", "odd"]


@own_bundles
def test_a_bundle_alone_goes_by_its_own_name(tiny_bundle_folder: Path) -> None:
    assert make_task(BUNDLE_ENV, str(tiny_bundle_folder)).name == "tiny"
    with pytest.raises(HsrlError, match="has no users of its own; name a bundle folder"):
        make_task(BUNDLE_ENV)


def test_equal_names_are_told_apart(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_bundle_folder, tmp_path / "copy")
    tasks = [make_task(ENV, str(folder)) for folder in (tiny_bundle_folder, copy)]
    first, second, third = distinct([*tasks, make_task(ENV)])
    assert first.name != second.name
    assert str(copy) in second.name
    assert third.name == "RL4RS"
    with pytest.raises(HsrlError, match="twice, expected each bundle once"):
        distinct([tasks[0], tasks[0]])


def test_digest_is_that_of_the_content(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_bundle_folder, tmp_path / "copy")
    assert bundle_digest(copy) == bundle_digest(tiny_bundle_folder) != bundle_digest(PACKAGED / "rl4rs")
    assert packaged_name(bundle_digest(PACKAGED / "ml1m")) == "ml1m"
    assert packaged_name(bundle_digest(copy)) is None


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HsrlError, match="unknown environment 'HSRL-RL4R-v0'; did you mean HSRL-RL4RS-v0"):
        find_env("HSRL-RL4R-v0")
    with pytest.raises(HsrlError, match=r"no bundle\.yaml here"):
        bundle_digest(tmp_path)
    assert bundle_folder(ENV, None) == PACKAGED / "rl4rs"
