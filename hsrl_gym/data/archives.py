"""The files in a zip or tar archive, which may come from an untrusted place."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from hsrl_gym.errors import HsrlError


def entries(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Yield the name of each regular file in a zip or tar archive and a function that opens it.

    Raises:
        HsrlError: if a name points outside the archive. Such an archive is malicious; no file of it is used.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                _check_name(archive, entry.filename)
                if not entry.is_dir():
                    yield entry.filename, partial(packed.open, entry)
    else:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                _check_name(archive, member.name)
                if member.isfile():
                    yield member.name, partial(_open_member, tar, member)


def _open_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise tarfile.ReadError(f"{member.name} is no regular file")
    return file


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise HsrlError(
            f"{archive}: got an entry {name!r}, expected names inside the archive; it is not to be trusted and "
            "nothing of it was unpacked: remove it."
        )
