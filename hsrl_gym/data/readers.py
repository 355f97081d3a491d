"""The formats that raw logs may have, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hsrl_gym.data.atomic import load_atomic
from hsrl_gym.data.fetch import cache_folder
from hsrl_gym.data.interactions import USUAL, load_interactions
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.data.movielens import load_movielens
from hsrl_gym.data.rl4rs import load_rl4rs
from hsrl_gym.data.sources import DATASETS
from hsrl_gym.errors import HsrlError, unknown_name


def _movielens(name: str) -> Callable[..., InteractionLog]:
    def read(folder: Path, **settings: Any) -> InteractionLog:
        log = load_movielens(folder, **settings)
        if log.name.replace("-", "") != name.replace("-", ""):
            raise HsrlError(f"got {log.name} in {folder}, expected {name}; name the format that is there.")
        return log

    return read


READERS: dict[str, Callable[..., InteractionLog]] = {
    "csv": load_interactions,
    "rl4rs": load_rl4rs,
    "ml1m": _movielens("ml1m"),
    "ml100k": _movielens("ml100k"),
    "ml-latest": _movielens("ml-latest"),
    "atomic": load_atomic,
}
_OF_RATINGS = ("slate_size", "like_above")
# What a reader takes besides the path.
SETTINGS: dict[str, tuple[str, ...]] = {
    "csv": (*USUAL, "items", *_OF_RATINGS),
    **dict.fromkeys(("ml1m", "ml100k", "ml-latest", "atomic"), _OF_RATINGS),
}


def read_logs(name: str, path: Path | None = None, **settings: Any) -> InteractionLog:
    """Return the logs of format `name` at `path`, or in the folder where `fetch` puts the data set of that name.

    Raises:
        HsrlError: for an unknown format or setting, no path, or files that cannot be read.
    """
    if name not in READERS:
        raise unknown_name("format", name, READERS)
    check_settings(name, settings)
    if path is None:
        path = cache_folder() / name
        if name not in DATASETS or not path.exists():
            hint = f", or run `hsrl-gym fetch {name}` first" if name in DATASETS else ""
            raise HsrlError(f"no logs were named for {name}; give --logs {'FILE' if name == 'csv' else 'DIR'}{hint}.")
    return READERS[name](path, **settings)


def check_settings(name: str, settings: dict[str, Any]) -> None:
    """Raise HsrlError for a setting that the format `name` does not have."""
    for setting in settings:
        if setting not in SETTINGS.get(name, ()):
            formats = ", ".join(other for other, known in SETTINGS.items() if setting in known)
            raise HsrlError(
                f"got --{setting.replace('_', '-')} for {name}, expected it for {formats} alone; leave it out."
            )
