"""What a bundle holds, and the bytes of its data files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import is_unprintable, printable
from hsrl_gym.items.codebook import Codebook
from hsrl_gym.users.ensemble import LearnedUser
from hsrl_gym.users.profile import ProfileEncoder

SIMULATORS = ("train", "eval")
CODEBOOK_FILE, LABELS_FILE = "codebook.safetensors", "item_labels.txt"
FEATURES = "item_features"  # the users' own copy, which the codebook's file has already


@dataclass(frozen=True)
class Bundle:
    """What crosses from the offline half to the online half.

    Attributes:
        name: data set.
        source: in words, what the bundle was made from.
        codebook: SIDs and standardized features of the items.
        simulators: "train" (fitted to the train split, for learning) and "eval" (to all data, for scoring).
        users: pools of the same names, from the earliest 80% and the latest 20% of the log; profiles are encoded. `row`
            holds the numbers of their rows in the log; it is None in bundles of schema 2.
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

    def __post_init__(self) -> None:
        """Make the texts printable that people get to see: name, source and labels."""
        for name in ("name", "source"):
            object.__setattr__(self, name, printable(getattr(self, name)))
        if is_unprintable("".join(self.item_labels)):
            labels = tuple(printable(" ".join(label.split())) for label in self.item_labels)
            object.__setattr__(self, "item_labels", labels)

    @property
    def n_items(self) -> int:
        """Number of items N, live or retired."""
        return len(self.codebook.codes) - 1

    @property
    def slate_size(self) -> int:
        """Slate size K of the log."""
        return int(self.users["train"].slate.shape[1])

    @cached_property
    def content_digest(self) -> str:
        """The sha256 of the data files' hashes: the same content has the same digest, under any name or version.

        It equals `digest_of(read_manifest(folder)["files"])` of the saved bundle.
        """
        return digest_of(hashes_of(data_files(self)))


def digest_of(files: Mapping[str, str]) -> str:
    """Return the sha256 of a manifest's `files`: names and hashes, in the order of the names."""
    lines = (f"{name} {files[name]}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def hashes_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the sha256 of each file, by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def data_files(bundle: Bundle) -> dict[str, bytes]:
    """Return the data files of a bundle by name: safetensors, and the item labels as text."""
    from safetensors.numpy import save

    tables = {CODEBOOK_FILE: _codebook_tables(bundle.codebook)}
    tables.update({f"simulator_{name}.safetensors": _weights(model) for name, model in bundle.simulators.items()})
    tables.update(
        {f"users_{name}.safetensors": _columns(users, bundle.n_items) for name, users in bundle.users.items()}
    )
    files = {
        name: save({key: np.ascontiguousarray(values) for key, values in table.items()})
        for name, table in tables.items()
    }
    labels = [" ".join(label.split()) for label in bundle.item_labels]
    files[LABELS_FILE] = ("\n".join(labels) + "\n").encode()
    return files


def _codebook_tables(codebook: Codebook) -> dict[str, NDArray[Any]]:
    tables = {f"centroids_{level}": table for level, table in enumerate(codebook.centroids)}
    names = ["codes", "mean", "scale", "features", "priority"]
    if codebook.to_vector is not None:  # else the vectors are the features
        names += ["vectors", "to_vector"]
    return {**tables, **{name: getattr(codebook, name) for name in names}}


def _weights(model: LearnedUser) -> dict[str, NDArray[Any]]:
    return {key: value.cpu().numpy() for key, value in model.state_dict().items() if not key.endswith(FEATURES)}


def _columns(users: LoggedSlates, n_items: int) -> dict[str, NDArray[Any]]:
    item_type = np.uint16 if n_items < 2**16 else np.int32  # half the size for all common catalogs
    columns = {
        "profile": users.profile.astype(np.float16),  # encoded values lie in [-5, 5]
        "history": users.history.astype(item_type),
        "slate": users.slate.astype(item_type),
        "clicks": users.clicks,
    }
    return columns if users.row is None else {**columns, "row": users.row}
