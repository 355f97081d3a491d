"""What tuning may choose for each method: `configs/search.yaml` as Optuna's distributions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hsrl_agent.evaluation.plugins import check_settings
from hsrl_agent.evaluation.settings import mapping, refuse_unknown
from hsrl_agent.method import Method
from hsrl_agent.methods import METHODS
from hsrl_gym.errors import HsrlError, unknown_name
from hsrl_gym.yaml_files import read_yaml

SEARCH_FILE = Path(__file__).parent / "configs" / "search.yaml"
_DIGITS = 3  # of a number that is drawn from a range
_KEYS = ("low", "high", "log", "choices", "default")


@dataclass(frozen=True)
class Choice:
    """What one keyword may be; `default` is its value in methods whose class does not say it, None otherwise."""

    distribution: BaseDistribution
    default: Any = None

    def holds(self, value: Any) -> bool:
        """Return whether the keyword may be `value`."""
        if isinstance(self.distribution, CategoricalDistribution):
            return value in self.distribution.choices
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return is_number(value) and self.distribution.low <= value <= self.distribution.high

    def text(self) -> str:
        """Return it in a few words."""
        if isinstance(self.distribution, CategoricalDistribution):
            return " | ".join(map(str, self.distribution.choices))
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return f"{self.distribution.low:g} .. {self.distribution.high:g}{' (log)' * self.distribution.log}"


Space = dict[str, Choice]  # by keyword


def read_search(path: Path = SEARCH_FILE) -> dict[str, Space]:
    """Return the search space of each method.

    Raises:
        HsrlError: for an unreadable file, an unknown method or keyword, or an empty range.
    """
    methods = mapping(path, read_yaml(path))
    spaces: dict[str, Space] = {}
    for name, keywords in methods.items():
        if name not in METHODS:
            raise HsrlError(f"{path}: {unknown_name('method', name, METHODS)}")
        if not isinstance(keywords, dict) or not keywords:
            raise HsrlError(f"{path}, {name}: got {keywords!r}, expected keywords with what they may be.")
        try:
            check_settings(METHODS[name], keywords)
        except HsrlError as error:
            raise HsrlError(f"{path}, {name}: {error}") from None
        spaces[name] = {key: _choice(f"{path}, {name}, {key}", value) for key, value in keywords.items()}
    return spaces


def starting_point(method: Method, space: Space, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the method has now for the keywords of its space: the first trial.

    The settings say it first, then the record of the method, then the signature of its class, then `default`.

    Raises:
        HsrlError: if nothing says it, or if the space does not hold it.
    """
    signature = _defaults(method.agent_class)
    found = {}
    for name, choice in space.items():
        sources = (settings, method.defaults, signature, {name: choice.default})
        known = [source[name] for source in sources if source.get(name) is not None]
        if not known:
            raise HsrlError(f"{method.name}, {name}: nothing says what it is now; add `default: ..` to the space.")
        if not choice.holds(known[0]):
            raise HsrlError(f"{method.name}, {name}: it is {known[0]!r} now, expected that within {choice.text()}.")
        found[name] = known[0]
    return found


def rounded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with three digits of every drawn number, as they are run and written."""
    return {
        name: float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value for name, value in settings.items()
    }


def _defaults(made: type) -> dict[str, Any]:
    """Return the defaults of a class's keywords; those of a child win over its parents'."""
    found: dict[str, Any] = {}
    for parent in reversed(made.__mro__):
        for name, one in inspect.signature(vars(parent).get("__init__", object.__init__)).parameters.items():
            if one.default is not one.empty:
                found[name] = one.default
    return found


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a finite number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _choice(where: str, value: Any) -> Choice:
    form = "expected {low: .., high: .., log: true} or {choices: [..]}"
    if not isinstance(value, dict):
        raise HsrlError(f"{where}: got {value!r}, {form}.")
    refuse_unknown(where, value, _KEYS)
    default = value.get("default")
    if "choices" in value:
        choices = value["choices"]
        if not isinstance(choices, list) or len(choices) < 2 or "low" in value or "high" in value:
            raise HsrlError(f"{where}: got {value!r}, {form}, with at least two choices.")
        return Choice(CategoricalDistribution(choices), default)
    low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    if not is_number(low) or not is_number(high) or not isinstance(log, bool):
        raise HsrlError(f"{where}: got {value!r}, {form}; YAML reads 1e-4, without a point, as text.")
    if low >= high or (log and low <= 0):
        raise HsrlError(f"{where}: got {low!r} to {high!r}, expected low < high{', above 0 for log' * log}.")
    if isinstance(low, int) and isinstance(high, int):
        return Choice(IntDistribution(low, high, log=log), default)
    return Choice(FloatDistribution(float(low), float(high), log=log), default)
