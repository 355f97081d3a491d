"""The formats that raw logs may have, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hsrl_gym.data.atomic import load_atomic
from hsrl_gym.data.fetch import cache_folder
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.data.movielens import load_movielens
from hsrl_gym.data.rl4rs import load_rl4rs
from hsrl_gym.data.sources import DATASETS
from hsrl_gym.errors import HsrlError, unknown_name


def _movielens(name: str) -> Callable[[Path], InteractionLog]:
    def read(folder: Path) -> InteractionLog:
        log = load_movielens(folder)
        if log.name.replace("-", "") != name.replace("-", ""):
            raise HsrlError(f"got {log.name} in {folder}, expected {name}; name the format that is there.")
        return log

    return read


READERS: dict[str, Callable[[Path], InteractionLog]] = {
    "rl4rs": load_rl4rs,
    "ml1m": _movielens("ml1m"),
    "ml100k": _movielens("ml100k"),
    "ml-latest": _movielens("ml-latest"),
    "atomic": load_atomic,
}


def read_logs(name: str, folder: Path | None = None) -> InteractionLog:
    """Return the logs of format `name` in `folder`, or in the folder where `fetch` puts the data set of that name.

    Raises:
        HsrlError: for an unknown format, no folder, or files that cannot be read.
    """
    if name not in READERS:
        raise unknown_name("format", name, READERS)
    if folder is None:
        folder = cache_folder() / name
        if name not in DATASETS or not folder.exists():
            hint = f", or run `hsrl-gym fetch {name}` first" if name in DATASETS else ""
            raise HsrlError(f"no logs were named for {name}; give --logs DIR{hint}.")
    return READERS[name](folder)
