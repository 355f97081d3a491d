"""The manifest of a bundle: its settings, and the sha256 of each other file and of itself, as YAML."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hsrl_gym.bundle.contents import CODEBOOK_FILE, LABELS_FILE, SIMULATORS, Bundle, hashes_of
from hsrl_gym.data.log import HISTORY_LENGTH
from hsrl_gym.errors import HsrlError, printable, shown
from hsrl_gym.users.click_model import SimulatorConfig
from hsrl_gym.users.ensemble import ensemble_size_of
from hsrl_gym.work_folder import set_aside
from hsrl_gym.yaml_files import dump_yaml, parse_yaml, read_limited

SCHEMA_VERSION = 3
MANIFEST = "bundle.yaml"
FILES = (
    CODEBOOK_FILE,
    LABELS_FILE,
    *(f"{kind}_{name}.safetensors" for kind in ("simulator", "users") for name in SIMULATORS),
)
_KEYS = ("name", "source", "simulator", "codebook", "profile_encoder", "provenance", "fidelity", "files")
_SEAL = "# sha256 of the lines above: "
_LONGEST_NAME = 1_000  # characters
_LONGEST_HISTORY = 20 * HISTORY_LENGTH
_SHARES = ("auc", "log_loss", "ece")  # of a fidelity


def manifest_of(bundle: Bundle, files: Mapping[str, bytes]) -> bytes:
    """Return the manifest of a bundle with these data files.

    Raises:
        yaml.YAMLError: for provenance or fidelity that is not plain numbers, texts, lists and mappings.
        HsrlError: for a value that `read_manifest` refuses.
    """
    user = next(iter(bundle.simulators.values()))
    content = {
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
    text = dump_yaml(content).encode()
    _check_values(MANIFEST, parse_yaml(text, MANIFEST))
    return sealed(text)


def check_name(what: str, text: Any) -> None:
    """Raise HsrlError unless a name or source of a bundle is a text, and not too long."""
    if not isinstance(text, str) or len(text) > _LONGEST_NAME:
        raise HsrlError(f"{what}: got {shown(text)}, expected a text of at most {_LONGEST_NAME:,} characters.")


def sealed(text: bytes) -> bytes:
    """Return a manifest followed by the line with its own sha256, which YAML takes for a comment."""
    return text + f"{_SEAL}{hashlib.sha256(text).hexdigest()}\n".encode()


def unsealed(manifest: bytes) -> tuple[bytes, bool]:
    """Return a manifest without its own sha256, and whether that is right; manifests of old bundles have none."""
    text, seal, digest = manifest.rpartition(_SEAL.encode())
    if not seal:
        return manifest, True
    return text, digest.strip() == hashlib.sha256(text).hexdigest().encode()


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a bundle folder, checked: each value has the type that its readers expect.

    Raises:
        HsrlError: if there is none that this version can read, or it was changed.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        aside = set_aside(Path(folder))
        if aside is not None:
            raise HsrlError(f"{folder}: a save was stopped and left the bundle in {aside}; rename that to {folder}.")
        raise HsrlError(f"{folder}: no {MANIFEST} here, expected a bundle folder; `hsrl-gym build` makes one.")
    text, right = unsealed(read_limited(path))
    manifest = parse_yaml(text, path)
    version = manifest.get("schema") if isinstance(manifest, dict) else None
    if version == 2 and isinstance(manifest.get("simulator"), dict):
        manifest = _from_schema_2(manifest)
    elif version != SCHEMA_VERSION or isinstance(version, bool | float):
        raise HsrlError(
            f"{path}: schema version is {shown(version)}, expected {SCHEMA_VERSION} or 2; build the bundle again with "
            "this version of hsrl-gym."
        )
    _check_keys(path, manifest, ("schema", *_KEYS))
    if not right:
        raise HsrlError(
            f"{path}: its sha256 is not that of its last line; the file was changed or cut short, build the bundle "
            "again (or remove that line if the change was yours)."
        )
    _check_values(path, manifest)
    plain: dict[str, Any] = _printable(path, manifest)
    return plain


def _from_schema_2(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest in today's form: no picture among the files, `ensemble_size` for `n_members`."""
    simulator = dict(manifest["simulator"])
    simulator["ensemble_size"] = simulator.pop("n_members", 1)
    files = manifest.get("files")
    if isinstance(files, dict):
        files = {name: got for name, got in files.items() if not str(name).endswith(".png")}
    return {**manifest, "schema": SCHEMA_VERSION, "simulator": simulator, "files": files}


def _check_keys(where: Path | str, got: Any, expected: Collection[str]) -> None:
    if not isinstance(got, dict):
        raise HsrlError(f"{where}: got {shown(got)}, expected {', '.join(expected)} with values.")
    missing = [name for name in expected if name not in got]
    if missing:
        raise HsrlError(f"{where}: no {', '.join(missing)} in it; the file was cut short, build the bundle again.")
    unknown = [name for name in got if name not in expected]
    if unknown:
        raise HsrlError(f"{where}: got the key {shown(unknown[0])}, expected only {', '.join(expected)}.")


