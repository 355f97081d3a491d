"""Where bundles come from: a folder, the package, or a data set that was fetched."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path

from hsrl_gym.bundle.folder import Bundle, load_bundle
from hsrl_gym.errors import HsrlError

PACKAGED = Path(__file__).parents[1] / "bundles"


def data_folder() -> Path:
    """Return the cache folder that `fetch` uses: HSRL_DATA, or the user's cache directory."""
    from hsrl_gym.data.fetch import cache_folder

    return cache_folder()


def open_bundle(bundle: str | Path | Bundle | None, default: str) -> Bundle:
    """Return a bundle: the given one, a folder's, or the default of an environment id.

    The defaults "rl4rs" and "ml1m" are synthetic and stand in the package; the first use in a process warns. "ml100k"
    is built from the fetched data on first use and kept in the cache folder.

    Raises:
        HsrlError: if there is none, with what to run.
    """
    if isinstance(bundle, Bundle):
        return bundle
    if bundle is not None:
        return load_bundle(bundle)
    if default == "ml100k":
        return _movielens_100k()
    return _packaged(default)


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


@lru_cache(maxsize=1)
def _movielens_100k() -> Bundle:
    built = data_folder() / "bundles" / "ml100k"
    if (built / "bundle.yaml").exists():
        return load_bundle(built)
    raw = data_folder() / "ml100k"
    if not raw.exists():
        raise HsrlError(
            f"MovieLens-100K is not in {data_folder()}; run `hsrl-gym fetch ml100k` first (the environment then builds "
            "its bundle itself), or pass bundle=DIR."
        )
    from hsrl_gym.bundle.build import build_bundle
    from hsrl_gym.bundle.folder import save_bundle
    from hsrl_gym.data.movielens import load_movielens

    save_bundle(build_bundle(load_movielens(raw)), built)
    return load_bundle(built)
