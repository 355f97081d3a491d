"""Table 3 and Figure 5: HSRL with one thing changed, read from configs/studies.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configuration import STUDIES_FILE, load_yaml, mapping
from hsrl_gym.bundle.build import CODEBOOKS, with_codebook
from hsrl_gym.bundle.folder import load_bundle, read_manifest, save_bundle
from hsrl_gym.errors import HsrlError, unknown_name
from plugins import check_settings
from spec import bundle_digest, bundle_folder, find_env

METHOD = "hsrl"
STUDIES = ("table3", "figure5")
_CODEBOOK_KEYS = ("kind", "levels", "vocabulary")


@dataclass(frozen=True)
class Variant:
    """HSRL with something changed.

    Attributes:
        name: what tables call it; "" for HSRL as it is.
        settings: keyword arguments beside those of the method.
        codebook: kind, levels and vocabulary of the semantic IDs, as far as they differ from the bundle's.
    """

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    codebook: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """An environment, and the variants that are compared in it, HSRL as it is first."""

    env: str
    variants: tuple[Variant, ...]

    def only(self, names: Sequence[str]) -> Study:
        """Return the study of HSRL as it is and the variants of these names.

        Raises:
            HsrlError: for a name that no variant has.
        """
        full, *others = self.variants
        for name in names:
            if name not in [variant.name for variant in others]:
                raise unknown_name("variant", name, [variant.name for variant in others])
        return replace(self, variants=(full, *(variant for variant in others if variant.name in names)))


def read_study(name: str, path: Path = STUDIES_FILE) -> Study:
    """Return a study of the file, checked.

    Raises:
        HsrlError: for a study, a setting or a codebook that is not known.
    """
    studies = mapping(path, load_yaml(path))
    if name not in studies:
        raise unknown_name("study", name, studies)
    where = f"{path}, {name}"
    study = mapping(where, studies[name])
    if set(study) != {"env", "variants"}:
        raise HsrlError(f"{where}: got {', '.join(study)}, expected env and variants.")
    find_env(study["env"])
    variants = [_variant(f"{where}, {key}", key, value) for key, value in mapping(where, study["variants"]).items()]
    return Study(study["env"], (Variant(), *variants))


def bundle_of(variant: Variant, env: str, bundle: str | None, out: Path) -> str | None:
    """Return the bundle that a variant runs on: the study's, or one with other semantic IDs, made if it is not there.

    Args:
        variant: of a study.
        env: id of the environment.
        bundle: folder that was asked for; None for the environment's own.
        out: folder of the comparison; bundles stand in its `bundles/`.
    """
    if not variant.codebook:
        return bundle
    source = bundle_folder(env, bundle)
    manifest = read_manifest(source)
    known = manifest["provenance"]
    kind = variant.codebook.get("kind", known.get("codebook", "features"))
    levels = variant.codebook.get("levels", manifest["codebook"]["n_levels"])
    vocabulary = variant.codebook.get("vocabulary", known["vocabulary"][0])
    folder = out / "bundles" / f"{source.name}-{kind}-{levels}x{vocabulary}"
    digest = bundle_digest(source)
    if not (folder / "bundle.yaml").is_file() or read_manifest(folder)["provenance"].get("recoded_from") != digest:
        made = with_codebook(load_bundle(source), levels, vocabulary, known.get("seed", 0), kind)
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_bundle(replace(made, provenance={**made.provenance, "recoded_from": digest}), folder)
    return str(folder)


def _variant(where: str, name: str, value: Any) -> Variant:
    changes = mapping(where, value)
    settings, codebook = mapping(where, changes.get("settings", {})), mapping(where, changes.get("codebook", {}))
    for key in changes:
        if key not in ("settings", "codebook"):
            raise HsrlError(f"{where}: {unknown_name('key', key, ('settings', 'codebook'))}")
    for key in codebook:
        if key not in _CODEBOOK_KEYS:
            raise HsrlError(f"{where}: {unknown_name('key', key, _CODEBOOK_KEYS)}")
    if codebook.get("kind", CODEBOOKS[0]) not in CODEBOOKS:
        raise HsrlError(f"{where}: {unknown_name('codebook', codebook['kind'], CODEBOOKS)}")
    for key in ("levels", "vocabulary"):
        size = codebook.get(key, 1)
        if type(size) is not int or size < 1:
            raise HsrlError(f"{where}: got {key} {size!r}, expected a whole number above 0.")
    check_settings(METHOD, settings)
    return Variant(name, settings, codebook)
