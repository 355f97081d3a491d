"""Where bundles come from: a folder, the package, or a data set that was fetched."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.bundle.folder import load_bundle, save_bundle
from hsrl_gym.data.fetch import cache_folder
from hsrl_gym.data.sources import DATASETS
from hsrl_gym.errors import HsrlError, shown
from hsrl_gym.users.small import ensemble_size_for

PACKAGED = Path(__file__).parents[1] / "bundles"
# Default bundles that the package must not carry: they are built from fetched logs on first use.
FROM_FETCHED = ("ml100k",)


def data_folder() -> Path:
    """Return the cache folder that `fetch` uses: HSRL_DATA, or the user's cache directory."""
    return cache_folder()


def built_folder(name: str) -> Path:
    """Return the folder where the bundle of a fetched data set is kept once it was built."""
    return data_folder() / "bundles" / name


def open_bundle(bundle: str | Path | Bundle | None, default: str | None) -> Bundle:
    """Return a bundle: the given one, a folder's, or the default of an environment id.

    The defaults "rl4rs" and "ml1m" are synthetic and come with the package; the first use in a process warns. "ml100k"
    is built from the fetched data on first use and kept in the cache folder.

    Raises:
        HsrlError: if there is none; the message says what to run.
    """
    if isinstance(bundle, Bundle):
        return bundle
    if bundle is not None and not isinstance(bundle, str | Path):
        raise HsrlError(f"got the bundle {shown(bundle)}, expected its folder, or a Bundle.")
    if bundle is not None:
        return load_bundle(bundle)
    if default is None:
        raise HsrlError("got no bundle, expected one; pass bundle=DIR (`hsrl-gym build` makes one from your logs).")
    return _from_fetched(default) if default in FROM_FETCHED else _packaged(default)


@lru_cache(maxsize=4)
def _packaged(name: str) -> Bundle:
    bundle = load_bundle(PACKAGED / name)
    warnings.warn(
        f"no bundle was named, so the users come from {bundle.source}: good for development, not for claims about "
        "real users. Build one with `hsrl-gym build` and pass bundle=DIR.",
        UserWarning,
        stacklevel=2,
    )
    return bundle


@lru_cache(maxsize=4)
def _from_fetched(name: str) -> Bundle:
    built = built_folder(name)
    if (built / "bundle.yaml").exists():
        return load_bundle(built)
    raw = data_folder() / name
    if not raw.exists():
        raise HsrlError(
            f"{DATASETS[name].title} is not in {data_folder()}; run `hsrl-gym fetch {name}` first (the environment "
            "then builds its bundle itself), or pass bundle=DIR."
        )
    from hsrl_gym.bundle.build import build_bundle
    from hsrl_gym.data.readers import read_logs

    log = read_logs(name, raw)
    save_bundle(build_bundle(log, ensemble_size=ensemble_size_for(len(log))), built)
    return load_bundle(built)
