"""Files of the agents that are no SB3 algorithms: they come back as they were, or say in one line why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agents import ENV
from safetensors.torch import save_file

from hsrl_agent import make_vec_env
from hsrl_agent.baselines import GreedyOracle, Popularity, RandomSlates, Supervised
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog

OFFLINE = [name for name, method in METHODS.items() if not method.learns_online]


def item_env(bundle: Bundle, n: int = 4) -> Any:
    return make_vec_env(ENV, n, seed=0, bundle=bundle, action_mode="item")


@pytest.mark.parametrize("name", OFFLINE)
def test_save_and_load_predict_the_same(name: str, toy_world: Bundle, tmp_path: Path) -> None:
    env = item_env(toy_world)
    agent: Any = METHODS[name].make(env, seed=3)
    agent.learn(0)
    observation = env.reset()
    agent.predict(observation)  # moves what is random in it
    agent.save(tmp_path / "agent")
    loaded = METHODS[name].agent_class.load(tmp_path / "agent", env)  # type: ignore[attr-defined]
    for _ in range(2):
        np.testing.assert_array_equal(agent.predict(observation)[0], loaded.predict(observation)[0])
    assert [file.name for file in tmp_path.iterdir()] == ["agent.safetensors"]


def test_settings_come_back(toy_world: Bundle, tmp_path: Path) -> None:
    agent = Supervised(item_env(toy_world), seed=5, max_epochs=2, dropout=0.3).learn(0)
    agent.save(tmp_path / "sl.safetensors")
    loaded = Supervised.load(tmp_path / "sl.safetensors", item_env(toy_world))
    assert (loaded.settings, loaded.dropout, loaded.seed) == (agent.settings, 0.3, 5)


def test_a_saved_agent_is_replaced_at_once(toy_world: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = item_env(toy_world)
    Popularity(env).learn(0).save(tmp_path / "agent")
    before = (tmp_path / "agent.safetensors").read_bytes()

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        RandomSlates(env).save(tmp_path / "agent")
    assert (tmp_path / "agent.safetensors").read_bytes() == before


def test_bad_files(toy_world: Bundle, tmp_path: Path) -> None:
    env = item_env(toy_world)
    GreedyOracle(env).save(tmp_path / "agent")
    with pytest.raises(HsrlError, match="holds a GreedyOracle, expected a RandomSlates"):
        RandomSlates.load(tmp_path / "agent", env)
    smaller = replace(toy_world, codebook=toy_world.codebook.deactivate([3]))
    with pytest.raises(HsrlError, match="holds an agent of another catalog"):
        GreedyOracle.load(tmp_path / "agent", item_env(smaller))
    with pytest.raises(HsrlError, match="cannot be read"):
        GreedyOracle.load(tmp_path / "nothing", env)
    (tmp_path / "broken.safetensors").write_bytes(b"not a file of tensors")
    with pytest.raises(HsrlError, match="cannot be read"):
        GreedyOracle.load(tmp_path / "broken", env)
    with pytest.raises(HsrlError, match=r"GreedyOracle\.load got no env, expected one with the agent's catalog; call"):
        GreedyOracle.load(tmp_path / "agent")
    for agent in (Popularity(env), Supervised(env)):
        with pytest.raises(HsrlError, match=r"save\(\) came before learn\(\)"):
            agent.save(tmp_path / "unlearnt")


@pytest.mark.parametrize("agent_class", [RandomSlates, Popularity, Supervised])
@pytest.mark.parametrize(
    "changes",
    [{"settings": None}, {"catalog": None}, {"settings": "{"}, {"settings": "[1]"}, {"settings": '{"no_such": 1}'}],
)
def test_a_changed_header_is_refused_in_one_line(
    agent_class: Any, changes: dict[str, str | None], toy_world: Bundle, tmp_path: Path
) -> None:
    """Also without its tensors."""
    env, file = item_env(toy_world), tmp_path / "agent.safetensors"
    header = {"class": agent_class.__name__, "catalog": "", "settings": "{}", **changes}
    save_file({}, file, {name: value for name, value in header.items() if value is not None})
    with pytest.raises(
        HsrlError, match=r"cannot be read \(.*\); expected a file written by save\(\)|weights of another"
    ):
        agent_class.load(file, env)


@pytest.mark.parametrize("name", OFFLINE)
def test_a_catalog_with_other_tokens_is_refused(name: str, toy_world: Bundle) -> None:
    agent: Any = METHODS[name].make(item_env(toy_world), seed=0)
    own, book = agent.catalog, toy_world.codebook
    other = replace(book, centroids=(book.centroids[0] + 1.0, *book.centroids[1:]))
    with pytest.raises(HsrlError, match="got a catalog with other centroids"):
        agent.follow(Catalog(other, 2))
    assert agent.catalog is own
    agent.follow(same := Catalog(book, 2))
    assert agent.catalog is same
