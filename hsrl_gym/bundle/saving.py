"""Writing a bundle: whole or not at all, with a try before the work and a second place after it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hsrl_gym.bundle.arrays import check_slate_size
from hsrl_gym.bundle.contents import Bundle, data_files
from hsrl_gym.bundle.manifest import MANIFEST, manifest_of
from hsrl_gym.errors import HsrlError
from hsrl_gym.work_folder import put_in_place, sweep, try_renaming, work_folder

_PROBE = bytes(2**20)  # less room than that is no room for a bundle


def save_bundle(bundle: Bundle, folder: str | Path) -> Path:
    """Write the bundle and return its folder; the folder appears whole or not at all.

    Raises:
        HsrlError: if the bundle could not be loaded again, if `folder` exists and is not a bundle (a bundle is
            replaced), or if it cannot be written; then the bundle is in a folder for temporary files, which the message
            names.
    """
    target = Path(folder)
    check_slate_size(bundle.slate_size, bundle.n_items)
    files = data_files(bundle)
    files[MANIFEST] = manifest_of(bundle, files)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_other(target)
        _write(files, target)
    except OSError as error:
        raise _saved_elsewhere(files, target, error) from error
    return target


def check_target(folder: str | Path, force: bool = False) -> Path:
    """Return `folder` as a path that a bundle may be written to; the folders above it are made.

    Writing and renaming are tried there. A bundle in the folder is renamed and renamed back.

    Raises:
        HsrlError: if something else than a bundle is there, or a bundle without `force`, or if nothing can be written
            or renamed there.
    """
    target = Path(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)  # first: it may put a bundle back
        _refuse_other(target)
        if (target / MANIFEST).exists() and not force:
            raise HsrlError(
                f"{target} is a bundle already, expected a new folder; give another one, or --force to replace it."
            )
        with work_folder(target) as new:
            probe = new / "probe"
            with probe.open("wb") as file:
                file.write(_PROBE)
                file.flush()
                os.fsync(file.fileno())
            probe.unlink()
            try_renaming(new, target)
    except OSError as error:
        hint = "it is a mount point or in use: give a folder in it" if error.errno == errno.EBUSY else "give another"
        reason = _reason(error)
        if error.filename is not None and Path(error.filename) in target.parents:
            reason = f"{error.filename}: {reason}"
        raise HsrlError(f"{target}: cannot be written or replaced ({reason}); {hint}.") from error
    return target


def _refuse_other(target: Path) -> None:
    if target.exists() and not (target / MANIFEST).exists() and (not target.is_dir() or any(target.iterdir())):
        raise HsrlError(f"{target} exists and is not a bundle, expected a new folder; give another one.")


def _write(files: Mapping[str, bytes], target: Path) -> None:
    with work_folder(target) as new:
        for name, content in files.items():
            path = new / name
            path.write_bytes(content)
            path.chmod(0o644)
        put_in_place(new, target)


def _saved_elsewhere(files: Mapping[str, bytes], target: Path, error: OSError) -> HsrlError:
    """Write the bundle to a folder for temporary files, so that the work is not lost; return the error to raise."""
    said = f"{target}: cannot be written ({_reason(error)})"
    try:
        place = Path(tempfile.mkdtemp(prefix="hsrl-gym-")) / (target.name or "bundle")
        _write(files, place)
    except OSError as second:
        return HsrlError(f"{said}, and neither can a folder for temporary files ({_reason(second)}); free some space.")
    return HsrlError(f"{said}; the bundle is in {place} instead: move it to where there is room.")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
