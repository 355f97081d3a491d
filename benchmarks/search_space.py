"""What may be chosen for each method: `configs/tuned/search.yaml`, read and checked."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configuration import load_yaml, mapping
from hsrl_gym.errors import HsrlError, unknown_name
from plugins import METHODS, check_settings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SEARCH_FILE = "tuned/search.yaml"  # in the folder of configs
_DIGITS = 3  # of a number that is drawn from a range: no one needs more, and a file is read more easily
Space = dict[str, "Choice"]  # keyword -> what it may be


@dataclass(frozen=True)
class Choice:
    """What one keyword may be: one of `choices`, or a number from `low` to `high`.

    Attributes:
        low, high: ends of a range, both included; None with choices.
        log: whether the range's logarithm is what is even.
        choices: () with a range.
        default: what the method has now, where it cannot be asked.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    default: Any = None

    def distribution(self) -> BaseDistribution:
        """Return it as Optuna's."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        assert self.low is not None
        assert self.high is not None
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(float(self.low), float(self.high), log=self.log)

    def holds(self, value: Any) -> bool:
        """Return whether it may be `value`."""
        if self.choices:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        return is_number(value) and self.low <= value <= self.high

    def text(self) -> str:
        """Return it in a few words."""
        if self.choices:
            return " | ".join(map(str, self.choices))
        return f"{self.low:g} .. {self.high:g}{' (log)' * self.log}"

    def data(self) -> dict[str, Any]:
        """Return it as plain data."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.log}


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def rounded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they are run and written: three digits of a drawn number."""
    return {
        name: float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value for name, value in settings.items()
    }


def read_search(path: Path) -> dict[str, Space]:
    """Return the search space of each method, checked.

    Raises:
        HsrlError: for a file that is none, a method or a keyword that is not known, a range that is empty.
    """
    spaces: dict[str, Space] = {}
    for method, keywords in mapping(path, load_yaml(path)).items():
        if method not in METHODS:
            raise HsrlError(f"{path}: {unknown_name('method', method, METHODS)}")
        if not mapping(f"{path}, {method}", keywords):
            raise HsrlError(f"{path}, {method}: got {keywords!r}, expected keywords with what they may be.")
        try:
            check_settings(method, keywords)
        except HsrlError as error:
            raise HsrlError(f"{path}, {method}: {error}") from None
        spaces[method] = {name: _choice(f"{path}, {method}, {name}", value) for name, value in keywords.items()}
    return spaces


def _choice(where: str, value: Any) -> Choice:
    form = "expected {low: .., high: .., log: true} or {choices: [..]}"
    if not isinstance(value, dict):
        raise HsrlError(f"{where}: got {value!r}, {form}.")
    for key in value:
        if key not in ("low", "high", "log", "choices", "default"):
            raise HsrlError(f"{where}: {unknown_name('key', key, ('low', 'high', 'log', 'choices', 'default'))}")
    default = value.get("default")
    if "choices" in value:
        choices = value["choices"]
        if not isinstance(choices, list) or len(choices) < 2 or "low" in value or "high" in value:
            raise HsrlError(f"{where}: got {value!r}, {form}, at least two of them.")
        return Choice(choices=tuple(choices), default=default)
    low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    if low is None or high is None or not is_number(low) or not is_number(high) or not isinstance(log, bool):
        raise HsrlError(f"{where}: got {value!r}, {form}; YAML takes 1e-4, without a point, for a text.")
    if low >= high or (log and low <= 0):
        raise HsrlError(f"{where}: got {low!r} to {high!r}, expected low < high{', above 0 for log' * log}.")
    return Choice(low, high, log, default=default)


def current(agent: object, space: Space, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what a method has now for the keywords of its space.

    Args:
        agent: one that was made with `settings`. It is asked first, as what is made need not have the defaults of its
            class (SB3's A2C is given others), then its class.
        space: of the method.
        settings: of methods.yaml; what they say goes first.
        where: of the space, for complaints.

    Raises:
        HsrlError: if nobody says it, or if the space does not hold it.
    """
    parameters = inspect.signature(type(agent)).parameters
    found = {}
    for name, choice in space.items():
        candidates = [settings.get(name), getattr(agent, name, None)]
        candidates += [parameters[name].default] if name in parameters else []
        known = [value for value in (*candidates, choice.default) if is_number(value) or isinstance(value, str | bool)]
        if not known:
            raise HsrlError(f"{where}, {name}: nothing says what it is now; add `default: ..`.")
        if not choice.holds(known[0]):
            raise HsrlError(f"{where}, {name}: it is {known[0]!r} now, expected that within {choice.text()}.")
        found[name] = known[0]
    return found
