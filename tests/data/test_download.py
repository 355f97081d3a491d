"""Downloads that broke off, from a real HTTP server that knows ranges."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_source import TOY, Server, names, offer, refused

from hsrl_gym.data import download
from hsrl_gym.data.fetch import fetch


def test_a_partial_file_is_gone_on_from(server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"] = TOY
    downloads.mkdir()
    (downloads / "toy.zip.part").write_bytes(TOY[:1000])
    fetch("toy", downloads, progress=False)
    assert server.asked == [("/toy.zip", "bytes=1000-")]
    assert names(downloads) == ["toy", "toy.zip"]


def test_an_interrupted_download_is_kept_and_gone_on_from(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path
) -> None:
    offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"] = TOY
    server.stop_after = 750
    monkeypatch.setattr(download, "_CHUNK", 100)  # the broken chunk is lost
    said = refused(downloads)
    assert "700 bytes are kept, and the same command resumes there" in said
    assert names(downloads) == ["toy.zip.part"]
    server.stop_after = -1
    fetch("toy", downloads, progress=False)
    assert [wanted for _, wanted in server.asked] == ["", "bytes=700-"]


def test_a_server_without_ranges_starts_anew(server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"], server.ranges = TOY, False
    downloads.mkdir()
    (downloads / "toy.zip.part").write_bytes(b"x" * 300)
    assert (fetch("toy", downloads, progress=False) / "b.dat").read_bytes() == b"b"


@pytest.mark.parametrize(("part", "n_requests"), [(TOY, 1), (TOY + b"more", 2)])
def test_a_partial_file_that_is_whole_or_too_long(
    server: Server, monkeypatch: pytest.MonkeyPatch, downloads: Path, part: bytes, n_requests: int
) -> None:
    offer(monkeypatch, server.url, TOY)
    server.files["/toy.zip"] = TOY
    downloads.mkdir()
    (downloads / "toy.zip.part").write_bytes(part)
    fetch("toy", downloads, progress=False)
    assert len(server.asked) == n_requests
    assert (downloads / "toy.zip").read_bytes() == TOY
