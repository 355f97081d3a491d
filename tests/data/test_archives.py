"""Archives that are broken, or made to do harm."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_source import TOY, Server, closed_port, names, offer, refused, tar_of, zip_of

from hsrl_gym.data.fetch import fetch
from hsrl_gym.data.sources import DATASETS
from hsrl_gym.errors import HsrlError


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


# --- damaged


def packed_with_gzip(rng: np.random.Generator) -> bytes:
    """A tar.gz of text, as logs are."""
    lines = [f"{user}\t{item}\t{rating}\n" for user, item, rating in rng.integers(1, 1000, (4000, 3))]
    return tar_of(**{"a.dat": "".join(lines).encode(), "b.dat": b"b" * 3000, "README": b"read me"})


def flipped(content: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << bit
    return bytes(changed)


def found_damaged(downloads: Path) -> bool:
    try:
        fetch("toy", downloads, progress=False)
    except HsrlError as error:
        return str(downloads / "toy.zip") in str(error)
    return False


@pytest.mark.parametrize("kind", ["tar.gz", "random tar.gz", "zip"])
def test_every_flipped_bit_is_found(monkeypatch: pytest.MonkeyPatch, downloads: Path, kind: str) -> None:
    """60 positions spread over the file; what unpacks all the same has its right content."""
    rng = np.random.default_rng(0)
    if kind == "zip":
        content = zip_of(zipfile.ZIP_DEFLATED, **{"a.dat": rng.bytes(50_000), "b.dat": b"b" * 3000})
    else:
        content = packed_with_gzip(rng) if kind == "tar.gz" else tar_of(**{"a.dat": rng.bytes(50_000), "b.dat": b"b"})
    offer(monkeypatch, closed_port(), content, known=False)
    downloads.mkdir()
    archive, pin = downloads / "toy.zip", downloads / "toy.zip.sha256"
    archive.write_bytes(content)
    true = {path.name: path.read_bytes() for path in fetch("toy", downloads, progress=False).glob("*.dat")}
    n_found = 0
    for position in np.linspace(10, len(content) - 1, 60).astype(int):  # behind the date in gzip's header
        shutil.rmtree(downloads / "toy", ignore_errors=True)
        pin.unlink(missing_ok=True)
        archive.write_bytes(flipped(content, int(position), int(rng.integers(8))))
        if found_damaged(downloads):
            assert names(downloads) == ["toy.zip"]  # no folder, and no damaged file is a measure
            n_found += 1
        else:
            assert {path.name: path.read_bytes() for path in (downloads / "toy").glob("*.dat")} == true
    assert n_found == 60 if kind != "zip" else n_found >= 55  # a zip has dates and rights in each entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content + b"garbage", "BadGzipFile"),
        (lambda content: content[:-4], "EOFError"),
        (lambda content: content[: len(content) // 2], "EOFError"),
        (lambda content: content[:-8] + bytes(8), "CRC check failed"),
        (lambda content: gzip.compress(gzip.decompress(content)[: 512 + 100]), "unexpected end of data"),
        (lambda content: gzip.compress(b"\x00" * 5000), r"got \[\], expected"),
    ],
)
def test_an_end_that_is_not_right(
    monkeypatch: pytest.MonkeyPatch, downloads: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    content = change(tar_of(**{"a.dat": b"a" * 3000, "b.dat": b"b"}))
    offer(monkeypatch, closed_port(), content, known=False)
    downloads.mkdir()
    (downloads / "toy.zip").write_bytes(content)
    assert re.search(message, refused(downloads))
    assert names(downloads) == ["toy.zip"]


# --- odd


def encrypted() -> bytes:
    """A zip whose entries say that they need a password."""
    content = bytearray(zip_of(**{"a.dat": b"a", "b.dat": b"b"}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(signature, at + 1)
    return bytes(content)


def with_method(method: int, data: bytes = b"") -> bytes:
    """A zip whose entries say that they were packed by that method."""
    content = bytearray(zip_of(**{"a.dat": data or b"a" * 100, "b.dat": b"b"}))
    for signature, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = content.find(signature)
        while at >= 0:
            content[at + place] = method
            at = content.find(signature, at + 1)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encrypted(), "password required"),
        (with_method(6), "NotImplementedError"),  # implode
        (with_method(8), "error: Error -3"),  # deflate
        (with_method(12), "Invalid data stream"),  # bzip2
        (with_method(14, b"\x09\x04\x05\x00\x5d\x00\x00\x80\x00" + b"\xff" * 200), "LZMAError"),
        (b"PK\x05\x06" + bytes(18), r"got \[\], expected a.dat, b.dat"),  # an empty zip
        (zip_of(**{"a.dat": b"a", "b.dat": b"b"})[30:], "Invalid argument"),  # its offsets lead in front of it
        (b"\x1f\x8b", "EOFError"),
        (b"", "EOFError|ReadError"),
    ],
)
def test_an_odd_archive_is_one_line(
    monkeypatch: pytest.MonkeyPatch, downloads: Path, content: bytes, message: str
) -> None:
    offer(monkeypatch, closed_port(), content)
    downloads.mkdir()
    (downloads / "toy.zip").write_bytes(content)
    said = refused(downloads)
    assert re.search(message, said), said
    assert names(downloads) == ["toy.zip"]


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_two_files_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch, downloads: Path, pack: Any) -> None:
    content = pack(**{"x/a.dat": b"a", "y/a.dat": b"other", "b.dat": b"b"})
    offer(monkeypatch, closed_port(), content)
    downloads.mkdir()
    (downloads / "toy.zip").write_bytes(content)
    assert "got two files a.dat, expected one; it is no copy of The toy data" in refused(downloads)
    assert names(downloads) == ["toy.zip"]


def test_the_first_readme_is_taken(monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    content = zip_of(**{"a.dat": b"a", "README": b"data", "b.dat": b"b", "code/README": b"code"})
    offer(monkeypatch, closed_port(), content)
    downloads.mkdir()
    (downloads / "toy.zip").write_bytes(content)
    assert (fetch("toy", downloads, progress=False) / "README").read_bytes() == b"data"


# --- bombs


def sparse(size: int) -> bytes:
    """A tar.gz with a file that has `size` bytes, of which the archive has none."""
    entry = tarfile.TarInfo("a.dat")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\x00" % size  # the real size of a sparse file
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\x00 " % sum(header)
    return gzip.compress(bytes(header) + bytes(1024))


def large_header(size: int) -> bytes:
    """A tar.gz whose extended header claims `size` bytes."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, size
    return gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(2**20))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zip_of(zipfile.ZIP_DEFLATED, **{"a.dat": bytes(2**22), "b.dat": b"b"}), "got more than 1,048,576 bytes"),
        (zip_of(zipfile.ZIP_DEFLATED, **{f"{n}": bytes(2**16) for n in range(20)}), "got more than 1,048,576 bytes"),
        (tar_of(**{"a.dat": bytes(2**22), "b.dat": b"b"}), "got more than 1,048,576 bytes"),
        (tar_of(**{"other": bytes(2**22), "b.dat": b"b"}), "got more than 1,048,576 bytes"),
        (gzip.compress(gzip.decompress(tar_of(**{"a.dat": b"a", "b.dat": b"b"})) + bytes(2**26)), "got more than"),
        (sparse(2**33 - 1), "got more than 1,048,576 bytes"),
        (large_header(2**30), "a header of an impossible size"),
    ],
)
def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch, downloads: Path, content: bytes, message: str) -> None:
    source = offer(monkeypatch, closed_port(), content)
    monkeypatch.setitem(DATASETS, "toy", replace(source, most=2**20))
    downloads.mkdir()
    (downloads / "toy.zip").write_bytes(content)
    assert message in refused(downloads)
    assert names(downloads) == ["toy.zip"]


def test_too_many_entries(monkeypatch: pytest.MonkeyPatch, downloads: Path) -> None:
    monkeypatch.setattr("hsrl_gym.data.archives._MOST_ENTRIES", 3)
    for pack in (zip_of, tar_of):
        content = pack(**{"a.dat": b"a", "b.dat": b"b", "c": b"", "d": b""})
        offer(monkeypatch, closed_port(), content)
        downloads.mkdir(exist_ok=True)
        (downloads / "toy.zip").write_bytes(content)
        assert "or 3 files in it" in refused(downloads)
