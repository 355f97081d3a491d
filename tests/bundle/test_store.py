"""Where bundles come from when none is named: the package, or a data set that was fetched."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from hsrl_gym.bundle import build
from hsrl_gym.bundle import store as catalog
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.bundle.store import PACKAGED, data_folder, open_bundle
from hsrl_gym.data import readers
from hsrl_gym.data.fetch import cache_folder
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.errors import HsrlError


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """Let each test be the first use in the process."""
    for remembered in (catalog._packaged, catalog._from_fetched):
        remembered.cache_clear()
    yield
    for remembered in (catalog._packaged, catalog._from_fetched):
        remembered.cache_clear()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HSRL_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize(("env_id", "name"), [("HSRL-RL4RS-v0", "rl4rs"), ("HSRL-ML1M-v0", "ml1m")])
def test_the_packaged_bundle_warns_once_and_says_what_it_is(env_id: str, name: str) -> None:
    if not (PACKAGED / name / "bundle.yaml").is_file():
        pytest.skip(f"the package has no bundle {name} yet; `make bundles` builds it")
    with pytest.warns(UserWarning, match=r"the users come from .*Synthetic.*not for claims about real users") as caught:
        env = gymnasium.make(env_id)
    assert len(caught) == 1
    bundle = env.unwrapped.bundle  # type: ignore[attr-defined]
    assert "synthetic" in bundle.source.lower()
    assert bundle.name == name
    assert bundle.source in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = gymnasium.make(env_id).unwrapped
        vector = gymnasium.make_vec(env_id, num_envs=2)
    assert again.bundle is vector.bundle is bundle  # type: ignore[attr-defined]
    env.reset(seed=0)
    env.step(env.action_space.sample())


def test_a_stand_in_for_the_packaged_bundle(tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a bundle of the tests, which is always there."""
    monkeypatch.setattr(catalog, "PACKAGED", tiny_bundle_folder.parent)
    with pytest.warns(UserWarning, match=r"users come from SyntheticWorld\('tiny', seed=0\).*pass bundle=DIR"):
        first = SlateEnv(default_bundle="tiny")
    assert SlateEnv(default_bundle="tiny").bundle is first.bundle  # no warning, which would be an error here
    assert first.bundle.source == "SyntheticWorld('tiny', seed=0)"


def test_a_named_bundle_does_not_warn(tiny_bundle: Bundle, tiny_bundle_folder: Path) -> None:
    assert open_bundle(tiny_bundle, "rl4rs") is tiny_bundle
    assert open_bundle(tiny_bundle_folder, "rl4rs").name == "tiny"
    assert open_bundle(str(tiny_bundle_folder), "ml100k").name == "tiny"


def test_from_fetched_without_data_says_what_to_run(data: Path) -> None:
    with pytest.raises(HsrlError, match=r"MovieLens-100K is not in .*; run `hsrl-gym fetch ml100k` first") as caught:
        gymnasium.make("HSRL-ML100K-v0")
    assert str(data) in str(caught.value)
    assert list(data.iterdir()) == []


def test_from_fetched_is_built_on_first_use_and_kept(
    data: Path, tiny_bundle: Bundle, tiny_log: InteractionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def load(folder: Path) -> InteractionLog:
        calls.append(f"load {folder.name}")
        return tiny_log

    def fit(log: InteractionLog, ensemble_size: int) -> Bundle:
        calls.append(f"build {log.name} with {ensemble_size}")
        return tiny_bundle

    monkeypatch.setitem(readers.READERS, "ml100k", load)
    monkeypatch.setattr(build, "build_bundle", fit)
    (data / "ml100k").mkdir()
    env = gymnasium.make("HSRL-ML100K-v0").unwrapped
    assert calls == ["load ml100k", "build tiny with 3"]
    assert (data / "bundles" / "ml100k" / "bundle.yaml").is_file()
    assert gymnasium.make("HSRL-ML100K-v0").unwrapped.bundle is env.bundle  # type: ignore[attr-defined]
    catalog._from_fetched.cache_clear()  # a new process reads what was kept
    shutil.rmtree(data / "ml100k")
    assert gymnasium.make("HSRL-ML100K-v0").unwrapped.bundle.name == "tiny"  # type: ignore[attr-defined]
    assert calls == ["load ml100k", "build tiny with 3"]


@pytest.mark.parametrize("value", ["", "~/somewhere", "/a/b", None])
def test_the_data_folder_is_the_one_that_fetch_fills(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("HSRL_DATA", raising=False)
    else:
        monkeypatch.setenv("HSRL_DATA", value)
    assert data_folder() == cache_folder()
    if value == "/a/b":
        assert data_folder() == Path("/a/b")
    elif value == "~/somewhere":
        assert data_folder() == Path.home() / "somewhere"
    else:
        assert data_folder().name == "hsrl_gym"


def test_an_id_without_a_bundle_of_its_own_asks_for_one(tiny_bundle: Bundle, tiny_bundle_folder: Path) -> None:
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(HsrlError, match=r"got no bundle, expected one; pass bundle=DIR"):
            make("HSRL-Bundle-v0")
    env = gymnasium.make("HSRL-Bundle-v0", bundle=str(tiny_bundle_folder)).unwrapped
    assert env.bundle.name == "tiny"  # type: ignore[attr-defined]
    assert env.sessions.params.reward == "mean_with_cost"  # type: ignore[attr-defined]
