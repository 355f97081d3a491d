"""Presets, and settings of methods that were tuned on a bundle: YAML files that go with the package."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsrl_agent.evaluation.plugins import is_plugin, resolve
from hsrl_agent.files import write_text
from hsrl_gym.envs.rules import REWARDS
from hsrl_gym.errors import HsrlError, shown, unknown_name
from hsrl_gym.yaml_files import dump_yaml, read_yaml

PRESETS = Path(__file__).with_name("presets.yaml")
TUNED = Path(__file__).with_name("tuned")
NO_SETTINGS = "none"  # for --settings: the code's defaults
_NEEDED = ("envs", "seeds", "steps", "checkpoints", "episodes")
_TUNED_KEYS = ("name", "bundle", "reward", "methods")
_REFERS = "settings_of"


@dataclass(frozen=True)
class Preset:
    """Numbers of a comparison. `methods` None are all methods; the other fields are named as the options are."""

    envs: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    checkpoints: int
    episodes: int
    methods: tuple[str, ...] | None = None
    n_envs: int = 32


@dataclass(frozen=True)
class TunedSettings:
    """Settings of methods, tuned on one bundle under one reward rule.

    Attributes:
        name: of the file, for people.
        bundle: digest of the bundle's content (`tasks.bundle_digest`); None if it is not known.
        methods: keyword arguments by method.
        reward: the reward rule; None if it is not known.
    """

    name: str
    bundle: str | None
    methods: Mapping[str, Mapping[str, Any]]
    reward: str | None = None

    def origin(self, digest: str, named: str) -> str:
        """Return in words what the settings were tuned on, seen from the bundle with that content."""
        where = "this bundle" if self.bundle == digest else "another bundle"
        return f"tuned on {where}{f' under {self.reward}' if self.reward else ''} ({named})"


@dataclass(frozen=True)
class Settings:
    """The settings that the methods of a task have.

    Attributes:
        methods: keyword arguments by method.
        origin: where they come from, for people.
        name: what `--settings` calls them.
    """

    methods: Mapping[str, Mapping[str, Any]]
    origin: str
    name: str

    def of(self, method: str) -> dict[str, Any]:
        """Return the keyword arguments of a method; {} for the code's defaults."""
        return dict(self.methods.get(method, {}))


def preset_names(path: Path = PRESETS) -> list[str]:
    """Return the names of the presets."""
    return list(mapping(path, read_yaml(path)))


def read_preset(name: str, path: Path = PRESETS) -> Preset:
    """Return a preset.

    Raises:
        HsrlError: for an unknown name, or an entry that is not what `Preset` has.
    """
    presets = mapping(path, read_yaml(path))
    if name not in presets:
        raise unknown_name("preset", name, presets)
    where = f"{path}, {name}"
    preset = mapping(where, presets[name])
    refuse_unknown(where, preset, Preset.__dataclass_fields__)
    missing = [key for key in _NEEDED if key not in preset]
    if missing:
        raise HsrlError(f"{where}: no {', '.join(missing)} in it.")
    for key, value in preset.items():
        of_list, kind = key in ("envs", "methods", "seeds"), str if key in ("envs", "methods") else int
        if not all(type(one) is kind for one in (value if isinstance(value, list) else [value])) or (
            isinstance(value, list) != of_list
        ):
            what = f"{'a list of ' if of_list else 'a '}{'name' if kind is str else 'whole number'}{'s' * of_list}"
            raise HsrlError(f"{where}: got {key}: {value!r}, expected {what}.")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in preset.items()}
    return Preset(**values)


