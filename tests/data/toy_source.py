"""A data set that is fetched from a real HTTP server on this machine, which notes what it was asked for."""

from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hsrl_gym.data.fetch import fetch
from hsrl_gym.data.sources import DATASETS, DataSource, Wheel
from hsrl_gym.errors import HsrlError


@dataclass
class Server:
    """What the server has and how it behaves.

    Attributes:
        files: bytes by path.
        asked: path and Range header ("" if none) of each request.
        ranges: whether it can start in the middle.
        stop_after: number of bytes after which it breaks off an answer; -1 for never.
        says_length: whether it says how long an answer is.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    ranges: bool = True
    stop_after: int = -1
    says_length: bool = True


@contextmanager
def serving() -> Iterator[Server]:
    """Serve until the end of the block."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append((self.path, wanted))
            if self.path not in state.files:
                self.send_error(404)
                return
            content = state.files[self.path]
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if state.says_length:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content) if state.stop_after < 0 else start + state.stop_after
            self.wfile.write(content[start:end])
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}"
        yield state
        http.shutdown()
        thread.join()


def closed_port() -> str:
    """Return the address of a server that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def zip_of(method: int = zipfile.ZIP_STORED, /, **files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def tar_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


TOY = zip_of(**{"toy/a.dat": b"a" * 5000, "toy/b.dat": b"b", "toy/README": b"read me", "toy/more.dat": b"no"})


def offer(
    monkeypatch: pytest.MonkeyPatch, url: str, content: bytes, known: bool = True, wheel: Wheel | None = None
) -> DataSource:
    """Make "toy" a data set that comes from `url`."""
    source = DataSource(
        title="The toy data",
        url=f"{url}/toy.zip",
        archive="toy.zip",
        known_hash=f"sha256:{hashlib.sha256(content).hexdigest()}" if known else None,
        files=(("a.dat", "b.dat"),),
        licence="Free for toys.",
        citation="A. Toy. 2020.",
        wheel=wheel,
    )
    monkeypatch.setitem(DATASETS, "toy", source)
    return source


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(downloads: Path) -> str:
    with pytest.raises(HsrlError) as error:
        fetch("toy", downloads, progress=False)
    assert "\n" not in str(error.value)
    return str(error.value)
