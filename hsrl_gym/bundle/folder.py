"""A bundle: everything an environment needs of a data set, in one folder that can be checked and shared."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import Codebook
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.ensemble import LearnedUser, as_one, ensemble_size_of
from hsrl_gym.users.profile import ProfileEncoder

SCHEMA_VERSION = 2
_MANIFEST = "bundle.yaml"
_MANIFEST_KEYS = ("name", "source", "simulator", "codebook", "profile_encoder", "provenance", "fidelity", "files")
_FEATURES = "item_features"
_LABELS = "item_labels.txt"
SIMULATORS = ("train", "eval")
_FILES = (
    "codebook.safetensors",
    _LABELS,
    *(f"{kind}_{name}.safetensors" for kind in ("simulator", "users") for name in SIMULATORS),
)


@dataclass(frozen=True)
class Bundle:
    """What crosses from the offline half to the online half.

    Attributes:
        name: data set.
        source: in words, what the bundle was made from; "synthetic: ..." for the ones in the package.
        codebook: SIDs and standardized features of the items.
        simulators: "train" (fitted to the train split, for learning) and "eval" (to all data, for scoring).
        users: pools of the same names, from the earliest 80% and the latest 20% of the log; profiles are encoded.
        item_labels: N + 1 names; the first is "".
        profile_encoder: from raw profiles to those of the pools and the observations.
        provenance: data, settings, seed and versions the bundle was built with.
        fidelity: per simulator, how its predictions stand against logged clicks.
    """

    name: str
    source: str
    codebook: Codebook
    simulators: Mapping[str, LearnedUser]
    users: Mapping[str, LoggedSlates]
    item_labels: tuple[str, ...]
    profile_encoder: ProfileEncoder
    provenance: Mapping[str, Any] = field(default_factory=dict)
    fidelity: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def n_items(self) -> int:
        """Number of items N, live or retired."""
        return len(self.codebook.codes) - 1

    @property
    def slate_size(self) -> int:
        """Slate size K of the log."""
        return int(self.users["train"].slate.shape[1])


def save_bundle(bundle: Bundle, folder: str | Path) -> Path:
    """Write the bundle and return its folder; the folder appears whole or not at all.

    Raises:
        HsrlError: if `folder` exists and is not a bundle (a bundle is replaced).
    """
    target = check_target(folder)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        new = work / "new"
        new.mkdir()
        _write_files(bundle, new)
        new.chmod(0o755)
        for path in new.iterdir():
            path.chmod(0o644)  # safetensors makes files for the owner alone
        if target.exists():
            target.rename(work / "old")
        new.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def check_target(folder: str | Path) -> Path:
    """Return `folder` as a path that a bundle may be written to; the folders above it are made.

    Raises:
        HsrlError: if something else than a bundle is there.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not (target / _MANIFEST).exists() and (not target.is_dir() or any(target.iterdir())):
        raise HsrlError(f"{target} exists and is not a bundle, expected a new folder; give another one.")
    return target


def _write_files(bundle: Bundle, folder: Path) -> None:
    from safetensors.numpy import save_file

    codebook = bundle.codebook
    levels = {f"centroids_{level}": table for level, table in enumerate(codebook.centroids)}
    names = ["codes", "mean", "scale", "features", "priority"]
    if codebook.to_vector is not None:  # else the vectors are the features
        names += ["vectors", "to_vector"]
    arrays = {name: getattr(codebook, name) for name in names}
    save_file(
        {name: np.ascontiguousarray(a) for name, a in {**levels, **arrays}.items()}, folder / "codebook.safetensors"
    )
    for name, model in bundle.simulators.items():
        weights = {key: np.ascontiguousarray(value.cpu().numpy()) for key, value in model.state_dict().items()}
        weights = {key: value for key, value in weights.items() if not key.endswith(_FEATURES)}  # in the codebook
        save_file(weights, folder / f"simulator_{name}.safetensors")
    for name, users in bundle.users.items():
        item_type = np.uint16 if bundle.n_items < 2**16 else np.int32  # half the size for all common catalogs
        columns = {
            "profile": users.profile.astype(np.float16),  # encoded values lie in [-5, 5]
            "history": users.history.astype(item_type),
            "slate": users.slate.astype(item_type),
            "clicks": users.clicks,
        }
        save_file(
            {key: np.ascontiguousarray(value) for key, value in columns.items()}, folder / f"users_{name}.safetensors"
        )
    labels = [" ".join(label.split()) for label in bundle.item_labels]
    (folder / _LABELS).write_text("\n".join(labels) + "\n", encoding="utf-8")
    if bundle.fidelity:
        from hsrl_gym.figures import draw_reliability

        draw_reliability(bundle.fidelity, folder / "reliability.png")
    user = next(iter(bundle.simulators.values()))
    manifest = {
        "schema": SCHEMA_VERSION,
        "name": bundle.name,
        "source": bundle.source,
        "simulator": {**user.config.to_dict(), "n_members": ensemble_size_of(user)},
        "codebook": {"n_levels": len(codebook.centroids), "n_moved": codebook.n_moved},
        "profile_encoder": bundle.profile_encoder.to_dict(),
        "provenance": dict(bundle.provenance),
        "fidelity": {name: dict(values) for name, values in bundle.fidelity.items()},
        "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())},
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
        item_labels=tuple((folder / _LABELS).read_text(encoding="utf-8").split("\n")[:-1]),
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
    if version != SCHEMA_VERSION:
        raise HsrlError(
            f"{path}: schema version is {version!r}, expected {SCHEMA_VERSION}; build the bundle again with this "
            "version of hsrl-gym."
        )
    missing = [name for name in _MANIFEST_KEYS if name not in manifest]
    if not missing:
        missing = [name for name in _FILES if name not in (manifest["files"] or {})]
    if missing:
        raise HsrlError(f"{path}: no {', '.join(missing)} in it; the file was cut short, build the bundle again.")
    return manifest


def _read_codebook(folder: Path, manifest: Mapping[str, Any]) -> Codebook:
    from safetensors.numpy import load_file

    arrays = load_file(folder / "codebook.safetensors")
    centroids = tuple(arrays.pop(f"centroids_{level}") for level in range(manifest["codebook"]["n_levels"]))
    return Codebook(centroids, **arrays, n_moved=manifest["codebook"]["n_moved"])


def _read_simulator(
    folder: Path, name: str, manifest: Mapping[str, Any], features: torch.Tensor, device: str | torch.device
) -> LearnedUser:
    from safetensors.torch import load_file

    settings = dict(manifest["simulator"])
    ensemble_size = settings.pop("n_members")
    with torch.random.fork_rng(devices=[]):  # the throwaway first weights must not move the caller's generator
        model = as_one([UserResponseModel(SimulatorConfig(**settings), features) for _ in range(ensemble_size)])
    known = {key: features for key in model.state_dict() if key.endswith(_FEATURES)}
    model.load_state_dict({**load_file(folder / f"simulator_{name}.safetensors"), **known})
    return model.to(device).eval().requires_grad_(False)


def _read_users(folder: Path, name: str) -> LoggedSlates:
    from safetensors.numpy import load_file

    columns = load_file(folder / f"users_{name}.safetensors")
    return LoggedSlates(
        profile=columns["profile"].astype(np.float32),
        history=columns["history"].astype(np.int32),
        slate=columns["slate"].astype(np.int32),
        clicks=columns["clicks"],
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
