"""The YAML files under configs/: presets, and settings of the methods."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from hsrl_gym.envs.rules import REWARDS
from hsrl_gym.errors import HsrlError, unknown_name
from plugins import METHODS, check_settings, is_plugin
from spec import find_env

CONFIGS = Path(__file__).parent / "configs"
METHODS_FILE = CONFIGS / "methods.yaml"
STUDIES_FILE = CONFIGS / "studies.yaml"
_NO_PRESETS = (METHODS_FILE.name, STUDIES_FILE.name)
_PRESET_KEYS = ("envs", "methods", "seeds", "steps", "checkpoints", "episodes", "n_envs")
_NAME = re.compile(r"[\w.+-]+")  # of a bundle's folder
_NEEDED = ("envs", "seeds", "steps", "checkpoints", "episodes")

Settings = dict[str, dict[str, dict[str, Any]]]  # method -> "default" or section_name(..) -> keyword -> value


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.name not in _NO_PRESETS)


def read_preset(name: str, folder: Path = CONFIGS) -> dict[str, Any]:
    """Return the numbers of a preset, and which environments and methods it has; without `methods` it is all.

    Raises:
        HsrlError: for an unknown name, or a file that says something else than a preset does.
    """
    path = folder / f"{name}.yaml"
    if path.name in _NO_PRESETS or not path.is_file():
        raise unknown_name("preset", name, preset_names())
    preset = mapping(path, load_yaml(path))
    _refuse_unknown(path, preset, _PRESET_KEYS)
    missing = [key for key in _NEEDED if key not in preset]
    if missing:
        raise HsrlError(f"{path}: no {', '.join(missing)} in it.")
    for key, value in preset.items():
        of_list, kind = key in ("envs", "methods", "seeds"), str if key in ("envs", "methods") else int
        if not all(type(one) is kind for one in (value if isinstance(value, list) else [value])) or (
            isinstance(value, list) != of_list
        ):
            what = f"{'a list of ' if of_list else 'a '}{'name' if kind is str else 'whole number'}{'s' * of_list}"
            raise HsrlError(f"{path}: got {key}: {value!r}, expected {what}.")
    return preset


def read_settings(path: Path = METHODS_FILE) -> Settings:
    """Return the settings of the methods by environment, checked.

    Raises:
        HsrlError: for a method, an environment or a keyword that is not known.
    """
    methods = mapping(path, load_yaml(path))
    for method, sections in methods.items():
        where = f"{path}, {method}"
        if not is_plugin(method) and method not in METHODS:
            raise HsrlError(f"{path}: {unknown_name('method', method, METHODS)}")
        for section, settings in mapping(where, sections).items():
            try:
                if section != "default":
                    check_section(section)
                _check_values(f"{where}, {section}", settings)
                check_settings(method, settings)
            except HsrlError as error:
                text = str(error)
                raise HsrlError(text if text.startswith(str(path)) else f"{where}, {section}: {text}") from None
    return methods


def section_name(env: str, bundle: str | Path | None = None, reward: str | None = None) -> str:
    """Return what settings stand under: ENV, then the name of the bundle's folder and the reward rule, if one's own."""
    parts = [env]
    if bundle is not None:
        parts.append(Path(bundle).absolute().name)
    if reward is not None and reward != find_env(env).kwargs.get("reward"):
        parts.append(reward)
    return "/".join(parts)


def settings_for(
    settings: Settings, method: str, env: str, bundle: str | Path | None = None, reward: str | None = None
) -> dict[str, Any]:
    """Return the keyword arguments of a method: of ENV, then of ENV/NAME, then of ENV/NAME/RULE, the later ones win."""
    sections = settings.get(method, {})
    parts = section_name(env, bundle, reward).split("/")
    names = ["default", *("/".join(parts[: n + 1]) for n in range(len(parts)))]
    return {name: value for section in names for name, value in sections.get(section, {}).items()}


def load_yaml(path: Path) -> Any:
    """Return what a YAML file says.

    Raises:
        HsrlError: if it is none.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise HsrlError(f"{path}: not readable as YAML ({reason}).") from None


def mapping(where: Path | str, value: Any) -> dict[str, Any]:
    """Return `value`, which has to be names with values; `where` it stands is for the complaint."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise HsrlError(f"{where}: got {value!r}, expected names with values, {{}} for none.")
    return value


def _refuse_unknown(path: Path, got: Collection[str], known: Collection[str]) -> None:
    for key in got:
        if key not in known:
            raise HsrlError(f"{path}: {unknown_name('key', key, known)}")


def check_section(section: str) -> None:
    """Raise HsrlError unless settings can stand under that name, see `section_name`."""
    env, *parts = section.split("/")
    find_env(env)
    if parts and parts[-1] in REWARDS:
        parts.pop()
    if len(parts) > 1 or not all(_NAME.fullmatch(part) for part in parts):
        raise HsrlError(
            f"got the section {section!r}, expected ENV, ENV/NAME of a bundle's folder, or ENV/NAME/REWARD, "
            "the name without blanks and signs."
        )


def _check_values(where: str, settings: Any) -> None:
    for name, value in mapping(where, settings).items():
        if isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                continue
            raise HsrlError(f"{where}: got the text {value!r} for {name}; write {_with_point(number)} for the number.")


def _with_point(number: float) -> str:
    text = f"{number:g}"
    mantissa, exponent, power = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{exponent}{power}"