def choose_settings(named: str | None, digest: str) -> Settings:
    """Return the settings for a task on the bundle with that content, whatever its reward rule.

    Args:
        named: None for those tuned on this bundle, if there are any; "none" for the code's defaults; else the name of a
            file in `TUNED`, or a path.
        digest: of the bundle's content.

    Raises:
        HsrlError: if there are none of that name, or the file cannot be used.
    """
    if named == NO_SETTINGS:
        return Settings({}, "the code's defaults", NO_SETTINGS)
    if named is not None:
        tuned = read_tuned(_file_named(named))
        return Settings(tuned.methods, tuned.origin(digest, named), named)
    for path in sorted(TUNED.glob("*.yaml")):
        tuned = read_tuned(path)
        if tuned.bundle == digest:
            return Settings(tuned.methods, tuned.origin(digest, tuned.name), path.stem)
    return Settings({}, "the code's defaults; none were tuned on this bundle", NO_SETTINGS)


def _file_named(named: str) -> Path:
    names = {path.stem: path for path in TUNED.glob("*.yaml")}
    if named in names:
        return names[named]
    path = Path(named)
    if path.suffix != ".yaml":
        raise unknown_name("settings", named, [*names, NO_SETTINGS])
    return path


def read_tuned(path: Path) -> TunedSettings:
    """Return the settings in a file, checked. `METHOD: {settings_of: OTHER}` stands for those of the other method.

    Raises:
        HsrlError: for a method, a keyword or a reward rule that is not known, with the file.
    """
    content = mapping(path, read_yaml(path))
    refuse_unknown(path, content, _TUNED_KEYS)
    name, bundle, reward = content.get("name", path.stem), content.get("bundle"), content.get("reward")
    if reward is not None and reward not in REWARDS:
        raise HsrlError(f"{path}: {unknown_name('reward rule', str(reward), REWARDS)}")
    methods = mapping(f"{path}, methods", content.get("methods"))
    found: dict[str, dict[str, Any]] = {}
    for method, settings in methods.items():
        where = f"{path}, {method}"
        if set(mapping(where, settings)) == {_REFERS}:
            if settings[_REFERS] not in methods:
                raise HsrlError(f"{where}: {unknown_name('method', settings[_REFERS], methods)}")
            settings = mapping(where, methods[settings[_REFERS]])
        found[method] = dict(settings)
        try:
            _refuse_texts(settings)
            if not is_plugin(method):
                resolve(method, settings)
        except HsrlError as error:
            raise HsrlError(f"{where}: {error}") from None
    return TunedSettings(str(name), bundle, found, reward)


def write_tuned(path: Path, tuned: TunedSettings, comment: str) -> None:
    """Write settings to a file that `read_tuned` reads. Methods that the file has and `tuned` has not are kept.

    Args:
        path: the file; `TUNED / f"{name}.yaml"` for settings that apply by themselves.
        tuned: what was chosen.
        comment: lines for its head.
    """
    before = mapping(path, read_yaml(path)).get("methods", {}) if path.is_file() else {}
    methods = {**before, **{method: dict(settings) for method, settings in tuned.methods.items()}}
    content = {"name": tuned.name, "bundle": tuned.bundle, "reward": tuned.reward, "methods": methods}
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    write_text(path, head + dump_yaml(content, default_flow_style=None, width=1_000))


def mapping(where: Path | str, value: Any) -> dict[str, Any]:
    """Return `value`, which has to be names with values; `where` it stands is for the complaint."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise HsrlError(f"{where}: got {shown(value)}, expected names with values, {{}} for none.")
    return value


def refuse_unknown(where: Path | str, got: Collection[str], known: Collection[str]) -> None:
    """Raise HsrlError for a key that is not known; `where` it stands is for the complaint."""
    for key in got:
        if key not in known:
            raise HsrlError(f"{where}: {unknown_name('key', key, known)}")


def _refuse_texts(settings: Mapping[str, Any]) -> None:
    """Refuse a number that YAML takes for a text: 3e-4 has no point."""
    for name, value in settings.items():
        if isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                continue
            raise HsrlError(f"got the text {value!r} for {name}; write {_with_point(number)} for the number.")


def _with_point(number: float) -> str:
    text = f"{number:g}"
    mantissa, exponent, power = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{exponent}{power}"
