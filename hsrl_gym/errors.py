"""The one error a user's input can raise, and the wording of unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HsrlError(ValueError):
    """Input that cannot be used; the message says what was got, what was expected and what to do."""


def unknown_name(kind: str, got: object, known: Iterable[str]) -> HsrlError:
    """Return the error for a name that nothing is registered under, with the nearest known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(str(got), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}."
    return HsrlError(f"unknown {kind} {got!r}; {hint}")
