"""Fetch public data sets into a cache folder: download with resume, check the hash, unpack, tell the licence.

Nothing half-done is ever in place: a download is `NAME.part` until its hash is right, and the files are unpacked beside
the folder that they will be in.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

import pooch
import requests
from tqdm import tqdm

from hsrl_gym.errors import HsrlError, unknown_name

CONNECT_SECONDS = 5
READ_SECONDS = 60
PIP_SECONDS = 300
_CHUNK = 1 << 16  # bytes; when a connection breaks, at most this much of what came is lost

_MOVIELENS_LICENCE = (
    "GroupLens usage licence: for research; no redistribution and no commercial use without permission; acknowledge "
    "the data in publications; state no endorsement by the University of Minnesota."
)
_MOVIELENS_CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM Transactions on "
    "Interactive Intelligent Systems 5, 4, Article 19. https://doi.org/10.1145/2827872"
)


@dataclass(frozen=True)
class Wheel:
    """A Python package that carries a copy of a data set.

    Attributes:
        requirement: name and version, as for pip.
        sha256: of the wheel.
        folder: where in it the files are.
    """

    requirement: str
    sha256: str
    folder: str


@dataclass(frozen=True)
class DataSource:
    """Where a data set comes from and on what terms.

    Attributes:
        title: name in words.
        url: of the archive, a zip or a tar.gz file.
        archive: name under which the archive lies in the cache folder.
        known_hash: "md5:..." or "sha256:..." of the archive; None if none was published: then the sha256 of the first
            copy is written beside it, and later copies are checked against that.
        files: sets of file names; one whole set makes a folder complete. Folders in the archive are dropped.
        licence: terms of use in a sentence or two.
        citation: the paper to cite.
        loader: what reads the folder.
        wheel: a second source, None if there is none.
    """

    title: str
    url: str
    archive: str
    known_hash: str | None
    files: tuple[tuple[str, ...], ...]
    licence: str
    citation: str
    loader: str
    wheel: Wheel | None = None


DATASETS: dict[str, DataSource] = {
    "ml100k": DataSource(
        title="MovieLens-100K",
        url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        archive="ml-100k.zip",
        known_hash="md5:0e33842e24a9c977be4e0107933c0723",
        files=(("u.data", "u.item", "u.user"), ("ml-100k.inter", "ml-100k.item", "ml-100k.user")),
        licence=_MOVIELENS_LICENCE,
        citation=_MOVIELENS_CITATION,
        loader="hsrl_gym.data.movielens.load_movielens",
        wheel=Wheel(
            requirement="recbole==1.2.1",
            sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            folder="recbole/dataset_example/ml-100k/",
        ),
    ),
    "ml1m": DataSource(
        title="MovieLens-1M",
        url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        archive="ml-1m.zip",
        known_hash="md5:c4d9eecfca2ab87c1945afe126590906",
        files=(("ratings.dat", "movies.dat", "users.dat"),),
        licence=_MOVIELENS_LICENCE,
        citation=_MOVIELENS_CITATION,
        loader="hsrl_gym.data.movielens.load_movielens",
    ),
    "rl4rs": DataSource(
        title="RL4RS (about 10 GB unpacked)",
        url="https://zenodo.org/records/6622390/files/rl4rs-dataset.tar.gz",
        archive="rl4rs-dataset.tar.gz",
        known_hash=None,
        files=tuple((f"rl4rs_dataset_{x}_sl.csv", f"rl4rs_dataset_{x}_rl.csv") for x in "ba"),
        # The Zenodo record's own page was not seen; the repository has it in its README and its dataset metadata.
        licence="Creative Commons Attribution 4.0 (CC BY 4.0), as the authors' repository says; see the Zenodo record.",
        citation=(
            "Kai Wang et al. 2023. RL4RS: A Real-World Dataset for Reinforcement Learning based Recommender System. "
            "SIGIR 2023. https://doi.org/10.1145/3539618.3591899"
        ),
        loader="hsrl_gym.data.rl4rs.load_rl4rs",
    ),
    "kuairand-pure": DataSource(
        title="KuaiRand-Pure",
        url="https://zenodo.org/records/10439422/files/KuaiRand-Pure.tar.gz",
        archive="KuaiRand-Pure.tar.gz",
        known_hash="md5:0820331067a3784d9691136f772b35a7",
        files=(
            (
                *("log_random_4_22_to_5_08_pure.csv", "log_standard_4_08_to_4_21_pure.csv"),
                *("log_standard_4_22_to_5_08_pure.csv", "user_features_pure.csv", "video_features_basic_pure.csv"),
            ),
        ),
        licence="Creative Commons Attribution-ShareAlike 4.0 (CC BY-SA 4.0).",
        citation=(
            "Chongming Gao et al. 2022. KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed "
            "Videos. CIKM 2022, 3953-3957. https://doi.org/10.1145/3511808.3557624"
        ),
        loader="no reader here: write RecBole atomic files from it and use hsrl_gym.data.atomic.load_atomic",
    ),
}


_EXTRAS = ("README", "item_info.csv")  # unpacked too where the archive has them


class DownloadFailed(Exception):
    """A download that did not come to its end; the message says why in a few words."""


class ResumingDownloader:
    """Downloads for pooch, going on with a partial file where the server allows it.

    Args:
        part: file that keeps what has come so far, also after an interruption.
        progress: whether to show a progress bar.
    """

    def __init__(self, part: Path, progress: bool) -> None:
        self.part = part
        self.progress = progress

    def __call__(self, url: str, output_file: str, _: object) -> None:
        """Download `url` to `output_file`.

        Raises:
            DownloadFailed: if the server cannot be reached, refuses, or stops before the end.
        """
        try:
            self._download(url)
        except OSError as error:  # of requests too: all its errors are such
            raise DownloadFailed(f"{error.strerror or type(error).__name__}{self._kept()}") from error
        os.replace(self.part, output_file)

    def _kept(self) -> str:
        return f"; {self._size()} bytes are kept, and the same command goes on from there" if self._size() else ""

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _download(self, url: str) -> None:
        start = self._size()
        # Compressed transfer would make the ranges and lengths those of something else than the file.
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
        """Write the body behind the first `start` bytes of the partial file."""
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with (
            self.part.open("ab" if start else "wb") as file,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, disable=not self.progress) as bar,
        ):
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and self._size() != total:
            raise DownloadFailed(f"the connection ended before byte {total}{self._kept()}")


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
            hash, or an archive that is broken or not to be trusted.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    source, root = DATASETS[name], cache_folder(cache)
    folder = root / name
    if folder.is_dir():
        if _is_complete(source, folder):
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
    print(text, file=sys.stderr, flush=True)  # standard output is for the path, see the command line


def _is_complete(source: DataSource, folder: Path) -> bool:
    return any(all((folder / name).is_file() for name in names) for names in source.files)


def _by_hand(source: DataSource, archive: Path, problem: str) -> HsrlError:
    return HsrlError(
        f"{source.title}: {problem}. By hand: open {source.url} in a browser, save the file as {archive}, and run the "
        "same command again; the file is then checked and used."
    )


def _hash_file(archive: Path) -> Path:
    return archive.with_name(archive.name + ".sha256")


def _known_hash(source: DataSource, archive: Path) -> str | None:
    """Return the hash the archive must have; None if nothing is known of it yet."""
    if source.known_hash is None and _hash_file(archive).is_file():
        return "sha256:" + _hash_file(archive).read_text(encoding="utf-8").split()[0]
    return source.known_hash


def _record_hash(source: DataSource, archive: Path, digest: str) -> None:
    """Keep the sha256 of an archive of which none was published; it has been unpacked without an error."""
    if _known_hash(source, archive) is None:
        _hash_file(archive).write_text(f"{digest.partition(':')[2]}  {archive.name}\n", encoding="utf-8")
        _say(f"No hash was published for {archive.name}; its {digest} is now in {_hash_file(archive)}.")


def _get_archive(source: DataSource, archive: Path, progress: bool) -> str:
    """Have the archive in place, what is there already or else a download, and return its hash, which is right."""
    known_hash = _known_hash(source, archive)
    if not archive.is_file():
        downloader = ResumingDownloader(archive.with_name(archive.name + ".part"), progress)
        _say(f"downloading {source.url} to {archive}")
        try:
            with _quiet_pooch():
                pooch.retrieve(source.url, known_hash, fname=archive.name, path=archive.parent, downloader=downloader)
        except ValueError as error:  # pooch's word for a wrong hash; it has removed the file
            raise _by_hand(source, archive, f"the download is not the expected file ({error})") from error
    algorithm = known_hash.partition(":")[0] if known_hash else "sha256"
    digest = f"{algorithm}:{pooch.file_hash(str(archive), alg=algorithm)}"
    if known_hash not in (None, digest):
        raise HsrlError(f"{archive}: got {digest}, expected {known_hash}; remove it and run the same command again.")
    return digest


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch from advising our users on what to pass to it."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _fetch_from_wheel(source: DataSource, wheel: Wheel, folder: Path, archive: Path) -> None:
    """Unpack the copy in a Python package, which pip gets from wherever it is set up to."""
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
    """Unpack the needed files below `inside` into `folder`, which appears at the end with all of them or not at all."""
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        for name, opened in _entries(archive):
            base = PurePosixPath(name).name
            if name.startswith(inside) and (base in _EXTRAS or any(base in names for names in source.files)):
                with opened() as packed, (temporary / base).open("wb") as target:
                    shutil.copyfileobj(packed, target, _CHUNK)
        if not _is_complete(source, temporary):
            raise HsrlError(
                f"{archive}: got {sorted(path.name for path in temporary.iterdir())}, expected "
                f"{', '.join(source.files[0])} in it; remove it and run the same command again."
            )
        terms = f"{source.title}\nfrom: {origin}\nlicence: {source.licence}\nplease cite: {source.citation}\n"
        (temporary / "SOURCE.txt").write_text(terms, encoding="utf-8")
        temporary.chmod(0o755)
        _move_into_place(source, temporary, folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise HsrlError(
            f"{archive}: cannot be unpacked ({error}); if the disk is not full, remove the file and run the same "
            "command again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _entries(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Yield the name of each regular file in a zip or tar archive and a function that opens it.

    Raises:
        HsrlError: if a name points outside the archive. Such an archive was made to do harm, so none of it is used.
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


def _move_into_place(source: DataSource, temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        if not _is_complete(source, folder):  # else another process was faster
            raise
