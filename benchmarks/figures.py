"""What the pictures share: colours, axes, bands over seeds, and how a figure becomes a PNG or an SVG."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from results import Interval, interval, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colour and marker. Okabe and Ito's colours, told apart with every kind of colour vision; HSRL takes the strongest two.
_LOOKS = {
    "random": ("#999999", "."),
    "popularity": ("#000000", "x"),
    "oracle": ("#A3245B", "+"),
    "sl": ("#CC79A7", "^"),
    "a2c": ("#E69F00", "D"),
    "a2c-log": ("#A65628", "8"),
    "ppo": ("#7B61FF", ">"),
    "ddpg": ("#56B4E9", "v"),
    "td3": ("#8C6D31", "P"),
    "pgra": ("#B8B000", "X"),
    "hac": ("#009E73", "*"),
    "hac-log": ("#66A61E", "p"),
    "hsrl-paper": ("#0072B2", "s"),
    "hsrl-scratch": ("#F0A07A", "h"),
    "hsrl-items": ("#C77CB5", "d"),
    "hsrl": ("#D55E00", "o"),
}
_OTHER_LOOKS = (("#009E73", "<"), ("#56B4E9", "p"), ("#B8B000", "h"), ("#8C6D31", "d"))
LEVEL_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#999999")
_GRID = "#ebebeb"
_SALT = "hsrl-gym"
_INCHES_A_MARKER, _INCHES_A_LETTER, _MOST_COLUMNS = 0.7, 0.068, 6  # of a legend


def looks_of(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each method: its own, and for plugged-in agents the next of a few."""
    others = [method for method in methods if method not in _LOOKS]
    spare = {method: _OTHER_LOOKS[index % len(_OTHER_LOOKS)] for index, method in enumerate(others)}
    return {method: _LOOKS[method] if method in _LOOKS else spare[method] for method in methods}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that no window manager knows of."""
    from matplotlib.figure import Figure  # takes half a second, which processes that only learn need not wait for

    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Any) -> None:
    """Give axes the look of all ours: a pale grid behind, no frame above and to the right."""
    axes.grid(True, color=_GRID)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def count_steps(axes: Any) -> None:
    """Write the numbers of the horizontal axis as 12k or 1.6M."""
    axes.xaxis.set_major_formatter(lambda value, _: thousands(value))


def thousands(value: float) -> str:
    """Return 12k for 12,000 and 1.6M for 1,600,000."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


@lru_cache(maxsize=4096)
def _interval(values: tuple[float, ...]) -> Interval:
    return interval(values)


def spread(columns: Iterable[Sequence[float]]) -> tuple[NDArray[np.float64], ...]:
    """Return mean, and ends of the band over seeds, of one list of values a point; the mean thrice for one seed."""
    intervals = [_interval(tuple(values)) for values in columns]
    means = [one.mean for one in intervals]
    lows = [one.mean if one.low is None else one.low for one in intervals]
    highs = [one.mean if one.high is None else one.high for one in intervals]
    return tuple(np.array(column, dtype=np.float64) for column in (means, lows, highs))


def band_name(n_seeds: int) -> str:
    """Return what the band over so many seeds is."""
    return {1: "one seed", 2: "2 seeds, band: their range"}.get(n_seeds, f"{n_seeds} seeds, band: 95%")


def draw_legend(figure: Figure, handles: Mapping[str, Any]) -> None:
    """Put one legend under all panels, in as many columns as the figure is wide enough for."""
    letters = max((len(name) for name in handles), default=1)
    n_columns = int(figure.get_figwidth() / (_INCHES_A_MARKER + letters * _INCHES_A_LETTER))
    n_columns = max(1, min(n_columns, _MOST_COLUMNS))
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=n_columns, frameon=False, fontsize=9
    )


def write_png(figure: Figure, path: Path, dpi: int = 130) -> None:
    """Write the figure; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def to_svg(figure: Figure, name: str, title: str) -> str:
    """Return the figure as an `<svg>` for a page, whose text and axes take the page's colours.

    The page says what `--ink` and `--grid` are, so that one picture serves on a light ground and on a dark one.

    Args:
        figure: drawn on a clear ground from here on.
        name: of the picture in the page; its ids begin with it, as ids must differ within a page.
        title: what a screen reader says.
    """
    import matplotlib as mpl

    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_alpha(0.0)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "none"}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for side in ("width", "height"):  # the page says how large it is; its viewBox stays
        text = re.sub(rf'<svg ([^>]*?)\s*\b{side}="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    text = text.replace("#000000", "var(--ink)").replace(_GRID, "var(--grid)")
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title, quote=True)}" ', 1)
