"""The files in a zip or tar archive, which may be damaged, or come from an untrusted place."""

from __future__ import annotations

import errno
import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from hsrl_gym.errors import HsrlError, shown

_MOST_ENTRIES = 100_000
_CHUNK = 2**20  # bytes
_LARGEST_PIECE = 2**24  # bytes read at once: tarfile reads a header whole, whatever size it claims


def unpack(archive: Path, most: int, place: Callable[[str], Path | None]) -> None:
    """Read a zip or tar.gz archive to its end, where its checksums are compared, and write its files.

    Args:
        archive: the file.
        most: bytes that its files may have together.
        place: from the name of a regular file to where its content goes; None for a file that is not needed.

    Raises:
        HsrlError: if a name points outside the archive (it is malicious then), if the files are larger than `most`, or
            for content that cannot be read.
        OSError: for files that cannot be written.
    """
    try:
        for name, content in _zipped(archive, most) if zipfile.is_zipfile(archive) else _tarred(archive, most):
            target = place(name)
            if target is not None:
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file, _CHUNK)
    except HsrlError:
        raise
    except Exception as error:  # the readers raise a dozen kinds for bytes that were changed
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # the disk's, not the reader's
            raise
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise HsrlError(
            f"{archive}: cannot be unpacked ({said[:200]}); it is damaged or encrypted: remove the file and run the "
            "same command again."
        ) from error


def _zipped(archive: Path, most: int) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as packed:
        size = 0
        for number, entry in enumerate(packed.infolist()):
            size += entry.file_size  # more than that is never read of it
            _check(archive, entry.filename, number, size, most)
            if not entry.is_dir():
                with packed.open(entry) as content:
                    yield entry.filename, content
                    _read_on(content)


def _tarred(archive: Path, most: int) -> Iterator[tuple[str, IO[bytes]]]:
    with _LimitedGzip(archive, most) as unpacked:
        with tarfile.open(fileobj=unpacked, mode="r:") as tar:
            size = 0
            for number, member in enumerate(tar):
                size += member.size  # of a sparse file, that is more than the archive has
                _check(archive, member.name, number, size, most)
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield member.name, content
        _read_on(unpacked)  # tarfile stops at the end mark; the checksum is behind it


class _LimitedGzip(gzip.GzipFile):
    """A gzip stream that gives an error where it gets too long."""

    def __init__(self, archive: Path, most: int) -> None:
        super().__init__(archive, "rb")
        self.archive, self.most = archive, 2 * most + _LARGEST_PIECE  # headers and padding come with the files

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        if size is None or not 0 <= size <= _LARGEST_PIECE:
            raise tarfile.ReadError("a header of an impossible size")
        if self.tell() > self.most:
            raise _too_large(self.archive, self.most)
        return super().read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position."""
        if offset > self.most:
            raise _too_large(self.archive, self.most)
        return super().seek(offset, whence)


def _read_on(content: IO[bytes] | gzip.GzipFile) -> None:
    """Read to the end, where the checksum is compared."""
    while content.read(_CHUNK):
        pass


def _check(archive: Path, name: str, number: int, size: int, most: int) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise HsrlError(
            f"{archive}: got an entry {shown(name)}, expected names inside the archive; it is not to be trusted and "
            "nothing of it was unpacked: remove it."
        )
    if size > most or number >= _MOST_ENTRIES:
        raise _too_large(archive, most)


def _too_large(archive: Path, most: int) -> HsrlError:
    return HsrlError(
        f"{archive}: got more than {most:,} bytes or {_MOST_ENTRIES:,} files in it, which is more than the data set "
        "has; it is not to be trusted: remove it."
    )
