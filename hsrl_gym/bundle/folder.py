"""The folder form of a bundle: safetensors, text and a YAML manifest with the sha256 of every file; never pickle."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from hsrl_gym.bundle.contents import (
    CODEBOOK_FILE,
    FEATURES,
    LABELS_FILE,
    SIMULATORS,
    Bundle,
    data_files,
    digest_of,
    hashes_of,
)
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.ensemble import LearnedUser, as_one, ensemble_size_of
from hsrl_gym.users.large import is_large
from hsrl_gym.users.profile import ProfileEncoder

__all__ = [
    "SCHEMA_VERSION",
    "SIMULATORS",
    "Bundle",
    "check_target",
    "digest_of",
    "load_bundle",
    "read_manifest",
    "save_bundle",
]

SCHEMA_VERSION = 3
_MANIFEST = "bundle.yaml"
_MANIFEST_KEYS = ("name", "source", "simulator", "codebook", "profile_encoder", "provenance", "fidelity", "files")
_FILES = (
    CODEBOOK_FILE,
    LABELS_FILE,
    *(f"{kind}_{name}.safetensors" for kind in ("simulator", "users") for name in SIMULATORS),
)


def save_bundle(bundle: Bundle, folder: str | Path) -> Path:
    """Write the bundle and return its folder; the folder appears whole or not at all.

    Raises:
        HsrlError: if `folder` exists and is not a bundle (a bundle is replaced).
    """
    target = check_target(folder, force=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        new = work / "new"
        new.mkdir()
        _write_files(bundle, new)
        new.chmod(0o755)
        for path in new.iterdir():
            path.chmod(0o644)
        if target.exists():
            target.rename(work / "old")
        new.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def check_target(folder: str | Path, force: bool = False) -> Path:
    """Return `folder` as a path that a bundle may be written to; the folders above it are made.

    Raises:
        HsrlError: if something else than a bundle is there, or a bundle without `force`.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not (target / _MANIFEST).exists() and (not target.is_dir() or any(target.iterdir())):
        raise HsrlError(f"{target} exists and is not a bundle, expected a new folder; give another one.")
    if (target / _MANIFEST).exists() and not force:
        raise HsrlError(
            f"{target} is a bundle already, expected a new folder; give another one, or --force to replace it."
        )
    return target


def _write_files(bundle: Bundle, folder: Path) -> None:
    files = data_files(bundle)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    user = next(iter(bundle.simulators.values()))
    manifest = {
        "schema": SCHEMA_VERSION,
        "name": bundle.name,
        "source": bundle.source,
        "simulator": {**user.config.to_dict(), "ensemble_size": ensemble_size_of(user)},
        "codebook": {"n_levels": len(bundle.codebook.centroids), "n_moved": bundle.codebook.n_moved},
        "profile_encoder": bundle.profile_encoder.to_dict(),
        "provenance": dict(bundle.provenance),
        "fidelity": {name: dict(values) for name, values in bundle.fidelity.items()},
        "files": hashes_of(files),
    }
    (folder / _MANIFEST).write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")


def load_bundle(folder: str | Path, device: str | torch.device = "cpu") -> Bundle:
    """Read a bundle, checking the hash of each file.

    Raises:
        HsrlError: if it is missing, incomplete, changed since it was written, or of another schema version.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise HsrlError(f"{folder}: {name} is missing; build the bundle again or copy it whole.")
        got = _sha256(path)
        if got != expected:
            raise HsrlError(
                f"{path}: sha256 is {got[:12]}.., expected {expected[:12]}..; the file was changed or cut short, "
                "build the bundle again."
            )
    codebook = _read_codebook(folder, manifest)
    features = torch.as_tensor(codebook.features)
    return Bundle(
        name=manifest["name"],
        source=manifest["source"],
        codebook=codebook,
        simulators={name: _read_simulator(folder, name, manifest, features, device) for name in SIMULATORS},
        users={name: _read_users(folder, name) for name in SIMULATORS},
        item_labels=tuple((folder / LABELS_FILE).read_text(encoding="utf-8").split("\n")[:-1]),
        profile_encoder=ProfileEncoder.from_dict(manifest["profile_encoder"]),
        provenance=manifest["provenance"],
        fidelity=manifest["fidelity"],
    )


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a bundle folder.

    Raises:
        HsrlError: if there is none that this version can read.
    """
    path = Path(folder) / _MANIFEST
    if not path.is_file():
        raise HsrlError(f"{folder}: no {_MANIFEST} here, expected a bundle folder; `hsrl-gym build` makes one.")
    try:
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HsrlError(
            f"{path}: not readable as YAML ({str(error).splitlines()[0]}); build the bundle again."
        ) from None
    version = manifest.get("schema") if isinstance(manifest, dict) else None
    if version == 2 and isinstance(manifest.get("simulator"), dict):
        manifest = _from_schema_2(manifest)
    elif version != SCHEMA_VERSION:
        raise HsrlError(
            f"{path}: schema version is {version!r}, expected {SCHEMA_VERSION} or 2; build the bundle again with this "
            "version of hsrl-gym."
        )
    missing = [name for name in _MANIFEST_KEYS if name not in manifest]
    if not missing:
        missing = [name for name in _FILES if name not in (manifest["files"] or {})]
    if missing:
        raise HsrlError(f"{path}: no {', '.join(missing)} in it; the file was cut short, build the bundle again.")
    return manifest


def _from_schema_2(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest in today's form: no picture among the files, `ensemble_size` for `n_members`."""
    simulator = dict(manifest["simulator"])
    simulator["ensemble_size"] = simulator.pop("n_members", 1)
    files = {name: got for name, got in (manifest.get("files") or {}).items() if not name.endswith(".png")}
    return {**manifest, "schema": SCHEMA_VERSION, "simulator": simulator, "files": files}


def _read_codebook(folder: Path, manifest: Mapping[str, Any]) -> Codebook:
    arrays = {name: table.numpy() for name, table in _tensors(folder / CODEBOOK_FILE, manifest).items()}
    centroids = tuple(arrays.pop(f"centroids_{level}") for level in range(manifest["codebook"]["n_levels"]))
    return Codebook(centroids, **arrays, n_moved=manifest["codebook"]["n_moved"])


def _read_simulator(
    folder: Path, name: str, manifest: Mapping[str, Any], features: torch.Tensor, device: str | torch.device
) -> LearnedUser:
    settings = dict(manifest["simulator"])
    ensemble_size = settings.pop("ensemble_size")
    with torch.device("meta"):  # no first weights are drawn, only to be thrown away
        model = as_one([UserResponseModel(SimulatorConfig(**settings), features) for _ in range(ensemble_size)])
    known = {key: features for key in model.state_dict() if key.endswith(FEATURES)}
    weights = _tensors(folder / f"simulator_{name}.safetensors", manifest)
    model.load_state_dict({**weights, **known}, assign=True)
    return model.to(device).eval().requires_grad_(False)


def _tensors(path: Path, manifest: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of a file; those of a large catalog stay in it, mapped into memory."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    return tensors if is_large(manifest["simulator"]["n_items"]) else {key: t.clone() for key, t in tensors.items()}


def _read_users(folder: Path, name: str) -> LoggedSlates:
    from safetensors.numpy import load_file

    columns = load_file(folder / f"users_{name}.safetensors")
    return LoggedSlates(
        profile=columns["profile"].astype(np.float32),
        history=columns["history"].astype(np.int32),
        slate=columns["slate"].astype(np.int32),
        clicks=columns["clicks"],
        row=columns.get("row"),
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
