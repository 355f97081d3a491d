"""The error for unusable input, and checks that all parts of the package share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import torch

_MOST_SHOWN = 200  # characters of what was found, in one message


class HsrlError(ValueError):
    """Unusable input; the message says what was got, what was expected and what to do."""


def unknown_name(kind: str, got: object, known: Iterable[str]) -> HsrlError:
    """Return the error for an unknown name; it lists the nearest known names."""
    names = sorted(known)
    near = difflib.get_close_matches(str(got), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}."
    return HsrlError(f"unknown {kind} {got!r}; {hint}")


def shown(text: str) -> str:
    """Return `text` in quotes for a message: at most 200 characters, all of them printable."""
    quoted = repr(text[:_MOST_SHOWN])
    whole = len(text) <= _MOST_SHOWN and len(quoted) <= _MOST_SHOWN
    return quoted if whole else f"{quoted[: _MOST_SHOWN - 4]}...{quoted[-1]}"


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
