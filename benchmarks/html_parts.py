"""The parts of a page: text, tables, pictures, and the page around them. It needs nothing but itself."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from results import REFERENCE, label

_STYLE = Path(__file__).with_name("report.css")
_MEAN_AND_INTERVAL = re.compile(r"([+-]?[\d.,]+) (\[[^\]]*\])")


def page(title: str, body: str) -> str:
    """Return a whole page that loads nothing from anywhere."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Return text that means nothing but itself in a page."""
    return html.escape(str(text), quote=True)


def inline(text: str) -> str:
    """Return a line of Markdown as HTML: `code` and **strong**."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)


def from_markdown(text: str) -> str:
    """Return the Markdown that our reports are written in as HTML: headings, tables, lists, paragraphs.

    So a page shows the very tables of `table2.md`, whatever columns those have.
    """
    return "\n".join(_block(block.splitlines()) for block in re.split(r"\n\s*\n", text.strip()) if block.strip())


def _block(lines: Sequence[str]) -> str:
    if lines[0].startswith("#"):
        heading = f"<h3>{inline(lines[0].lstrip('#').strip())}</h3>"
        return f"{heading}\n{_block(lines[1:])}" if lines[1:] else heading
    if all(line.startswith("|") for line in lines):
        cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
        return table(cells[0], cells[2:])
    if all(line.startswith("- ") for line in lines):
        return "<ul>\n" + "\n".join(f"<li>{inline(line[2:])}</li>" for line in lines) + "\n</ul>"
    return f"<p>{inline(' '.join(lines))}</p>"


def table(heading: Sequence[str], body: Sequence[Sequence[str]], words: bool = False) -> str:
    """Return a table that scrolls sideways where it is too wide.

    Args:
        heading: of the columns.
        body: cells, Markdown; "mean [low, high]" has a quieter interval, and HSRL's line stands out.
        words: whether the cells are texts, not numbers.
    """
    head = "".join(f"<th>{inline(cell)}</th>" for cell in heading)
    lines = [
        f"<tr{' class=ours' * (line[0] == label(REFERENCE) and not words)}>{''.join(map(_cell, line))}</tr>"
        for line in body
    ]
    return (
        f'<div class="scroll"><table{" class=words" * words}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody>\n</table></div>"
    )


def _cell(text: str) -> str:
    found = _MEAN_AND_INTERVAL.fullmatch(text)
    if found is None:
        return f"<td>{inline(text)}</td>"
    return f"<td><span class=mean>{found[1]}</span> <small>{found[2]}</small></td>"


def facts(entries: Mapping[str, str]) -> str:
    """Return names with what they are, side by side; the values are Markdown."""
    parts = [f"<div><dt>{escape(name)}</dt><dd>{inline(value)}</dd></div>" for name, value in entries.items()]
    return '<dl class="facts">\n' + "\n".join(parts) + "\n</dl>"


def figures(pictures: Sequence[tuple[str, str]]) -> str:
    """Return pictures (an `<svg>` and its caption each) side by side where there is room."""
    parts = [
        f"<figure>\n{svg}{f'<figcaption>{inline(caption)}</figcaption>' if caption else ''}\n</figure>"
        for svg, caption in pictures
    ]
    return '<div class="figures">\n' + "\n".join(parts) + "\n</div>"


def legend(entries: Mapping[str, tuple[str, bool]]) -> str:
    """Return the names of lines with their colour, and whether they are dashed."""
    parts = [
        f'<li><i{" class=still" * dashed} style="border-color:{colour.replace("#000000", "var(--ink)")}"></i>'
        f"{escape(name)}</li>"
        for name, (colour, dashed) in entries.items()
    ]
    return f'<ul class="legend">{"".join(parts)}</ul>'


def section(anchor: str, title: str, *parts: str) -> str:
    """Return a section that links lead to."""
    body = "\n".join(part for part in parts if part)
    return f'<section id="{anchor}">\n<h2>{escape(title)}</h2>\n{body}\n</section>'


def paragraph(text: str, quiet: bool = False) -> str:
    """Return a paragraph of Markdown."""
    return f"<p{' class=quiet' * quiet}>{inline(text)}</p>"


def code_block(text: str) -> str:
    """Return lines to copy."""
    return f"<pre><code>{escape(text)}</code></pre>"
