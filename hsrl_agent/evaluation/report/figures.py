"""What the pictures share: axes, bands over seeds, names at the ends of lines, and the way to a PNG or an SVG."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsrl_agent.evaluation.report.text import thousands
from hsrl_agent.evaluation.statistics import Interval, interval
from hsrl_agent.files import write_bytes
from hsrl_agent.methods import METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#999999")
GREY = "#a6acb3"  # of lines that stay behind; reads on a light ground and on a dark one
_QUIET = "#7c858f"  # of their names
_GRID = "#ebebeb"
_SALT = "hsrl-gym"
_LUMINANCE, _DARK = (0.2126, 0.7152, 0.0722), 0.06  # of red, green, blue; below, a line is lost on a dark ground
_INCHES_A_MARKER, _INCHES_A_LETTER, _MOST_COLUMNS = 0.7, 0.068, 6  # of a legend
_LETTER = 7.5  # points, of names at the ends of lines


class End(NamedTuple):
    """The end of a line, and the name that stands beside it; `x` is None for a line from edge to edge."""

    x: float | None
    y: float
    name: str
    colour: str
    strong: bool


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


def band_name(n_seeds: int, what: str = "band") -> str:
    """Return what the band over so many seeds is."""
    return {1: "one seed", 2: f"2 seeds, {what}: their range"}.get(n_seeds, f"{n_seeds} seeds, {what}: 95%")


def name_ends(axes: Any, ends: Sequence[End], height: float) -> None:
    """Write the name of each line to the right of the axes, at the height of its end, none above another.

    Args:
        axes: whose limits stand.
        ends: of the lines.
        height: of the axes in inches, as far as known.
    """
    (low, high), right = axes.get_ylim(), axes.get_xlim()[1]
    ordered = sorted(ends, key=lambda end: end.y)
    places = apart([(end.y - low) / (high - low) for end in ordered], 1.3 * _LETTER / (72 * height))
    for end, place in zip(ordered, places, strict=True):
        axes.annotate(
            end.name,
            (right if end.x is None else end.x, end.y),
            (1.04, place),
            textcoords="axes fraction",
            color=end.colour if end.strong else _QUIET,
            fontsize=_LETTER + (0.5 if end.strong else 0.0),
            fontweight="bold" if end.strong else "normal",
            verticalalignment="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": end.colour,
                "linewidth": 0.6,
                "linestyle": ":",
                "relpos": (0.0, 0.5),
                "shrinkA": 0,
                "shrinkB": 2,
            },
        )


def apart(places: Sequence[float], distance: float) -> list[float]:
    """Return rising places in [0, 1] moved as little as needed, so that neighbours are at least `distance` apart.

    Those who are too near form a block that stands around its mean: isotonic regression of place - rank * distance.
    """
    blocks: list[list[float]] = []
    for rank, place in enumerate(places):
        blocks.append([place - rank * distance])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    most = max(1.0 - (len(places) - 1) * distance, 0.0)
    flat = [min(max(float(np.mean(block)), 0.0), most) for block in blocks for _ in block]
    return [place + rank * distance for rank, place in enumerate(flat)]


def draw_legend(figure: Figure, handles: Mapping[str, Any]) -> None:
    """Put one legend under all panels, in as many columns as the figure is wide enough for."""
    letters = max((len(name) for name in handles), default=1)
    n_columns = int(figure.get_figwidth() / (_INCHES_A_MARKER + letters * _INCHES_A_LETTER))
    n_columns = max(1, min(n_columns, _MOST_COLUMNS))
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=n_columns, frameon=False, fontsize=9
    )


def write_png(figure: Figure, path: Path, dpi: int = 130) -> Path:
    """Write the figure and return its file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
    return path


def to_svg(figure: Figure, name: str, title: str) -> str:
    """Return the figure as an `<svg>` for a page, whose text and axes take the page's colours.

    The page says what `--ink` and `--grid` are, so that one picture serves on a light ground and on a dark one.

    Args:
        figure: drawn on a clear ground from here on.
        name: of the picture in the page; its ids begin with it, as ids must differ within a page.
        title: what a screen reader says.
    """
    import matplotlib as mpl

    name = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
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
    for colour in _dark_looks():
        text = text.replace(colour, f"var({_variable(colour)}, {colour})")
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title, quote=True)}" ', 1)


def dark_style() -> str:
    """Return the style that makes the darkest looks of methods lighter on a dark ground."""
    variables = (f"{_variable(colour)}: {_lighter(colour)};" for colour in _dark_looks())
    return f"@media (prefers-color-scheme: dark) {{ :root {{ {' '.join(variables)} }} }}"


def _dark_looks() -> list[str]:
    colours = sorted({record.look.colour.lower() for record in METHODS.values()} - {"#000000"})
    return [colour for colour in colours if np.dot(_LUMINANCE, (_channels(colour) / 255) ** 2.2) < _DARK]


def _channels(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)], dtype=np.float64)


def _lighter(colour: str) -> str:
    return "#" + "".join(f"{int(channel + 255) // 2:02x}" for channel in _channels(colour))


def _variable(colour: str) -> str:
    return f"--look-{colour[1:]}"
