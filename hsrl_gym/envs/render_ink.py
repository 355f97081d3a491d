"""Colours, fonts, and text that fits: what the pictures of a session are drawn with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import ImageDraw, ImageFont

PAPER, PANEL, LINE = "#ffffff", "#f4f6f8", "#c5ccd3"
TEXT, QUIET = "#1f2933", "#52606d"
BLUE, GREEN, GREEN_PANEL, ORANGE = "#0b62a8", "#00704a", "#e3f4ec", "#b54708"  # told apart by colour-blind readers

Font = ImageFont.FreeTypeFont
Box = tuple[int, int, int, int]  # left, top, right, bottom


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> Font:
    """Return DejaVu Sans, which Matplotlib ships: pictures look the same everywhere."""
    from matplotlib import get_data_path

    file = Path(get_data_path(), "fonts", "ttf", f"DejaVuSans{'-Bold' if bold else ''}.ttf")
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


def fitted(text: str, own: Font, width: float) -> str:
    """Return the longest beginning of a text that fits into `width`, with "…" if it was cut."""
    if own.getlength(text) <= width:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if own.getlength(text[:middle].rstrip() + "…") <= width:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…"


def wrapped(text: str, own: Font, width: float, n_lines: int) -> list[str]:
    """Return a text in at most `n_lines` lines, broken between words; the last one is cut to fit."""
    lines, words = [""], text.split()
    while words:
        longer = f"{lines[-1]} {words[0]}".strip()
        if own.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
            words.pop(0)
        elif len(lines) < n_lines:
            lines.append("")
        else:
            lines[-1] = " ".join([lines[-1], *words])
            break
    return [fitted(line, own, width) for line in lines]


def pill(draw: ImageDraw.ImageDraw, right: int, middle: int, text: str, fill: str, own: Font) -> int:
    """Draw white text on a coloured pill that ends at `right`; return where it begins."""
    left = right - round(own.getlength(text)) - 12
    half = own.size // 2 + 4
    draw.rounded_rectangle((left, middle - half, right, middle + half), radius=5, fill=fill)
    draw.text(((left + right) / 2, middle), text, PAPER, own, anchor="mm")
    return left


def bar(draw: ImageDraw.ImageDraw, box: Box, share: float, fill: str, before: float = 0.0) -> None:
    """Draw a bar that is filled up to `share` of it, and lighter up to `before`."""
    left, top, right, bottom = box
    draw.rectangle(box, fill=LINE)
    for part, colour in ((before, ORANGE), (share, fill)):
        end = left + round((right - left) * min(max(part, 0.0), 1.0))
        if end > left:
            draw.rectangle((left, top, end, bottom), fill=colour)
