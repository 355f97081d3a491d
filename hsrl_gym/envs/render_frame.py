"""One step of a session as a picture: the slate as cards, patience, reward, and what was clicked before."""

from __future__ import annotations

from PIL import Image, ImageDraw

from hsrl_gym.envs.render_ink import (
    BLUE,
    GREEN,
    GREEN_PANEL,
    LINE,
    ORANGE,
    PANEL,
    PAPER,
    QUIET,
    TEXT,
    Box,
    bar,
    fitted,
    font,
    pill,
    wrapped,
)
from hsrl_gym.envs.render_view import Card, View

WIDTH, HEIGHT = 960, 540
_MARGIN, _GAP = 20, 10
_SLATE: Box = (_MARGIN, 92, WIDTH - _MARGIN, 446)
_HISTORY: Box = (_MARGIN, 458, WIDTH - _MARGIN, HEIGHT - 8)
_LARGEST_CARD = (440, 172)
# Columns and rows by the number of cards; the last grid holds "and n more".
_GRIDS = ((1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (3, 3), (4, 3), (4, 4), (5, 4), (5, 5))


def draw_frame(view: View) -> Image.Image:
    """Return the picture of a session, 960 x 540, RGB."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    _draw_head(draw, view)
    _draw_patience(draw, view)
    if view.cards:
        _draw_slate(draw, view.cards)
    else:
        middle = (WIDTH / 2, (_SLATE[1] + _SLATE[3]) / 2)
        words = "The last slate is not known." if view.step else "A new user. No slate was shown yet."
        draw.text(middle, words, QUIET, font(20), anchor="mm")
    _draw_history(draw, view)
    return image


def _draw_head(draw: ImageDraw.ImageDraw, view: View) -> None:
    day = "" if view.day is None else f"   day {view.day}"
    draw.text((_MARGIN, 26), fitted(view.name, font(20, True), 300), TEXT, font(20, True), anchor="lm")
    draw.text((WIDTH / 2, 26), f"step {view.step} of {view.params.max_steps}{day}", TEXT, font(18), anchor="mm")
    reward = f"reward {view.reward:.2f}   " if view.cards else ""
    draw.text((WIDTH - _MARGIN, 26), f"{reward}session total {view.total:.2f}", TEXT, font(18), anchor="rm")


def _draw_patience(draw: ImageDraw.ImageDraw, view: View) -> None:
    """Draw what is left of the patience; what the last step cost is orange."""
    full, left = view.params.initial_patience, max(view.patience, 0.0)
    draw.text((_MARGIN, 63), "patience", TEXT, font(15), anchor="lm")
    bar(draw, (104, 55, 603, 71), left / full, BLUE, view.patience_before / full)
    words = f"{left:.1f} of {full:g}"
    draw.text((616, 63), words, TEXT, font(15), anchor="lm")
    if lost := view.patience_before - view.patience:
        end = 616 + font(15).getlength(words)
        draw.text((end + 10, 63), f"{-lost:+.1f}", ORANGE, font(15), anchor="lm")
    if view.ending:
        pill(draw, WIDTH - _MARGIN, 63, view.ending, ORANGE, font(15, True))


def _draw_slate(draw: ImageDraw.ImageDraw, cards: tuple[Card, ...]) -> None:
    """Draw the cards in rows; beyond what fits, the last place says how many more there are."""
    columns, rows = next((grid for grid in _GRIDS if grid[0] * grid[1] >= len(cards)), _GRIDS[-1])
    n_shown = len(cards) if len(cards) <= columns * rows else columns * rows - 1
    boxes = _grid(columns, rows)
    for slot, (box, card) in enumerate(zip(boxes, cards[:n_shown], strict=False), start=1):
        _draw_card(draw, box, slot, card)
    if n_shown < len(cards):
        left, top, right, bottom = boxes[n_shown]
        rest = cards[n_shown:]
        draw.text(((left + right) / 2, (top + bottom) / 2 - 9), f"and {len(rest)} more", TEXT, font(15), anchor="mm")
        clicked = f"{sum(card.clicked for card in rest)} clicked"
        draw.text(((left + right) / 2, (top + bottom) / 2 + 11), clicked, QUIET, font(13), anchor="mm")


def _grid(columns: int, rows: int) -> list[Box]:
    """Return the places of cards, row by row, in the middle of the slate's area."""
    left, top, right, bottom = _SLATE
    width = min((right - left - (columns - 1) * _GAP) // columns, _LARGEST_CARD[0])
    height = min((bottom - top - (rows - 1) * _GAP) // rows, _LARGEST_CARD[1])
    left += (right - left - columns * width - (columns - 1) * _GAP) // 2
    top += (bottom - top - rows * height - (rows - 1) * _GAP) // 2
    starts = [(left + x * (width + _GAP), top + y * (height + _GAP)) for y in range(rows) for x in range(columns)]
    return [(x, y, x + width, y + height) for x, y in starts]


def _draw_card(draw: ImageDraw.ImageDraw, box: Box, slot: int, card: Card) -> None:
    """Draw title, SID path, marks and click probability; a clicked card is green and says so."""
    left, top, right, bottom = box
    fill, edge = (GREEN_PANEL, GREEN) if card.clicked else (PANEL, LINE)
    draw.rounded_rectangle(box, radius=5, fill=fill, outline=edge, width=2 if card.clicked else 1)
    inner = (left + 10, right - 10)
    low, narrow = bottom - top < 80, right - left < 240
    title, small = font(12 if low else 14 if narrow else 16, True), font(11 if low else 13)
    line, step = bottom - (10 if low else 14), 17 if low else 22  # lines are placed from below
    share = f"{card.probability:.0%}"
    draw.text((inner[1], line), share, TEXT, small, anchor="rm")
    bar(draw, (inner[0], line - 4, inner[1] - 44, line + 3), card.probability, GREEN if card.clicked else QUIET)
    end = inner[1]
    marks = (*card.marks, "clicked") if card.clicked else card.marks
    for mark in reversed(marks):
        end = pill(draw, end, line - step, mark, GREEN if mark == "clicked" else ORANGE, font(11, True)) - 6
    draw.text((inner[0], line - step), fitted(f"SID {card.sid}", small, end - inner[0]), QUIET, small, anchor="lm")
    room = line - step - 9 - (top + 8)
    n_lines = max(1, int(room // (title.size + 4)))
    for number, text in enumerate(wrapped(f"{slot}. {card.label}", title, inner[1] - inner[0], n_lines)):
        draw.text((inner[0], top + 8 + number * (title.size + 4)), text, TEXT, title)


def _draw_history(draw: ImageDraw.ImageDraw, view: View) -> None:
    """Draw the items clicked last, latest first; those of this step are green."""
    left, top, right, bottom = _HISTORY
    own = font(12)
    words = "clicked, latest first:" if view.history else "clicked: nothing yet"
    draw.text((left, top + 6), words, TEXT, own, anchor="lm")
    if view.cards:
        draw.text((right, top + 6), "bars on cards: click probability", QUIET, own, anchor="rm")
    x, y, n_new = left, top + 18, len(view.clicked)
    for place, label in enumerate(view.history):
        text = fitted(label, own, 270)
        width = round(own.getlength(text)) + 14
        if x + width > right:
            x, y = left, y + 28
        if y + 22 > bottom:
            break
        new = place < n_new
        draw.rounded_rectangle(
            (x, y, x + width, y + 22), radius=4, fill=GREEN_PANEL if new else PANEL, outline=GREEN if new else LINE
        )
        draw.text((x + width / 2, y + 11), text, TEXT, own, anchor="mm")
        x += width + 6
