"""Fetching, from a real HTTP server on this machine that knows ranges and notes what it was asked for."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_source import TOY, Server, closed_port, names, offer, refused, zip_of

from hsrl_gym.data.fetch import cache_folder, fetch
from hsrl_gym.data.movielens import load_movielens
from hsrl_gym.data.sources import DATASETS, Wheel
from hsrl_gym.errors import HsrlError


def test_fresh_download(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"] = TOY
    folder = fetch("toy", str(downloads), progress=True)
    assert folder == downloads / "toy"
    assert names(folder) == ["README", "SOURCE.txt", "a.dat", "b.dat"]
    assert (folder / "a.dat").read_bytes() == b"a" * 5000
    assert names(downloads) == ["toy", "toy.zip"]
    said = capsys.readouterr()
    assert said.out == ""
    assert "licence: Free for toys." in said.err
    assert "please cite: A. Toy. 2020." in said.err
    assert f"downloading {source.url} to {downloads / 'toy.zip'}" in said.err
    assert "toy.zip: done in" in said.err
    origin = (folder / "SOURCE.txt").read_text()
    assert f"from: {source.url}, {source.known_hash}" in origin
    assert "licence: Free for toys.\nplease cite: A. Toy. 2020." in origin


def test_a_second_call_asks_nobody(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"] = TOY
    folder = fetch("toy", downloads, progress=False)
    before = (folder / "a.dat").stat().st_mtime_ns
    assert "%" not in capsys.readouterr().err  # no progress bar
    assert fetch("toy", downloads) == folder
    assert (folder / "a.dat").stat().st_mtime_ns == before
    assert len(server.asked) == 1
    assert capsys.readouterr().err == ""


def test_a_wrong_hash_leaves_nothing(server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"] = TOY[:-1] + b"!"
    said = refused(downloads)
    assert "The toy data: the download is not the expected file" in said
    assert hashlib.sha256(TOY).hexdigest() in said
    assert names(downloads) == []


@pytest.mark.parametrize("down", [True, False])
def test_a_source_that_cannot_be_had_tells_the_way_by_hand(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, down: bool
) -> None:
    source = offer(monkeypatch, closed_port() if down else server.url, TOY)
    said = refused(downloads)
    assert ("ConnectionError" if down else "the server answered 404") in said
    assert (
        f"By hand: open {source.url} in a browser, save the file as {downloads / 'toy.zip'}, and run the same" in said
    )
    assert names(downloads) == []
    (downloads / "toy.zip").write_bytes(TOY)  # as told
    assert names(fetch("toy", downloads)) == ["README", "SOURCE.txt", "a.dat", "b.dat"]


def test_a_wrong_file_put_there_by_hand_is_refused_and_kept(monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, closed_port(), TOY)
    downloads.mkdir()
    (downloads / "toy.zip").write_bytes(b"not it")
    said = refused(downloads)
    assert f"{downloads / 'toy.zip'}: got sha256:{hashlib.sha256(b'not it').hexdigest()}, expected sha256:" in said
    assert names(downloads) == ["toy.zip"]


def test_without_a_published_hash_the_first_copy_is_the_measure(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, server.url, TOY, known=False)
    server.files["/toy.zip"] = TOY
    folder = fetch("toy", downloads, progress=False)
    digest = hashlib.sha256(TOY).hexdigest()
    assert (downloads / "toy.zip.sha256").read_text() == f"{digest}  toy.zip\n"
    assert f"its sha256:{digest} is now in {downloads / 'toy.zip.sha256'}" in capsys.readouterr().err
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    (downloads / "toy.zip").write_bytes(zip_of(**{"a.dat": b"other", "b.dat": b"other"}))
    assert f"expected sha256:{digest}; remove it" in refused(downloads)
    (downloads / "toy.zip").unlink()
    fetch("toy", downloads, progress=False)
    assert len(server.asked) == 2


@pytest.mark.parametrize("odd", [b"", b"\n", b"abc  toy.zip\n", b"\xff\xfe", b"0" * 65])
def test_a_hash_file_without_a_hash_is_made_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, odd: bytes
) -> None:
    offer(monkeypatch, server.url, TOY, known=False)
    server.files["/toy.zip"] = TOY
    downloads.mkdir()
    (downloads / "toy.zip.sha256").write_bytes(odd)
    fetch("toy", downloads, progress=False)
    assert (downloads / "toy.zip.sha256").read_text() == f"{hashlib.sha256(TOY).hexdigest()}  toy.zip\n"
    assert names(downloads) == ["toy", "toy.zip", "toy.zip.sha256"]


@pytest.mark.parametrize("says", [True, False])
def test_a_download_that_is_too_large_is_broken_off(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, says: bool
) -> None:
    source = offer(monkeypatch, server.url, TOY)
    monkeypatch.setitem(DATASETS, "toy", replace(source, most=len(TOY) - 1))
    server.files["/toy.zip"] = TOY
    server.says_length = says
    assert f"cannot be had (the file has more than {len(TOY) - 1:,} bytes). By hand:" in refused(downloads)
    assert names(downloads) == []
    monkeypatch.setitem(DATASETS, "toy", replace(source, most=len(TOY)))
    fetch("toy", downloads, progress=False)


def test_what_a_killed_fetch_left_is_swept(server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"] = TOY
    left = downloads / ".toy-abcd_123"
    (left / "new").mkdir(parents=True)
    (left / "new" / "a.dat").write_text("half")
    (left / "lock").write_text("")  # nobody holds it
    fetch("toy", downloads, progress=False)
    assert names(downloads) == ["toy", "toy.zip"]


def test_a_disk_that_is_full(server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"] = TOY

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    assert "toy.zip: cannot be unpacked (No space left on device); is there room" in refused(downloads)
    assert names(downloads) == ["toy.zip"]


def test_a_folder_that_lacks_files(monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, closed_port(), TOY)
    (downloads / "toy").mkdir(parents=True)
    (downloads / "toy" / "a.dat").write_text("mine")
    assert "got a folder without a.dat, b.dat; remove the folder and run the same command again" in refused(downloads)
    assert (downloads / "toy" / "a.dat").read_text() == "mine"


def test_another_process_that_was_faster(server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"] = TOY
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        target.mkdir()
        for name in ("a.dat", "b.dat"):
            (target / name).write_text("theirs")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    assert (fetch("toy", downloads, progress=False) / "a.dat").read_text() == "theirs"
    assert names(downloads) == ["toy", "toy.zip"]


def test_unknown_names_and_bad_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HsrlError, match="unknown data set 'ml100'; did you mean ml100k"):
        fetch("ml100", tmp_path)
    offer(monkeypatch, closed_port(), TOY)
    (tmp_path / "file").write_text("")
    assert "set HSRL_DATA to a folder for data" in refused(tmp_path / "file" / "cache")


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HSRL_DATA", raising=False)
    assert cache_folder().name == "hsrl_gym"
    monkeypatch.setenv("HSRL_DATA", str(tmp_path / "data"))
    assert cache_folder() == tmp_path / "data"
    assert cache_folder(tmp_path / "other") == tmp_path / "other"


def test_the_package_is_the_second_source(
    monkeypatch: pytest.MonkeyPatch, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = zip_of(**{"pkg/toy/a.dat": b"a", "pkg/toy/b.dat": b"b", "pkg/a.dat": b"wrong", "other/b.dat": b"wrong"})
    wheel = Wheel("pkg==1.0", hashlib.sha256(content).hexdigest(), "pkg/toy/")
    source = offer(monkeypatch, closed_port(), TOY, wheel=wheel)
    commands = []

    def download(command: list[str], **_: Any) -> None:
        commands.append(command)
        (Path(command[command.index("--dest") + 1]) / "pkg-1.0-py3-none-any.whl").write_bytes(content)

    monkeypatch.setattr(subprocess, "run", download)
    folder = fetch("toy", downloads, progress=False)
    assert [(folder / name).read_bytes() for name in ("a.dat", "b.dat")] == [b"a", b"b"]
    assert names(downloads) == ["toy"]
    assert commands[0][1:4] == ["-m", "pip", "download"]
    assert commands[0][-1] == "pkg==1.0"
    said = capsys.readouterr().err
    assert f"{source.url} cannot be had (ConnectionError): taking the copy in the Python package pkg==1.0." in said
    assert f"the wheel of pkg==1.0, sha256:{wheel.sha256}" in (folder / "SOURCE.txt").read_text()


def test_a_package_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, closed_port(), TOY, wheel=Wheel("pkg==1.0", "0" * 64, "pkg/"))

    def download(command: list[str], **_: Any) -> None:
        (Path(command[command.index("--dest") + 1]) / "pkg.whl").write_bytes(TOY)

    monkeypatch.setattr(subprocess, "run", download)
    said = refused(downloads)
    assert f"pip got {hashlib.sha256(TOY).hexdigest()} for pkg==1.0, expected sha256 {'0' * 64}. By hand:" in said
    assert names(downloads) == []


def test_neither_source(monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, closed_port(), TOY, wheel=Wheel("pkg==1.0", "0" * 64, "pkg/"))

    def fail(command: list[str], **_: Any) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="looking\nERROR: no such package\n")

    monkeypatch.setattr(subprocess, "run", fail)
    said = refused(downloads)
    assert "nor the package pkg==1.0 can be had (ERROR: no such package). By hand: open http://127.0.0.1" in said
    assert names(downloads) == []


def test_movielens_100k_from_the_package_index(monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    source = replace(DATASETS["ml100k"], url=f"{closed_port()}/ml-100k.zip")  # so that the package is asked everywhere
    monkeypatch.setitem(DATASETS, "ml100k", source)
    try:
        folder = fetch("ml100k", downloads, progress=False)
    except HsrlError as error:
        if "nor the package" in str(error):
            pytest.skip(f"no package index can be reached: {error}")
        raise
    log = load_movielens(folder)
    ratings = (folder / "ml-100k.inter").read_text().splitlines()[1:]
    assert len(ratings) == 100_000
    assert len({line.split("\t")[0] for line in ratings}) == 943
    assert log.n_items == 1682
    assert len(log) == 9_596
    assert len(set(log.user.tolist())) == 943
    assert log.item_features.shape == (1683, 19 + 2)
    assert log.item_labels[1] == "Toy Story (1995)"
    assert log.item_labels[543] == "Misérables, Les (1995)"
    assert log.item_labels[1412].endswith("(1995)")  # its year is "V" in the package
    assert log.item_features[:, -1].sum() == 1  # movie 267 has neither title nor year
    # The first line of the log's earliest slate, found in the file itself.
    earliest = min(int(line.split("\t")[3]) for line in ratings)
    assert log.time[0] == earliest
    likes = sum(float(line.split("\t")[2]) > 3 for line in ratings) / len(ratings)
    assert log.clicks.mean() == pytest.approx(likes, abs=0.005)
