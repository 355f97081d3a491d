"""The folder form of a bundle: safetensors, text and a YAML manifest with the sha256 of every file; never pickle.

Whatever a folder holds, loading it gives a bundle whose environment pays finite rewards, or one line that says what is
wrong. The manifest is checked by itself (`manifest`), then the files by their hashes, the headers of the arrays against
the manifest (`arrays`), and at last the values (`checks`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hsrl_gym.bundle.arrays import check_headers, check_weights
from hsrl_gym.bundle.checks import check_codebook, check_simulator, check_users
from hsrl_gym.bundle.contents import CODEBOOK_FILE, FEATURES, LABELS_FILE, SIMULATORS, Bundle, digest_of
from hsrl_gym.bundle.manifest import SCHEMA_VERSION, read_manifest
from hsrl_gym.bundle.saving import check_target, save_bundle
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.ensemble import LearnedUser, as_one
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


def load_bundle(folder: str | Path, device: str | torch.device = "cpu") -> Bundle:
    """Read a bundle, checking the hash of each file, and the shapes, ranges and finiteness of each array.

    Raises:
        HsrlError: if it is missing, incomplete, changed since it was written, of another schema version, or holds what
            no environment can work with.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        for name, expected in manifest["files"].items():
            _check_hash(folder, name, expected)
        check_headers(folder, manifest)
        codebook = _read_codebook(folder, manifest)
        users = {name: _read_users(folder, name, codebook) for name in SIMULATORS}
        features = torch.as_tensor(codebook.features)
        return Bundle(
            name=manifest["name"],
            source=manifest["source"],
            codebook=codebook,
            simulators={
                name: _read_simulator(folder, name, manifest, features, users[name]).to(device) for name in SIMULATORS
            },
            users=users,
            item_labels=_read_labels(folder, manifest),
            profile_encoder=ProfileEncoder.from_dict(manifest["profile_encoder"]),
            provenance=manifest["provenance"],
            fidelity=manifest["fidelity"],
        )
    except OSError as error:
        raise HsrlError(f"{folder}: cannot be read ({error.strerror or error}).") from error


def _check_hash(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    if not path.is_file():
        raise HsrlError(f"{folder}: {name} is missing; build the bundle again or copy it whole.")
    got = _sha256(path)
    if got != expected:
        raise HsrlError(
            f"{path}: sha256 is {got[:12]}.., expected {expected[:12]}..; the file was changed or cut short, "
            "build the bundle again."
        )


def _read_codebook(folder: Path, manifest: Mapping[str, Any]) -> Codebook:
    arrays = {name: table.numpy() for name, table in _tensors(folder / CODEBOOK_FILE, manifest).items()}
    centroids = tuple(arrays.pop(f"centroids_{level}") for level in range(manifest["codebook"]["n_levels"]))
    codebook = Codebook(centroids, **arrays, n_moved=manifest["codebook"]["n_moved"])
    check_codebook(folder / CODEBOOK_FILE, codebook)
    return codebook


def _read_simulator(
    folder: Path, name: str, manifest: Mapping[str, Any], features: torch.Tensor, pool: LoggedSlates
) -> LearnedUser:
    path, settings = folder / f"simulator_{name}.safetensors", dict(manifest["simulator"])
    ensemble_size = settings.pop("ensemble_size")
    try:
        config = SimulatorConfig(**settings)
    except HsrlError as error:
        raise HsrlError(f"{folder}: {error}") from None
    with torch.device("meta"):  # no first weights are drawn, only to be thrown away
        model = as_one([UserResponseModel(config, features) for _ in range(ensemble_size)])
    check_weights(path, model)
    known = {key: features for key in model.state_dict() if key.endswith(FEATURES)}
    model.load_state_dict({**_tensors(path, manifest), **known}, assign=True)
    model.eval().requires_grad_(False)
    check_simulator(path, model, pool)
    return model


def _tensors(path: Path, manifest: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of a file; those of a large catalog stay in it, mapped into memory."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    return tensors if is_large(manifest["simulator"]["n_items"]) else {key: t.clone() for key, t in tensors.items()}


def _read_users(folder: Path, name: str, codebook: Codebook) -> LoggedSlates:
    from safetensors.numpy import load_file

    path = folder / f"users_{name}.safetensors"
    columns = load_file(path)
    users = LoggedSlates(
        profile=columns["profile"].astype(np.float32),
        history=columns["history"].astype(np.int32),
        slate=columns["slate"].astype(np.int32),
        clicks=columns["clicks"],
        row=columns.get("row"),
    )
    check_users(path, users, len(codebook.codes) - 1)
    return users


def _read_labels(folder: Path, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    path, n_labels = folder / LABELS_FILE, manifest["simulator"]["n_items"] + 1
    try:
        labels = tuple(path.read_bytes().decode("utf-8").split("\n")[:-1])
    except UnicodeDecodeError as error:
        raise HsrlError(f"{path}: not readable as UTF-8 ({error.reason}); build the bundle again.") from None
    if len(labels) != n_labels:
        raise HsrlError(f"{path}: got {len(labels):,} lines, expected {n_labels:,}: padding's, and one for each item.")
    return labels


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
