"""Writing a bundle: a failed save leaves nothing half-written and loses no work, neither the old nor the new."""

from __future__ import annotations

import errno
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hsrl_gym.bundle.folder import Bundle, check_target, load_bundle, save_bundle
from hsrl_gym.cli import main
from hsrl_gym.errors import HsrlError

SRC = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def failing(step: str, call: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the n-th call of a function raise an error, after which it works again; return a list of the calls."""
    true_step, calls = pkgutil.resolve_name(step), []

    def interrupted(*arguments: Any, **settings: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise error
        return true_step(*arguments, **settings)

    monkeypatch.setattr(step, interrupted)
    return calls


def test_saving_replaces_a_bundle(tiny_bundle: Bundle, folder: Path) -> None:
    files = names(folder)
    (folder / "users_train.safetensors").write_bytes(b"broken")
    save_bundle(replace(tiny_bundle, name="other"), folder)
    assert load_bundle(folder).name == "other"
    assert names(folder) == files


def test_saving_makes_the_folders_on_the_way(tiny_bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c"
    assert save_bundle(tiny_bundle, str(target)) == target
    assert names(target.parent) == ["c"]


def test_an_empty_folder_may_be_filled(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert load_bundle(save_bundle(tiny_bundle, tmp_path / "empty")).name == "tiny"


def test_a_bundle_is_replaced_by_force_alone(tiny_bundle: Bundle, folder: Path) -> None:
    with pytest.raises(HsrlError, match="is a bundle already, expected a new folder; give another one, or --force"):
        check_target(folder)
    assert check_target(folder, force=True) == folder
    assert save_bundle(tiny_bundle, folder) == folder  # who calls this has decided


def test_a_folder_that_is_no_bundle_is_left_alone(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    for target in (tmp_path / "thesis", tmp_path / "file"):
        for attempt in (check_target, lambda target: save_bundle(tiny_bundle, target)):
            with pytest.raises(HsrlError, match="exists and is not a bundle, expected a new folder"):
                attempt(target)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "a file"
    assert names(tmp_path) == ["file", "thesis"]


# --- interrupted


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize(
    ("step", "call"),
    [
        ("safetensors.numpy.save", 1),
        ("hsrl_gym.bundle.manifest.hashes_of", 1),
        ("hsrl_gym.bundle.manifest.dump_yaml", 1),
        ("pathlib.Path.write_bytes", 1),
        ("pathlib.Path.write_bytes", 4),
        ("pathlib.Path.rename", 1),
        ("pathlib.Path.rename", 2),
    ],
)
def test_an_interruption_leaves_what_was_there(
    tiny_bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int, there_before: bool
) -> None:
    if step == "pathlib.Path.rename" and call == 2 and not there_before:
        return  # there is one rename only
    target = folder if there_before else folder.with_name("new")
    before = contents(folder)
    calls = failing(step, call, KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(replace(tiny_bundle, name="other"), target)
    assert len(calls) >= call
    assert names(folder.parent) == ["bundle"]
    assert contents(folder) == before


def test_an_interruption_after_the_rename_leaves_the_new_one(
    tiny_bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While old files are removed, there is a whole bundle all the same."""

    def interrupted(path: Path, *_: Any, **__: Any) -> None:
        next(found for found in Path(path).rglob("*") if found.is_file()).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(replace(tiny_bundle, name="other"), folder)
    monkeypatch.undo()
    assert load_bundle(folder).name == "other"
    assert len(names(folder.parent)) == 2  # and what is left of the old one
    save_bundle(tiny_bundle, folder)
    assert names(folder.parent) == ["bundle"]


def test_provenance_that_is_not_plain_leaves_nothing(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(yaml.YAMLError):
        save_bundle(replace(tiny_bundle, provenance={"seed": np.int64(3)}), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_loaded_is_not_saved(tiny_bundle: Bundle, tmp_path: Path) -> None:
    users = {
        name: replace(pool, slate=np.ones((len(pool), 1_001), "i4"), clicks=np.ones((len(pool), 1_001), "u1"))
        for name, pool in tiny_bundle.users.items()
    }
    for changes, message in (
        ({"name": "x" * 1_001}, r"^bundle\.yaml, name: got 'xx.*expected a text of at most 1,000 characters"),
        ({"provenance": {"seed": -1}}, "provenance, seed: got -1, expected a whole number from 0"),
        ({"provenance": {"x": 2**63}}, "it has a whole number beyond 2.63"),
        ({"users": users}, "got slates of 1,001 for 60 items, expected 1 to 60 items"),
    ):
        with pytest.raises(HsrlError, match=message):
            save_bundle(replace(tiny_bundle, **changes), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


# --- the work is not lost


@pytest.mark.parametrize(
    ("step", "call"),
    [
        ("pathlib.Path.write_bytes", 1),
        ("pathlib.Path.write_bytes", 7),
        ("pathlib.Path.rename", 1),
        ("pathlib.Path.rename", 2),
        ("tempfile.mkdtemp", 1),
        ("pathlib.Path.mkdir", 1),
    ],
)
def test_what_cannot_be_written_is_kept_elsewhere(
    tiny_bundle: Bundle, folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    before = contents(folder)
    failing(step, call, OSError(errno.ENOSPC, "No space left on device"), monkeypatch)
    with pytest.raises(HsrlError, match="No space left on device") as error:
        save_bundle(replace(tiny_bundle, name="other"), folder)
    monkeypatch.undo()
    assert contents(folder) == before
    assert names(folder.parent) == ["bundle"]
    found = re.search(r"the bundle is in (\S+) instead: move it", str(error.value))
    assert found is not None
    assert Path(found[1]).parent.parent == temporary
    assert load_bundle(found[1]).name == "other"


def test_nowhere_to_write(
    tiny_bundle: Bundle, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(HsrlError, match=r"No space left on device\), and neither can a folder for temporary files"):
        save_bundle(tiny_bundle, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_an_old_bundle_that_cannot_go_back_is_not_deleted(
    tiny_bundle: Bundle, folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_rename, calls = Path.rename, 0

    def rename(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls > 1 and temporary not in self.parents:
            raise OSError(errno.EIO, "Input/output error")
        return true_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(HsrlError, match="Input/output error"):
        save_bundle(replace(tiny_bundle, name="other"), folder)
    monkeypatch.undo()
    assert not folder.exists()  # it stands aside
    check_target(folder, force=True)  # any next command puts it back
    assert load_bundle(folder).name == "tiny"
    assert names(folder.parent) == ["bundle"]


# --- tried before the work


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1.5 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_place_that_works_is_left_as_it_was(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    assert check_target(folder, force=True) == folder
    assert contents(folder) == before
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty", force=True)
    check_target(tmp_path / "deep" / "new", force=True)
    assert names(tmp_path) == ["bundle", "deep", "empty"]
    assert names(tmp_path / "empty") == names(tmp_path / "deep") == []


def test_a_full_disk_is_found_before_the_work(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small_disk / "data").write_bytes(bytes(2**20))
    assert main(["build", "synthetic", "--slates", "10", "--out", str(small_disk / "new")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    expected = f"hsrl-gym: {small_disk / 'new'}: cannot be written or replaced (No space left on device); give another."
    assert said.err.splitlines() == [expected]
    assert names(small_disk) == ["data"]


def test_a_disk_that_gets_full_later(tiny_bundle: Bundle, small_disk: Path, temporary: Path) -> None:
    check_target(small_disk / "new", force=True)
    (small_disk / "data").write_bytes(bytes(3 * 2**19 - 2**16))
    with pytest.raises(HsrlError, match=r"No space left on device.*; the bundle is in .* instead"):
        save_bundle(tiny_bundle, small_disk / "new")
    assert names(small_disk) == ["data"]
    assert load_bundle(next(temporary.glob("*/new"))).name == "tiny"


def test_a_mount_point_is_found_before_the_work(tiny_bundle: Bundle, small_disk: Path, temporary: Path) -> None:
    message = r"cannot be written or replaced \(Device or resource busy\); it is a mount point or in use: give a folder"
    with pytest.raises(HsrlError, match=message):
        check_target(small_disk, force=True)
    with pytest.raises(HsrlError, match=r"\(Device or resource busy\); the bundle is in .* instead"):
        save_bundle(tiny_bundle, small_disk)
    assert names(small_disk.parent) == ["disk"]
    assert names(small_disk) == []


def test_a_read_only_place_is_found_before_the_work(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for target in (small_disk / "new", small_disk / "deep" / "new"):
        with pytest.raises(HsrlError, match=r"cannot be written or replaced \(.*Read-only file system\); give another"):
            check_target(target, force=True)


@pytest.mark.parametrize("step", ["tempfile.mkdtemp", "pathlib.Path.rename", "os.fsync"])
@pytest.mark.parametrize("there_before", [False, True])
def test_whatever_fails_in_the_try_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str, there_before: bool
) -> None:
    before = contents(folder)
    failing(step, 1, PermissionError(errno.EACCES, "Permission denied"), monkeypatch)
    with pytest.raises(HsrlError, match=r"cannot be written or replaced \(Permission denied\); give another\."):
        check_target(folder if there_before else folder.with_name("new"), force=True)
    assert names(folder.parent) == ["bundle"]
    assert contents(folder) == before


def test_a_way_through_the_target_itself(tiny_bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, around = contents(folder), folder / ".." / "bundle"
    assert check_target(around, force=True) == around
    assert contents(folder) == before
    save_bundle(replace(tiny_bundle, name="other"), around)
    assert load_bundle(folder).name == "other"
    assert names(folder.parent) == ["bundle"]
    monkeypatch.chdir(folder)
    check_target(".", force=True)
    with pytest.raises(HsrlError):
        check_target("..", force=True)
    assert load_bundle(folder).name == "other"
    assert names(folder.parent) == ["bundle"]


def test_a_file_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HsrlError, match=r"file: File exists\)"):
        check_target(tmp_path / "file" / "new", force=True)
    with pytest.raises(HsrlError, match="File name too long"):
        check_target(tmp_path / ("x" * 300), force=True)


# --- killed

# Each child saves a bundle over another and is killed at its n-th call of a function.
KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from hsrl_gym.bundle.folder import load_bundle, save_bundle

folder, *others = map(Path, sys.argv[1:])
bundle = replace(load_bundle(folder), name="other")
for target, (step, call) in zip(others, (("write_bytes", 3), ("rename", 1), ("rename", 2)), strict=True):
    child = os.fork()
    if child == 0:
        true_step, calls = getattr(Path, step), []

        def killed(*arguments):
            calls.append(1)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return true_step(*arguments)

        setattr(Path, step, killed)
        save_bundle(bundle, target)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_what_a_killed_save_leaves_is_swept_by_the_next(tiny_bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    targets = [Path(shutil.copytree(folder, tmp_path / name)) for name in ("writing", "first", "second")]
    command = [sys.executable, "-c", KILLED, str(folder), *map(str, targets)]
    settings = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=settings)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * 3, done.stderr
    hidden = {path.name[: path.name.rindex("-")] for path in tmp_path.glob(".*")}
    assert hidden == {".writing", ".first", ".second"}
    assert [target.exists() for target in targets] == [True, True, False]  # killed between the two renames
    with pytest.raises(HsrlError, match=r"second: a save was stopped and left .*/\.second-\w{8}/old; rename"):
        load_bundle(targets[2])
    for target in targets:
        with pytest.raises(HsrlError, match="is a bundle already"):
            check_target(target)
        assert load_bundle(target).name == "tiny"
    assert names(tmp_path) == ["bundle", "first", "second", "writing"]
