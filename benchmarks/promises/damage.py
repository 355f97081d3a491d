"""Damaged copies of files: by bytes, and by structure."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from promises.samples import Files

# What a number, a name or a separator is replaced by.
TOKENS = (
    *(b"", b"0", b"-1", b"1", b"2", b"nan", b"inf", b"1e39", b"1e400", b"9223372036854775807", b"9223372036854775808"),
    *(b"-9223372036854775808", b"1.5", b"1_0", b"0x10", b" 3", b"3 ", b"x", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00"),
    *(b"\x1b[31m", b"\x1b]0;owned\x07", b"\xe2\x80\xae", b"\xc2\x85", b"\xe2\x80\xa8", b"\r", b"\n", b"\r\n", b'"'),
    *(b'""', b"'", b",", b"::", b"|", b"@", b"\t", b";", b" ", b"\xe4", b"\xf0\x9f\x98\x80", "٣".encode()),
)
FLOOD = b"\xc2\xa7"  # a sign that no message of ours has: as many of them are in a message as it shows of the file
N_FLOOD = 9_000


def damaged(files: Files, draw: random.Random) -> Files:
    """Return the files with one to three damages by bytes."""
    result = dict(files)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        name = draw.choice(sorted(result) or sorted(files))
        content = result.get(name, files[name])
        if draw.random() < 0.04:
            result.pop(name, None)
        elif draw.random() < 0.06:
            result[name] = draw.choice(_WHOLE)(content, draw)
        else:
            result[name] = draw.choice(_PARTS)(content, draw)
    return result


def _place(content: bytes, draw: random.Random) -> int:
    """Return a place; every third time in the first line, where a header may be."""
    first = content.find(b"\n") if draw.random() < 0.33 else len(content)
    return draw.randint(0, max(first, 0))


def _flip(content: bytes, draw: random.Random) -> bytes:
    if not content:
        return content
    place = min(_place(content, draw), len(content) - 1)
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def _insert(content: bytes, draw: random.Random) -> bytes:
    place = _place(content, draw)
    token = FLOOD * N_FLOOD if draw.random() < 0.05 else draw.choice(TOKENS)
    return content[:place] + token + content[place:]


def _delete(content: bytes, draw: random.Random) -> bytes:
    place = _place(content, draw)
    return content[:place] + content[place + draw.choice((1, 1, 2, 5, 20)) :]


def _repeat(content: bytes, draw: random.Random) -> bytes:
    place, length = _place(content, draw), draw.choice((1, 4, 20, 60))
    return content[:place] + content[place : place + length] * 2 + content[place + length :]


def _cell(content: bytes, draw: random.Random) -> bytes:
    """Replace what stands between two separators."""
    begin = end = _place(content, draw)
    separators = b"\t\n,:|@; "
    while begin > 0 and content[begin - 1] not in separators:
        begin -= 1
    while end < len(content) and content[end] not in separators:
        end += 1
    return content[:begin] + draw.choice(TOKENS) + content[end:]


def _lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    match draw.randrange(4):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            lines.insert(other, lines[one])
        case 2:
            del lines[one]
        case 3:
            lines[one] = lines[one][: draw.randint(0, len(lines[one]))]
    return b"\n".join(lines)


_PARTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _insert, _delete, _repeat, _cell, _cell, _lines)
_WHOLE: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    lambda content, draw: b"",
    lambda content, draw: content[: draw.randint(0, len(content))],
    lambda content, draw: content.replace(b"\n", b"\r"),
    lambda content, draw: content.replace(b"\n", b"\r\n"),
    lambda content, draw: gzip.compress(content, mtime=0),
    lambda content, draw: b"\xef\xbb\xbf" + content,
    lambda content, draw: content.decode("latin-1").encode("utf-16"),
    lambda content, draw: draw.randbytes(200),
    lambda content, draw: content.split(b"\n")[0],
)


# By structure: tables whose rows, columns and cells are others.

SEPARATORS = {"dat": "::", "data": "\t", "item": "|", "user": "|", "inter": "\t"}
CELLS = st.one_of(
    st.integers(0, 12).map(str),
    st.sampled_from([token.decode("utf-8", errors="replace") for token in TOKENS]),
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(str),
    st.text(max_size=8),
)


def separator_of(name: str, content: bytes) -> str:
    """Return what stands between the fields of a file."""
    head = content.split(b"\n")[0]
    tried = {"csv": "@" if b"@" in head else " " if b"," not in head else ","}
    ending = name.rpartition(".")[2]
    return "\t" if b"\t" in head else {**SEPARATORS, **tried}.get(ending, ",")


@st.composite
def rebuilt(draw: Any, files: Files) -> Files:
    """Draw the files with one or two of their tables rebuilt with other rows, columns and cells."""
    result = dict(files)
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2)):
        separator = separator_of(name, files[name])
        rows = [line.split(separator) for line in files[name].decode("latin-1").rstrip("\n").split("\n")]
        for change in draw(
            st.lists(st.sampled_from(("cell", "cell", "row", "column", "line")), min_size=1, max_size=4)
        ):
            row = draw(st.integers(0, len(rows) - 1))
            if change == "cell":
                rows[row][draw(st.integers(0, len(rows[row]) - 1))] = draw(CELLS)
            elif change == "row":
                rows = draw(st.sampled_from((rows[:row] + rows[row + 1 :], [*rows, rows[row]], rows[: row + 1])))
            elif change == "column":
                order = draw(st.lists(st.integers(0, len(rows[0]) - 1), min_size=1, max_size=len(rows[0]) + 1))
                rows = [[cells[place] for place in order if place < len(cells)] for cells in rows]
            else:
                rows[row] = draw(st.lists(CELLS, min_size=1, max_size=6))
            rows = [cells or [""] for cells in rows] or [[""]]
        text = draw(st.sampled_from(("\n", "\n", "\n", "\n", "\r\n", "\r"))).join(
            separator.join(cells) for cells in rows
        )
        coding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")))
        result[name] = text.encode(coding, errors="surrogatepass") + draw(st.sampled_from((b"\n", b"", b"\n\n")))
    return result
