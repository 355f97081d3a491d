"""Settings of an environment's parts as data classes, given as objects or as mappings that may come from JSON."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, TypeVar

from hsrl_gym.errors import HsrlError, UnexpectedArgument, nearest, unknown_name

Settings = TypeVar("Settings")
_OF_VECTORS = ("num_envs", "autoreset_mode")


def from_json(kind: type[Settings], what: str, given: Settings | Mapping[str, Any]) -> Settings:
    """Return settings of a data class.

    Args:
        kind: the data class.
        what: its name in messages, for instance "churn".
        given: an object of it, or its arguments.

    Raises:
        HsrlError: for something else, an unknown argument, or a value that the data class cannot compare.
    """
    if isinstance(given, kind):
        return given
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # a data class
    if not isinstance(given, Mapping):
        raise HsrlError(f"got {what} {given!r}, expected a mapping with any of {', '.join(known)}.")
    for name in given:
        if name not in known:
            raise unknown_name(f"{what} setting", name, known)
    try:
        return kind(**given)
    except TypeError as error:  # for instance a comparison of a number with a text
        raise HsrlError(f"got {what} {dict(given)}, expected numbers where numbers stand ({error}).") from None


def whole_number(what: str, value: object, smallest: int) -> int:
    """Return a setting that has to be a whole number; NumPy's integers are taken as well.

    Args:
        what: its name in messages, for instance "churn every".
        value: what was given.
        smallest: value that is allowed.

    Raises:
        HsrlError: for something else.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < smallest:
        raise HsrlError(f"got {what} {value!r}, expected a whole number of at least {smallest}.")
    return int(value)


def finite_number(what: str, value: object, smallest: float = -math.inf) -> None:
    """Raise HsrlError unless a setting is a finite number of at least `smallest`; `what` is its name in messages."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value) or value < smallest:
        least = "" if smallest == -math.inf else f" of at least {smallest:g}"
        raise HsrlError(f"got {what} {value!r}, expected a finite number{least}.")


def check_arguments(given: Iterable[str], called: type, more: Iterable[str] = (), who: str = "the environment") -> None:
    """Raise UnexpectedArgument for an unknown argument of a constructor.

    Args:
        given: names of the arguments.
        called: the class that takes them.
        more: names that are known as well.
        who: got them, in the message.
    """
    known = [name for name in inspect.signature(called).parameters if name != "bundle"]
    known += more
    for name in given:
        if name not in known:
            hint = "it is one of gym.make_vec." if name in _OF_VECTORS else nearest(name, known)
            raise UnexpectedArgument(f"{who} got an unexpected keyword argument {name!r}; {hint}")
