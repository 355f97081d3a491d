"""Folders that appear whole or not at all: they are written aside, then renamed into place.

The place aside is a hidden folder `.NAME-xxxxxxxx` beside the target. A process holds a lock in it while it lives, so
the next process that writes there knows which of them nobody needs any more.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows: what a killed process left there is not swept
    fcntl = None  # type: ignore[assignment]

_NEW, _OLD, _LOCK = "new", "old", "lock"


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`, to be filled and handed to `put_in_place`; the rest is removed at the end.

    What killed processes left beside this target is removed first.

    Raises:
        OSError: if nothing can be written there.
    """
    target = _anchored(target)
    sweep(target)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    lock = None
    try:
        lock = _lock_own(work)
        new = work / _NEW
        new.mkdir(mode=0o755)
        new.chmod(0o755)
        yield new
    finally:
        try:
            _give_back(work, target)
            _remove(work)  # not reached if the old folder could not go back: then the next process puts it back
        finally:
            if lock is not None:
                os.close(lock)


def put_in_place(new: Path, target: Path) -> None:
    """Rename the folder of `work_folder` to `target`. A folder that is there goes, or comes back if that fails.

    Raises:
        OSError: if one of the two cannot be renamed.
    """
    target = _anchored(target)
    try:
        if os.path.lexists(target):
            target.rename(new.with_name(_OLD))
        new.rename(target)
    finally:
        _give_back(new.parent, target)


def try_renaming(new: Path, target: Path) -> None:
    """Rename as `put_in_place` does, and back: nothing has changed then.

    Raises:
        OSError: if that fails.
    """
    target = _anchored(target)
    if os.path.lexists(target):
        try:
            target.rename(new.with_name(_OLD))
        finally:
            _give_back(new.parent, target)
    else:
        try:
            new.rename(target)
        finally:
            if not new.exists():
                target.rename(new)


def sweep(target: Path) -> None:
    """Remove the work folders of killed processes beside `target`.

    A process that was killed between its two renames has left the old folder aside: it is put back. Folders of living
    processes, and folders that look alike, stay as they are.
    """
    target = _anchored(target)
    for work in _work_folders(target):
        lock = None if work.is_symlink() else _take(work / _LOCK)
        if lock is not None:
            try:
                _give_back(work, target)
                _remove(work)
            finally:
                os.close(lock)


def set_aside(target: Path) -> Path | None:
    """Return the old folder that a process left aside when it was killed between its two renames, if there is one."""
    old = (work / _OLD for work in _work_folders(_anchored(target)))
    return None if os.path.lexists(target) else next(filter(os.path.lexists, old), None)


def _work_folders(target: Path) -> list[Path]:
    pattern = re.compile(rf"\.{re.escape(target.name)}-[a-z0-9_]{{8}}")
    try:
        return [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]
    except OSError:  # a folder that may be written to, but not be listed
        return []


def _anchored(target: Path) -> Path:
    """Return the path without "..": a way that leads through the target itself would end when it is renamed."""
    return target.parent.resolve() / target.name


def _lock_own(work: Path) -> int | None:
    """Return the lock of a new work folder. Its file gets its name when it is held: a named one never waits for it."""
    if fcntl is None:
        return None
    unnamed = work / f"{_LOCK}-unnamed"
    lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # a file system without locks: the folder is never swept
        return lock
    os.rename(unnamed, work / _LOCK)
    return lock


def _take(path: Path) -> int | None:
    """Return the lock of a process that is gone; None if it lives, or it cannot be known."""
    if fcntl is None:
        return None
    try:
        lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _give_back(work: Path, target: Path) -> None:
    old = work / _OLD
    if os.path.lexists(old) and not os.path.lexists(target):
        old.rename(target)


def _remove(work: Path) -> None:
    """Remove a work folder, its lock last: who is killed here leaves one that can be swept."""
    for name in (_NEW, _OLD):
        path = work / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    shutil.rmtree(work, ignore_errors=True)
