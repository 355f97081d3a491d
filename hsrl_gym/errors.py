"""The error for unusable input, and checks that all parts of the package share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import torch

# Control characters, the marks that turn the direction of writing, and half surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MOST_SHOWN = 200  # characters of a value in a message


def printable(text: str) -> str:
    """Return the text as one line that cannot steer a terminal: a line break or tab is " ", a control character "?"."""
    return _CONTROL.sub(lambda found: " " if found[0].isspace() else "?", text)


def is_unprintable(text: str) -> bool:
    """Return whether `printable` would change the text."""
    return _CONTROL.search(text) is not None


def shown(value: object, most: int = _MOST_SHOWN) -> str:
    """Return the value as it stands in a message: at most `most` printable characters."""
    try:
        text = printable(repr(value))
    except ValueError:  # Python writes no integers of more than 4,300 digits
        text = f"a {type(value).__name__} too long to be written"
    return text if len(text) <= most else f"{text[: most - 4]}...{text[-1]}"


class HsrlError(ValueError):
    """Unusable input; the message says what was got, what was expected and what to do. It is one printable line."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class UnexpectedArgument(HsrlError, TypeError):
    """An argument that nothing takes: a TypeError too, by which other libraries learn what they may not pass."""


def unknown_name(kind: str, got: object, known: Iterable[str]) -> HsrlError:
    """Return the error for an unknown name; it lists the nearest known names."""
    return HsrlError(f"unknown {kind} {shown(got)}; {nearest(got, known)}")


def nearest(got: object, known: Iterable[str]) -> str:
    """Return the end of a message on an unknown name: the nearest known ones, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(str(got)[:_MOST_SHOWN], names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}."


def listed(names: Iterable[str]) -> str:
    """Return names with commas between them for a message: at most 200 characters, all of them printable."""
    text = ", ".join(names)[: _MOST_SHOWN + 1]
    text = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def open_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        HsrlError: if this machine has no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise HsrlError(f"got the device {name!r}, expected cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise HsrlError(f"got the device {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices; use cpu.")
    return device
