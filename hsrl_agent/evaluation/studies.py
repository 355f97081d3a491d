"""Table 3 and Figure 5 of the paper: HSRL with one thing changed, as `studies.yaml` declares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.settings import mapping, refuse_unknown
from hsrl_agent.evaluation.summary import REFERENCE
from hsrl_agent.evaluation.tasks import bundle_digest, bundle_folder, find_env
from hsrl_gym.bundle.build import CODEBOOKS, with_codebook
from hsrl_gym.bundle.folder import load_bundle, read_manifest, save_bundle
from hsrl_gym.errors import HsrlError, unknown_name
from hsrl_gym.yaml_files import read_yaml

STUDIES_FILE = Path(__file__).with_name("studies.yaml")
_VARIANT_KEYS = ("settings", "codebook", "panel", "value")
_CODEBOOK_KEYS = ("kind", "levels", "vocabulary")


@dataclass(frozen=True)
class Variant:
    """HSRL with something changed.

    Attributes:
        name: in tables; "" for HSRL as it is.
        settings: keyword arguments that win over those of the method.
        codebook: kind, levels and vocabulary of the semantic IDs, where they differ from the bundle's.
        panel, value: where a figure shows the variant; None in a table.
    """

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    codebook: Mapping[str, Any] = field(default_factory=dict)
    panel: str | None = None
    value: float | None = None

    @property
    def place(self) -> dict[str, Any]:
        """Panel and value for the `protocol_kwargs` of its runs, which figures read; {} in a table."""
        return {} if self.panel is None else {"panel": self.panel, "value": self.value}


@dataclass(frozen=True)
class Study:
    """The environment of a study, and its variants. The first one is HSRL as it is."""

    env: str
    variants: tuple[Variant, ...]

    def only(self, names: Sequence[str]) -> Study:
        """Return the study with HSRL as it is and the variants of these names.

        Raises:
            HsrlError: for a name that no variant has.
        """
        full, *others = self.variants
        for name in names:
            if name not in [variant.name for variant in others]:
                raise unknown_name("variant", name, [variant.name for variant in others])
        return replace(self, variants=(full, *(variant for variant in others if variant.name in names)))


def read_study(name: str, path: Path = STUDIES_FILE) -> Study:
    """Return a study of the file.

    Raises:
        HsrlError: for an unknown study, environment, setting or codebook.
    """
    studies = mapping(path, read_yaml(path))
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
    """Return the bundle folder of a variant; one with other semantic IDs is made unless it is there already.

    Args:
        variant: of a study.
        env: id of the environment.
        bundle: folder of the study's bundle; None for the environment's own.
        out: folder of the comparison.
    """
    if not variant.codebook:
        return bundle
    source = bundle_folder(env, bundle)
    manifest = read_manifest(source)
    known = manifest["provenance"]
    kind = variant.codebook.get("kind", known.get("codebook", "features"))
    levels = variant.codebook.get("levels", manifest["codebook"]["n_levels"])
    vocabulary = variant.codebook.get("vocabulary", known.get("vocabulary", [64])[0])
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
    panel, number = changes.get("panel"), changes.get("value")
    refuse_unknown(where, changes, _VARIANT_KEYS)
    refuse_unknown(where, codebook, _CODEBOOK_KEYS)
    if codebook.get("kind", CODEBOOKS[0]) not in CODEBOOKS:
        raise HsrlError(f"{where}: {unknown_name('codebook', codebook['kind'], CODEBOOKS)}")
    for key in ("levels", "vocabulary"):
        size = codebook.get(key, 1)
        if type(size) is not int or size < 1:
            raise HsrlError(f"{where}: got {key} {size!r}, expected a whole number above 0.")
    if (panel is None) != (number is None) or not isinstance(number, int | float | None):
        raise HsrlError(
            f"{where}: got panel {panel!r} and value {number!r}, expected a name with a number, or neither."
        )
    resolve(REFERENCE, settings)  # refuses settings that HSRL does not take
    return Variant(name, settings, codebook, panel, None if number is None else float(number))
