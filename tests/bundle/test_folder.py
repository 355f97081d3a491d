"""Bundles: what comes back, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from hsrl_gym.bundle.folder import (
    SCHEMA_VERSION,
    Bundle,
    digest_of,
    load_bundle,
    read_manifest,
    save_bundle,
)
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.profile import ProfileEncoder

FILES = {
    "bundle.yaml",
    "codebook.safetensors",
    "item_labels.txt",
    "simulator_eval.safetensors",
    "simulator_train.safetensors",
    "users_eval.safetensors",
    "users_train.safetensors",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "bundle.yaml"
    manifest = yaml.safe_load(path.read_text())
    edit(manifest)
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))


# --- there and back


def test_everything_comes_back(tiny_bundle: Bundle, tiny_bundle_folder: Path) -> None:
    got = load_bundle(tiny_bundle_folder)
    assert (got.name, got.source, got.n_items, got.slate_size) == (tiny_bundle.name, tiny_bundle.source, 60, 4)
    assert got.item_labels == tiny_bundle.item_labels
    assert got.profile_encoder == tiny_bundle.profile_encoder
    assert got.provenance == tiny_bundle.provenance
    assert got.fidelity == tiny_bundle.fidelity
    codebook, expected = got.codebook, tiny_bundle.codebook
    assert codebook.n_moved == expected.n_moved
    for name in ("codes", "mean", "scale", "features", "priority"):
        assert getattr(codebook, name).dtype == getattr(expected, name).dtype
        np.testing.assert_array_equal(getattr(codebook, name), getattr(expected, name))
    assert len(codebook.centroids) == 3
    for left, right in zip(codebook.centroids, expected.centroids, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("name", ["train", "eval"])
def test_users_come_back(tiny_bundle: Bundle, tiny_bundle_folder: Path, name: str) -> None:
    users, expected = load_bundle(tiny_bundle_folder).users[name], tiny_bundle.users[name]
    for column in ("history", "slate", "clicks", "row"):
        assert getattr(users, column).dtype == getattr(expected, column).dtype
        np.testing.assert_array_equal(getattr(users, column), getattr(expected, column))
    assert users.profile.dtype == np.float32
    np.testing.assert_allclose(users.profile, expected.profile, rtol=2**-11, atol=1e-6)  # half precision
    assert np.abs(users.profile).max() <= 5.0
    assert len(users) == len(expected)


@pytest.mark.parametrize("name", ["train", "eval"])
def test_simulators_come_back(tiny_bundle: Bundle, tiny_bundle_folder: Path, name: str) -> None:
    model, expected = load_bundle(tiny_bundle_folder).simulators[name], tiny_bundle.simulators[name]
    assert model.config == expected.config
    assert model.state_dict().keys() == expected.state_dict().keys()
    for key, weight in expected.state_dict().items():
        assert torch.equal(model.state_dict()[key], weight), key
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_loading_leaves_the_global_generator_alone(tiny_bundle_folder: Path) -> None:
    state = torch.get_rng_state()
    load_bundle(tiny_bundle_folder)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_was_loaded_can_be_saved_again(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    again = save_bundle(load_bundle(tiny_bundle_folder), tmp_path / "again")
    assert contents(again) == contents(tiny_bundle_folder)


def test_the_files(tiny_bundle_folder: Path) -> None:
    assert {path.name for path in tiny_bundle_folder.iterdir()} == FILES
    manifest = read_manifest(tiny_bundle_folder)
    assert manifest["schema"] == SCHEMA_VERSION
    assert set(manifest["files"]) == FILES - {"bundle.yaml"}
    for path in tiny_bundle_folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o644
    assert tiny_bundle_folder.stat().st_mode & 0o777 == 0o755


def test_a_bundle_may_have_no_fidelity(tiny_bundle: Bundle, tmp_path: Path) -> None:
    assert load_bundle(save_bundle(replace(tiny_bundle, fidelity={}), tmp_path / "b")).fidelity == {}


def test_the_digest_follows_the_content_alone(tiny_bundle: Bundle, tiny_bundle_folder: Path) -> None:
    saved = load_bundle(tiny_bundle_folder)
    digest = digest_of(read_manifest(tiny_bundle_folder)["files"])
    assert tiny_bundle.content_digest == saved.content_digest == digest
    assert replace(saved, name="other", source="elsewhere", provenance={}, fidelity={}).content_digest == digest
    assert replace(saved, codebook=saved.codebook.deactivate([3])).content_digest != digest
    assert digest_of({"b": "2", "a": "1"}) == digest_of({"a": "1", "b": "2"}) != digest_of({"a": "2", "b": "1"})


def test_a_bundle_of_schema_2_is_read(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """It had a picture among its files, `n_members`, and no row numbers."""
    users = {name: replace(pool, row=None) for name, pool in tiny_bundle.users.items()}
    folder = save_bundle(replace(tiny_bundle, users=users), tmp_path / "old")

    def to_schema_2(manifest: dict[str, Any]) -> None:
        manifest["schema"] = 2
        manifest["simulator"]["n_members"] = manifest["simulator"].pop("ensemble_size")
        manifest["files"]["reliability.png"] = "0" * 64

    edit_manifest(folder, to_schema_2)
    got = load_bundle(folder)
    assert got.users["train"].row is None
    np.testing.assert_array_equal(got.users["train"].slate, tiny_bundle.users["train"].slate)
    assert load_bundle(save_bundle(got, tmp_path / "new")).content_digest == got.content_digest
    assert read_manifest(tmp_path / "new")["schema"] == 3


def test_labels_stay_one_a_line(tiny_bundle: Bundle, tmp_path: Path) -> None:
    odd = ["two\nlines", " edges ", "Amélie \u2028 (2001)", "", "tab\tbed", "cr\r\nlf"]
    labels = ("", *odd, *tiny_bundle.item_labels[len(odd) + 1 :])
    got = load_bundle(save_bundle(replace(tiny_bundle, item_labels=labels), tmp_path / "b")).item_labels
    assert got[:7] == ("", "two lines", "edges", "Amélie (2001)", "", "tab bed", "cr lf")
    assert got[7:] == labels[7:]


@pytest.mark.parametrize("n_items", [2**16 - 1, 2**16])
def test_item_ids_of_large_catalogs(tiny_bundle: Bundle, tmp_path: Path, n_items: int) -> None:
    features = np.zeros((n_items + 1, 1), dtype=np.float32)
    codes = np.zeros((n_items + 1, 1), dtype=np.int32)
    codes[0] = -1
    one, centroid = np.ones(1, dtype=np.float32), np.zeros((1, 1), dtype=np.float32)
    codebook = Codebook((centroid,), codes, 0 * one, one, features, features[:, 0])
    model = UserResponseModel(SimulatorConfig(n_items, 1, 1, history_length=3, width=2), torch.as_tensor(features))
    ids = np.array([[0, n_items - 1, n_items]], dtype=np.int32)
    users = LoggedSlates(np.ones((1, 1), np.float32), ids, ids[:, 1:], np.ones((1, 2), np.uint8))
    large = replace(
        tiny_bundle,
        codebook=codebook,
        simulators={"train": model, "eval": model},
        users={"train": users, "eval": users},
        item_labels=("",) * (n_items + 1),
        profile_encoder=ProfileEncoder((), (False,), (0.0,), (1.0,)),
    )
    got = load_bundle(save_bundle(large, tmp_path / "large")).users["eval"]
    assert got.history.tolist() == ids.tolist()
    assert got.slate.tolist() == ids[:, 1:].tolist()


# --- nothing is unpickled


def test_nothing_is_pickled_or_unpickled(
    tiny_bundle: Bundle, tiny_bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle was used")

    for module, names in ((pickle, ("load", "loads", "dump", "dumps", "Unpickler")), (torch, ("load", "save"))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    save_bundle(load_bundle(tiny_bundle_folder), tmp_path / "again")
    suffixes = {Path(name).suffix for name in FILES}
    assert suffixes == {".yaml", ".safetensors", ".txt"}
    for path in tiny_bundle_folder.glob("*.safetensors"):
        assert path.read_bytes()[8:9] == b"{"  # a JSON header, as the format says


def test_a_manifest_cannot_run_code(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was-here"
    text = (folder / "bundle.yaml").read_text()
    (folder / "bundle.yaml").write_text(f"bad: !!python/object/apply:os.mkdir ['{mark}']\n{text}")
    with pytest.raises(HsrlError, match="not readable as YAML"):
        load_bundle(folder)
    assert not mark.exists()


# --- what is refused


def test_a_changed_file(folder: Path) -> None:
    path = folder / "users_train.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(HsrlError, match=r"users_train\.safetensors: sha256 is .*, expected .*; the file was changed"):
        load_bundle(folder)


@pytest.mark.parametrize("name", sorted(FILES - {"bundle.yaml"}))
def test_a_truncated_file(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(HsrlError, match=f"{name}: sha256 is .* changed or cut short, build the bundle again"):
        load_bundle(folder)


@pytest.mark.parametrize("name", sorted(FILES - {"bundle.yaml"}))
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(HsrlError, match=f"{name} is missing; build the bundle again or copy it whole"):
        load_bundle(folder)


def test_no_manifest(folder: Path, tmp_path: Path) -> None:
    (folder / "bundle.yaml").unlink()
    for place in (folder, tmp_path / "nowhere"):
        with pytest.raises(HsrlError, match=r"no bundle\.yaml here, expected a bundle folder; `hsrl-gym build` makes"):
            load_bundle(place)


@pytest.mark.parametrize("version", [0, 1, 4, "2", None])
def test_another_schema(folder: Path, version: Any) -> None:
    edit_manifest(folder, lambda manifest: manifest.update(schema=version))
    with pytest.raises(HsrlError, match=f"schema version is {version!r}, expected 3 or 2; build the bundle again"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"schema: [1", "not readable as YAML"),
        (b"schema: 1\n\tname: x", "not readable as YAML"),
        (b"\xff\xfe\x00\x00", "not readable as YAML"),
        (b"", "schema version is None, expected 3 or 2"),
        (b"- 1\n- 2\n", "schema version is None"),
        (b"schema: 3\n", "no name, source, simulator, .*, files in it; the file was cut short"),
    ],
)
def test_a_broken_manifest(folder: Path, text: bytes, message: str) -> None:
    (folder / "bundle.yaml").write_bytes(text)
    with pytest.raises(HsrlError, match=message):
        load_bundle(folder)


def test_a_manifest_cut_short_anywhere(folder: Path) -> None:
    """Every line counts: wherever it ends early, it is one clear error."""
    path = folder / "bundle.yaml"
    lines = path.read_bytes().splitlines(keepends=True)
    for n_lines in range(0, len(lines), 7):
        path.write_bytes(b"".join(lines[:n_lines]))
        with pytest.raises(HsrlError):
            load_bundle(folder)
    path.write_bytes(b"".join(lines[:-3]))
    with pytest.raises(
        HsrlError, match=r"no users_train\.safetensors, users_eval\.safetensors in it; the file was cut short"
    ):
        load_bundle(folder)


# --- large catalogs


def test_arrays_of_a_large_catalog_stay_in_their_files(
    tiny_bundle: Bundle, tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsrl_gym.users.large.LARGE_FROM", 1)
    loaded = load_bundle(tiny_bundle_folder)
    assert loaded.content_digest == tiny_bundle.content_digest
    maps = Path("/proc/self/maps")
    if maps.exists():  # Linux
        mapped = maps.read_text()
        for name in ("codebook", "simulator_train", "simulator_eval"):
            assert str(tiny_bundle_folder / f"{name}.safetensors") in mapped, name
    features = loaded.simulators["train"].get_buffer("item_features")
    assert features.data_ptr() == loaded.codebook.features.ctypes.data  # not once more for each user