def _check_values(path: Path | str, manifest: Mapping[str, Any]) -> None:
    for name in ("name", "source"):
        check_name(f"{path}, {name}", manifest[name])
    _check_simulator(f"{path}, simulator", manifest["simulator"])
    codebook, where = manifest["codebook"], f"{path}, codebook"
    _check_keys(where, codebook, ("n_levels", "n_moved"))
    _check_whole(where, codebook, n_levels=1, n_moved=0)
    _check_encoder(f"{path}, profile_encoder", manifest["profile_encoder"])
    _check_provenance(f"{path}, provenance", manifest["provenance"])
    _check_fidelity(f"{path}, fidelity", manifest["fidelity"])
    files, where = manifest["files"], f"{path}, files"
    _check_keys(path if isinstance(files, dict) else where, files, FILES)
    for name, digest in files.items():
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise _wrong(f"{where}, {name}", digest, "a sha256")


def _check_simulator(where: str, settings: Any) -> None:
    _check_keys(where, settings, (*(field.name for field in fields(SimulatorConfig)), "ensemble_size"))
    _check_whole(where, settings, **{name: 1 for name in settings if name != "dropout"})
    if not _is_number(settings["dropout"]) or not 0 <= settings["dropout"] < 1:
        raise _wrong(f"{where}, dropout", settings["dropout"], "a number from 0 to below 1")
    if settings["history_length"] > _LONGEST_HISTORY:
        raise _wrong(f"{where}, history_length", settings["history_length"], f"at most {_LONGEST_HISTORY}")


def _check_encoder(where: str, encoder: Any) -> None:
    names = ("categories", "compressed", "mean", "scale")
    _check_keys(where, encoder, names)
    for name in names:
        if not isinstance(encoder[name], list):
            raise _wrong(f"{where}, {name}", encoder[name], "a list")
    for codes in encoder["categories"]:
        if not isinstance(codes, list) or not all(map(_is_number, codes)):
            raise _wrong(f"{where}, categories", codes, "a list of numbers")
    if not all(isinstance(value, bool) for value in encoder["compressed"]):
        raise _wrong(f"{where}, compressed", encoder["compressed"], "true or false for each column")
    if not all(map(_is_number, encoder["mean"])) or not all(_is_number(x) and x > 0 for x in encoder["scale"]):
        raise _wrong(f"{where}, mean and scale", [encoder["mean"], encoder["scale"]], "numbers, scales above 0")
    if len({len(encoder[name]) for name in names[1:]}) != 1:
        raise _wrong(where, [len(encoder[name]) for name in names[1:]], "as many compressed, mean and scale")


def _check_provenance(where: str, provenance: Any) -> None:
    """Raise HsrlError unless the provenance is a mapping, in which a seed and a vocabulary are what they are called."""
    if not isinstance(provenance, dict):
        raise _wrong(where, provenance, "names with values")
    _check_whole(where, provenance, **{name: 0 for name in ("seed",) if name in provenance})
    sizes = provenance.get("vocabulary", [1])
    if not isinstance(sizes, list) or not sizes or not all(_is_number(size) and size >= 1 for size in sizes):
        raise _wrong(f"{where}, vocabulary", sizes, "a list of sizes")


def _check_fidelity(where: str, fidelity: Any) -> None:
    """Raise HsrlError unless the fidelity is {}, or that of known simulators with all that its table shows."""
    if not isinstance(fidelity, dict) or not set(fidelity) <= set(SIMULATORS):
        raise _wrong(where, fidelity, f"values of {', '.join(SIMULATORS)}")
    for name, values in fidelity.items():
        own = f"{where}, {name}"
        needed = ("seen_in_fit", "n_slates", *_SHARES, "reliability")
        if not isinstance(values, dict) or not set(needed) <= set(values):
            raise _wrong(own, values, f"{', '.join(needed)} with values")
        if not isinstance(values["seen_in_fit"], bool):
            raise _wrong(f"{own}, seen_in_fit", values["seen_in_fit"], "true or false")
        _check_whole(own, values, n_slates=0)
        if not all(_is_number(values[key]) for key in _SHARES):
            raise _wrong(own, [values[key] for key in _SHARES], f"numbers for {', '.join(_SHARES)}")
        bins = values["reliability"]
        if not isinstance(bins, list) or not bins or not all(map(_is_bin, bins)):
            raise _wrong(f"{own}, reliability", bins, "triples of two numbers from 0 to 1 and a count of at least 1")


def _is_bin(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(map(_is_number, values))
        and all(0 <= value <= 1 for value in values[:2])
        and values[2] >= 1
    )


def _check_whole(where: str, settings: Mapping[str, Any], **least: int) -> None:
    for name, smallest in least.items():
        value = settings[name]
        if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value < 2**31:
            raise _wrong(f"{where}, {name}", value, f"a whole number from {smallest} to below 2^31")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong(where: str, got: Any, expected: str) -> HsrlError:
    return HsrlError(f"{where}: got {shown(got)}, expected {expected}; build the bundle again.")


def _printable(where: Path, value: Any) -> Any:
    """Return plain values with all texts in them printable; the keys of a mapping have to be texts."""
    if isinstance(value, dict):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise _wrong(str(where), wrong[0], "a text as key")
        return {printable(key): _printable(where, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_printable(where, inner) for inner in value]
    return printable(value) if isinstance(value, str) else value
