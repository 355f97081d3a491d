"""Archives that are broken, or made to do harm."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from toy_source import TOY, Server, names, offer, refused, tar_of, zip_of

from hsrl_gym.data.fetch import fetch


@pytest.mark.parametrize("pack", [zip_of, tar_of])
@pytest.mark.parametrize("name", ["../a.dat", "/tmp/a.dat", "toy/../../a.dat", "..\\a.dat"])
def test_an_archive_that_points_outside_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, pack: Any, name: str
) -> None:
    content = pack(**{"a.dat": b"a", "b.dat": b"b", name: b"evil"})
    offer(monkeypatch, server.url, content)
    server.files["/toy.zip"] = content
    said = refused(downloads)
    assert "expected names inside the archive; it is not to be trusted and nothing of it was unpacked" in said
    assert names(downloads) == ["toy.zip"]
    assert names(downloads.parent) == ["cache"]


def test_links_in_an_archive_are_not_followed(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name in ("a.dat", "b.dat"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, str(secret)
            packed.addfile(entry)
    offer(monkeypatch, server.url, buffer.getvalue())
    server.files["/toy.zip"] = buffer.getvalue()
    assert "got [], expected a.dat, b.dat in it" in refused(downloads)
    assert names(downloads) == ["toy.zip"]


def test_tar_archives(server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    content = tar_of(**{"toy/data/a.dat": b"a", "toy/data/b.dat": b"b", "toy/._a.dat": b"", "toy/c.py": b""})
    offer(monkeypatch, server.url, content)
    server.files["/toy.zip"] = content
    assert names(fetch("toy", downloads, progress=False)) == ["SOURCE.txt", "a.dat", "b.dat"]


@pytest.mark.parametrize("content", [b"no archive at all", tar_of(**{"a.dat": b"a" * 90000})[:-30], TOY[:3000]])
def test_a_broken_archive_leaves_no_folder(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, content: bytes
) -> None:
    offer(monkeypatch, server.url, content, known=False)
    server.files["/toy.zip"] = content
    assert "cannot be unpacked" in refused(downloads)
    assert names(downloads) == ["toy.zip"]  # and no .sha256: a broken file is no measure
