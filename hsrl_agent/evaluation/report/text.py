"""Words of the reports: the small markup that notes and cells are written in, lists, numbers, durations."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence


def to_html(text: str) -> str:
    """Return a line with `code` and **strong** as HTML; everything else means nothing but itself."""
    text = html.escape(text, quote=True)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)


def to_plain(text: str) -> str:
    """Return a line for a terminal, which has neither `code` nor **strong**."""
    return text.replace("**", "").replace("`", "")


def listed(words: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def numbers(values: Sequence[int]) -> str:
    """Return numbers in a row, a run of three and more as "0 to 4"."""
    values = sorted(set(values))
    if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))


def count(n: int, noun: str) -> str:
    """Return "1 seed", "1,000 seeds"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """Return "24 s", "5 min" or "2 h 5 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def thousands(value: float) -> str:
    """Return 12k for 12,000 and 1.6M for 1,600,000."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"
