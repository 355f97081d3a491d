"""Arrays of strangers, with hashes that are right: sizes by their headers, then values."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from hsrl_gym.bundle.build import build_bundle, with_codebook
from hsrl_gym.bundle.folder import Bundle, load_bundle
from hsrl_gym.bundle.manifest import MANIFEST, sealed
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.errors import HsrlError

Arrays = dict[str, np.ndarray]


def rehash(folder: Path, name: str, **sizes: int) -> None:
    manifest = yaml.safe_load((folder / MANIFEST).read_bytes())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    manifest["simulator"].update(sizes)
    (folder / MANIFEST).write_bytes(sealed(yaml.safe_dump(manifest, sort_keys=False).encode()))


def change_arrays(folder: Path, name: str, change: Callable[[Arrays], Any]) -> None:
    """Change the arrays of a file; its hash is right again."""
    arrays = load_file(folder / f"{name}.safetensors")
    change(arrays)
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, folder / f"{name}.safetensors")
    rehash(folder, f"{name}.safetensors")


def put(key: str, place: Any, value: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[key][place] = value

    return change


def turn(key: str, function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[key] = function(arrays[key])

    return change


def no_width(arrays: Arrays) -> None:
    for key in ("vectors", "to_vector", "centroids_0", "centroids_1", "centroids_2"):
        arrays[key] = arrays[key][:, :0]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("codebook", put("codes", (3, 1), 8), "got codes outside the vocabulary .8, 8, 8."),
        ("codebook", put("codes", (3, 1), -1), "got codes outside the vocabulary"),
        ("codebook", put("codes", (0, slice(None)), 1), "got codes outside the vocabulary"),
        ("codebook", put("codes", slice(None), -1), "got codes outside the vocabulary"),
        ("codebook", put("codes", (3, slice(None)), -2), "got codes outside the vocabulary"),
        ("codebook", put("features", (3, 1), np.nan), "got nan in features, expected -1e.06 to 1e.06"),
        ("codebook", put("vectors", (3, 1), np.inf), "got inf in vectors"),
        ("codebook", put("centroids_1", (3, 1), -1e30), "got -1e.30 in centroids_1"),
        ("codebook", put("to_vector", (0, 0), np.nan), "got nan in to_vector"),
        ("codebook", put("priority", 3, np.nan), "got nan in priority"),
        ("codebook", put("mean", 0, np.inf), "got inf in mean"),
        ("codebook", put("scale", 0, 0.0), "got 0 in scale"),
        ("codebook", turn("codes", lambda a: a.astype(np.int64)), r"got 'codes' I64 \[61, 3\], expected I32 \[61, 3\]"),
        ("codebook", turn("codes", lambda a: a[:-1]), r"got 'codes' I32 \[60, 3\], expected I32 \[61, 3\]"),
        ("codebook", turn("centroids_0", lambda a: a[:0]), "got 0 tokens in centroids_0, expected 1 to 4096"),
        ("codebook", turn("centroids_0", lambda a: np.zeros((5000, a.shape[1]), "f4")), "got 5000 tokens"),
        ("codebook", no_width, "got vectors of width 0, expected at least 1"),
        ("codebook", lambda a: a.pop("mean"), "got 'mean' not there"),
        ("codebook", lambda a: a.pop("vectors"), "got 'vectors' not there|got 'centroids_0'"),
        ("codebook", lambda a: a.update(more=a["mean"]), r"got 'more' F32 \[12\], expected not there"),
        ("users_train", put("profile", (3, 1), 5.1), "got 5.1.* in profile, expected -5 to 5"),
        ("users_train", put("profile", (3, 1), np.nan), "got nan in profile"),
        ("users_eval", put("history", (3, -1), 61), "got 61 in history, expected 0 to 60"),
        ("users_eval", put("history", (3, slice(None)), [1] + [0] * 49), "padding behind an item"),
        ("users_eval", put("slate", (3, 1), 0), "got 0 in slate, expected 1 to 60"),
        ("users_eval", put("clicks", (3, 1), 2), "got 2 in clicks, expected 0 to 1"),
        ("users_eval", turn("slate", lambda a: a[:, :0]), "got 400 slates of 0, expected at least one"),
        ("users_eval", lambda a: [a.update({k: v[:0]}) for k, v in list(a.items())], "got 0 slates of 4"),
        ("users_eval", lambda a: [a.update({k: a[k][:, :3]}) for k in ("slate", "clicks")], r"slates of \[3, 4\]"),
        ("simulator_eval", put("item_free.weight", (7, 2), np.nan), "got nan in item_free.weight"),
        ("simulator_eval", put("bounds", 0, np.inf), "got inf in bounds"),
        ("simulator_train", put("topic.bias", 0, 1e5), "got 100000 in topic.bias, expected -10000 to 10000"),
        ("simulator_train", put("item_map.weight", slice(None), 9e3), "the weights give no finite click probabilities"),
        ("simulator_train", turn("knee", lambda a: a[1:]), "got 'knee' F32"),
        ("simulator_train", lambda a: a.pop("slope"), "got 'slope' not there"),
        ("simulator_train", lambda a: a.update({"members.0.knee": a["knee"]}), "got 'item_free.*' not there|members"),
    ],
)
def test_what_no_environment_can_work_with(folder: Path, name: str, change: Any, message: str) -> None:
    change_arrays(folder, name, change)
    with pytest.raises(HsrlError, match=message) as error:
        load_bundle(folder)
    assert name in str(error.value) or "user pools" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable as safetensors"),
        (b"\xff" * 8 + b"{}", "not readable as safetensors"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "got 0 arrays, expected the centroids of 3 levels"),
    ],
)
def test_a_file_that_is_no_safetensors(folder: Path, content: bytes, message: str) -> None:
    (folder / "codebook.safetensors").write_bytes(content)
    rehash(folder, "codebook.safetensors")
    with pytest.raises(HsrlError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got 0 lines, expected 61"),
        (b"\n" * 60, "got 60 lines, expected 61"),
        (b"\n" * 62, "got 62 lines, expected 61"),
        (b"\xff\n" * 61, "not readable as UTF-8"),
    ],
)
def test_labels_that_are_not_the_items(folder: Path, content: bytes, message: str) -> None:
    (folder / "item_labels.txt").write_bytes(content)
    rehash(folder, "item_labels.txt")
    with pytest.raises(HsrlError, match=rf"item_labels\.txt: {message}"):
        load_bundle(folder)


def test_labels_that_steer_a_terminal(folder: Path) -> None:
    (folder / "item_labels.txt").write_bytes(b"\n" + b"\x1b]0;owned\x07\x1b[31mred\r\xc2\x9b1m\n" * 60)
    rehash(folder, "item_labels.txt")
    env = SlateEnv(folder, render_mode="ansi")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    shown = env.render()
    assert "?]0;owned??[31mred ?1m" in shown
    assert not {"\x1b", "\x07", "\r", "\x9b"} & set(shown)


@pytest.mark.parametrize("name", ["n_items", "ensemble_size", "n_topics", "width", "n_profile", "n_item_features"])
def test_sizes_are_compared_before_anything_is_allocated(folder: Path, name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rehash(folder, "item_labels.txt", **{name: 10**7})
    with pytest.raises(HsrlError, match=r"expected .*1000000|user models, expected ensemble_size 10000000"):
        load_bundle(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_the_tables_of_a_large_catalog_are_checked_when_it_is_played(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_arrays(folder, "simulator_train", put("item_map.weight", slice(None), 9e3))
    monkeypatch.setattr("hsrl_gym.users.large.LARGE_FROM", 1)
    with pytest.raises(HsrlError, match="the weights give no finite click probabilities"):
        SlateEnv(folder)
    SlateEnv(folder, simulator="eval")


def test_what_no_bundle_may_hold_is_not_built(tiny_bundle: Bundle, tiny_log: InteractionLog) -> None:
    with pytest.raises(HsrlError, match="got a vocabulary of 5000, expected at most 4096 tokens a level"):
        build_bundle(tiny_log, vocabulary=5000)
    wide = replace(tiny_log, slate=np.ones((2_000, 61), "i4"), clicks=np.ones((2_000, 61), "u1"))
    with pytest.raises(
        HsrlError, match="got slates of 61 for 60 items, expected 1 to 60 items in a slate; make shorter"
    ):
        build_bundle(wide)
    for text in ("name", "source"):
        with pytest.raises(HsrlError, match=f"^{text} of the log: got 'x.*expected a text of at most 1,000 characters"):
            build_bundle(replace(tiny_log, **{text: "x" * 1_001}))
    with pytest.raises(HsrlError, match="got a vocabulary of 5000, expected at most 4096 tokens a level"):
        with_codebook(tiny_bundle, 2, [8, 5000])
