"""Downloads that resume after an interruption."""

from __future__ import annotations

import os
from pathlib import Path

import requests

from hsrl_gym.progress import progress_bar

CONNECT_SECONDS = 5
READ_SECONDS = 60
_CHUNK = 1 << 16  # bytes; at most this much is lost when a connection breaks


class DownloadFailed(Exception):
    """A download that failed; the message gives the reason in a few words."""


class ResumingDownloader:
    """A downloader for pooch that resumes a partial file where the server allows it.

    Args:
        part: file with the bytes received so far; it survives an interruption.
        progress: whether to show a progress bar.
        most: bytes of the largest file to take; a larger one is broken off, and nothing of it is kept.
    """

    def __init__(self, part: Path, progress: bool, most: int) -> None:
        self.part = part
        self.progress = progress
        self.most = most

    def __call__(self, url: str, output_file: str, _: object) -> None:
        """Download `url` to `output_file`.

        Raises:
            DownloadFailed: if the server cannot be reached, refuses, or stops before the end.
        """
        try:
            self._download(url)
        except OSError as error:  # all errors of requests are OSErrors
            raise DownloadFailed(f"{error.strerror or type(error).__name__}{self._kept()}") from error
        os.replace(self.part, output_file)

    def _kept(self) -> str:
        return f"; {self._size()} bytes are kept, and the same command resumes there" if self._size() else ""

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _download(self, url: str) -> None:
        start = self._size()
        # With compression, ranges and lengths would not be those of the file.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable and start:
                if response.headers.get("Content-Range") == f"bytes */{start}":
                    return  # the partial file is the whole file
                self.part.unlink()
                self._download(url)
                return
            if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
                raise DownloadFailed(f"the server answered {response.status_code}")
            resumed = response.status_code == requests.codes.partial_content
            self._save(response, start if resumed else 0)

    def _save(self, response: requests.Response, start: int) -> None:
        """Append the body to the first `start` bytes of the partial file."""
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        self._check_size(total or start)
        size = start
        with (
            self.part.open("ab" if start else "wb") as file,
            progress_bar(self.part.stem, total, self.progress, initial=start, unit="B", unit_scale=True) as bar,
        ):
            for chunk in response.iter_content(_CHUNK):
                size += len(chunk)
                self._check_size(size)
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and self._size() != total:
            raise DownloadFailed(f"the connection ended before byte {total}{self._kept()}")

    def _check_size(self, size: int) -> None:
        if size > self.most:
            self.part.unlink(missing_ok=True)
            raise DownloadFailed(f"the file has more than {self.most:,} bytes")
