"""The public data sets: source, files and licence of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
    """Source, files and licence of a data set.

    Attributes:
        title: name in words.
        url: of the archive, a zip or a tar.gz file.
        archive: name under which the archive lies in the cache folder.
        known_hash: "md5:..." or "sha256:..." of the archive; None if none was published. Then the sha256 of the first
            copy is written beside it, and later copies are checked against it.
        files: alternative sets of file names; a folder with all files of one set is complete. Subfolders of the archive
            are dropped.
        licence: terms of use in one or two sentences.
        citation: the paper to cite.
        wheel: a second source, None if there is none.
        most: bytes that the archive may have, and its files together; more is no copy of this data set.
    """

    title: str
    url: str
    archive: str
    known_hash: str | None
    files: tuple[tuple[str, ...], ...]
    licence: str
    citation: str
    wheel: Wheel | None = None
    most: int = 2**28

    def is_complete(self, folder: Path) -> bool:
        """Return whether a folder has the files of the data set."""
        return any(all((folder / name).is_file() for name in names) for names in self.files)


DATASETS: dict[str, DataSource] = {
    "ml100k": DataSource(
        title="MovieLens-100K",
        url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        archive="ml-100k.zip",
        known_hash="md5:0e33842e24a9c977be4e0107933c0723",
        files=(("u.data", "u.item", "u.user"), ("ml-100k.inter", "ml-100k.item", "ml-100k.user")),
        licence=_MOVIELENS_LICENCE,
        citation=_MOVIELENS_CITATION,
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
        most=2**35,
    ),
}
