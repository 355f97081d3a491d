"""The manifest of a bundle: its own hash, and values that are what their readers expect."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hsrl_gym.bundle.folder import SCHEMA_VERSION, load_bundle, read_manifest
from hsrl_gym.bundle.manifest import MANIFEST, sealed, unsealed
from hsrl_gym.bundle.store import PACKAGED
from hsrl_gym.cli import main
from hsrl_gym.errors import HsrlError

Change = Callable[[dict[str, Any]], Any]


def change_manifest(folder: Path, change: Change) -> None:
    """Change the manifest; its hash is right again."""
    path = folder / MANIFEST
    manifest = yaml.safe_load(path.read_bytes())
    change(manifest)
    path.write_bytes(sealed(yaml.safe_dump(manifest, sort_keys=False).encode()))


# --- its own hash


def test_a_manifest_ends_with_its_hash(tiny_bundle_folder: Path) -> None:
    content = (tiny_bundle_folder / MANIFEST).read_bytes()
    text, right = unsealed(content)
    assert right
    assert sealed(text) == content
    assert content.splitlines()[-1].startswith(b"# sha256 of the lines above: ")
    assert yaml.safe_load(content) == yaml.safe_load(text)  # a comment for everybody else


@pytest.mark.parametrize("name", ["rl4rs", "ml1m"])
def test_the_packaged_bundles_have_theirs(name: str) -> None:
    content = (PACKAGED / name / MANIFEST).read_bytes()
    assert unsealed(content)[0] != content
    assert read_manifest(PACKAGED / name)["schema"] == SCHEMA_VERSION


def test_every_changed_byte_is_found(folder: Path) -> None:
    path = folder / MANIFEST
    true, content = read_manifest(folder), path.read_bytes()
    rng = np.random.default_rng(0)
    for position in np.linspace(0, len(content) - 1, 150).astype(int):
        changed = bytearray(content)
        changed[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            got = read_manifest(folder)
        except HsrlError:
            continue
        assert got == true  # the change was in the words of the last line


def test_another_number_is_found(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(path.read_text().replace("dropout: 0.1", "dropout: 0.2"))
    with pytest.raises(HsrlError, match="its sha256 is not that of its last line; the file was changed or cut short"):
        load_bundle(folder)


def test_bundles_without_it_are_read(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(unsealed(path.read_bytes())[0])
    assert load_bundle(folder).name == "tiny"


# --- what strangers write


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(name=3), "name: got 3, expected a text of at most 1,000 characters"),
        (lambda m: m.update(source=["x"]), r"source: got \['x'\], expected a text"),
        (lambda m: m.update(extra=1), "got the key 'extra', expected only schema, name"),
        (lambda m: m.update(simulator=[]), r"simulator: got \[\], expected n_items, .* with values"),
        (lambda m: m["simulator"].update(n_items=0), "simulator, n_items: got 0, expected a whole number from 1"),
        (lambda m: m["simulator"].update(width=True), "simulator, width: got True, expected a whole number"),
        (lambda m: m["simulator"].update(dropout=1), "dropout: got 1, expected a number from 0 to below 1"),
        (lambda m: m["simulator"].update(dropout=float("nan")), "dropout: got nan"),
        (lambda m: m["simulator"].update(n_heads=5), "5 heads, expected heads that divide both"),
        (lambda m: m["simulator"].update(history_length=10**6), "history_length: got 1000000, expected at most 1000"),
        (lambda m: m["simulator"].update(history_length=49), r"history' U16 \[1600, 50\], expected U16 \[1600, 49\]"),
        (lambda m: m["codebook"].update(n_levels=2), "got 'centroids_2' F32 .*, expected not there|got 'codes'"),
        (lambda m: m["codebook"].update(n_moved=-1), "n_moved: got -1, expected a whole number from 0"),
        (lambda m: m["profile_encoder"]["scale"].__setitem__(0, 0.0), "expected numbers, scales above 0"),
        (lambda m: m["profile_encoder"]["mean"].pop(), "expected as many compressed, mean and scale"),
        (lambda m: m["profile_encoder"].update(categories=[[1.0]]), "an encoder of 7 columns, expected n_profile 6"),
        (lambda m: m["provenance"].update(seed="x"), "provenance, seed: got 'x', expected a whole number"),
        (lambda m: m["provenance"].update(vocabulary=8), "provenance, vocabulary: got 8, expected a list of sizes"),
        (lambda m: m["provenance"].update({"x": {3: 4}}), "got 3, expected a text as key"),
        (lambda m: m["fidelity"]["train"].pop("auc"), "fidelity, train: got .*, expected .*auc"),
        (lambda m: m["fidelity"]["eval"].update(reliability=[]), "eval, reliability: got"),
        (lambda m: m["fidelity"].update(other={}), "expected values of train, eval"),
        (lambda m: m["files"].update({"../../secret": "0" * 64}), r"got the key '\.\./\.\./secret', expected only"),
        (lambda m: m["files"].update({"item_labels.txt": "x"}), r"files, item_labels\.txt: got 'x', expected a sha256"),
        (lambda m: m.update(name="x" * 10**5), r"name: got 'x{195}\.\.\.', expected a text"),
    ],
)
def test_a_value_that_is_none(folder: Path, change: Change, message: str) -> None:
    change_manifest(folder, change)
    with pytest.raises(HsrlError, match=message) as error:
        load_bundle(folder)
    assert len(str(error.value)) < 1_000


@pytest.mark.parametrize("number", [str(10**400), "0x" + "f" * 5000])
@pytest.mark.parametrize("key", ["schema", "n_items", "dropout", "n_logged_slates", "auc"])
def test_a_number_too_large_for_all(folder: Path, capsys: pytest.CaptureFixture[str], key: str, number: str) -> None:
    text = unsealed((folder / MANIFEST).read_bytes())[0].decode()
    changed, count = re.subn(rf"\b{key}: .*", f"{key}: {number}", text, count=1)
    assert count == 1
    (folder / MANIFEST).write_bytes(sealed(changed.encode()))
    assert main(["inspect", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "it has a whole number beyond 2^63" in said


@pytest.mark.parametrize("place", ["provenance", "name", "source"])
def test_a_bomb_does_not_hang_inspect(folder: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = unsealed((folder / MANIFEST).read_bytes())[0].decode().replace(f"{place}:", "old:", 1)
    (folder / MANIFEST).write_text("\n".join(lines) + f"\n{text}{place}: *a11\n")
    assert main(["inspect", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "not readable as YAML (it has anchors or aliases" in said


def test_texts_that_steer_a_terminal(folder: Path) -> None:
    change_manifest(folder, lambda m: m.update(name="a\x1b[2Jb", source="c\nd\x9b31m\u202e"))
    change_manifest(folder, lambda m: m["provenance"].update({"k\x07": ["v\x1b]0;t\x07", {"x": "\x00"}]}))
    bundle = load_bundle(folder)
    assert (bundle.name, bundle.source) == ("a?[2Jb", "c d?31m?")
    assert bundle.provenance["k?"] == ["v?]0;t?", {"x": "?"}]


def test_texts_that_look_like_markup(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And no fidelity: `inspect` prints and draws what there is."""
    change_manifest(folder, lambda m: m.update(source="[/red] :smile: [link=http://x]y[/link]", fidelity={}))
    assert main(["inspect", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "[/red] :smile: [link=http://x]y[/link]" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_a_huge_manifest(folder: Path) -> None:
    with (folder / MANIFEST).open("ab") as file:
        file.write(b"#" * 2**20)
    with pytest.raises(HsrlError, match=r"bundle\.yaml: got more than 1,048,576 bytes, expected a file of settings"):
        load_bundle(folder)
