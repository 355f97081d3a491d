"""Delimited text as columns; every message names the file and the line of what is wrong."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.errors import HsrlError, listed, shown

LARGEST = 1e15  # of a float32: squares and sums of such numbers stay finite
# What a file is instead of text, by its first bytes, and what to do.
_OTHER_FILES = (
    (rb"\x1f\x8b", "a gzip file", "unpack it first"),
    (rb"PK\x03\x04", "a zip file", "unpack it first"),
    (rb"\xfd7zXZ\x00", "an xz file", "unpack it first"),
    (rb"\x28\xb5\x2f\xfd", "a zstd file", "unpack it first"),
    (rb"BZh[1-9]1AY&SY", "a bzip2 file", "unpack it first"),
    (rb"PAR1", "a parquet file", "read it with the format csv"),
    (rb"\xff\xfe|\xfe\xff", "UTF-16 text", "save it as UTF-8"),
)
_HEAD = 2**16  # bytes that are looked at


def existing_folder(folder: str | Path, expected: str) -> Path:
    """Return `folder` as a path.

    Raises:
        HsrlError: if there is no such folder; `expected` says what it should hold.
    """
    path = Path(folder)
    if not path.is_dir():
        kind = "a file" if path.exists() else "nothing"
        raise HsrlError(f"{path}: got {kind}, expected a folder with {expected}; check the path, or fetch the data.")
    return path


def file_names(folder: Path) -> str:
    """Return the names of the first few files in `folder`, for a message."""
    names = sorted(path.name for path in folder.iterdir())
    return listed([*names[:8], *(["..."] if len(names) > 8 else [])]) or "no files"


def check_text(path: Path) -> None:
    """Raise HsrlError if the file is something else than text in lines, and name what it is."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for start, kind, advice in _OTHER_FILES:
        if re.match(start, head):
            raise HsrlError(f"{path}: got {kind}, expected text in lines; {advice}.")
    if b"\n" not in head and b"\r" in head[:-1]:
        raise HsrlError(
            f"{path}: got a file whose lines end in CR alone (old Mac), expected text in lines; convert them: "
            "tr '\\r' '\\n' < OLD > NEW."
        )


@dataclass(frozen=True)
class TextColumn:
    """One column of a text file; row r stands on line `lines[r]` of `path`."""

    path: Path
    name: str
    lines: Sequence[int]
    cells: Sequence[str]
    unit: str = "line"  # what `lines` counts

    def error(self, row: int, expected: str, advice: str) -> HsrlError:
        """Return the error for the cell in `row`, with file, line, the cell, `expected` and `advice`."""
        got = f"got {listed([self.name])} {shown(self.cells[row])}"
        return HsrlError(f"{self.path}, {self.unit} {self.lines[row]}: {got}, expected {expected}; {advice}.")

    def numbers(self, dtype: type[np.generic]) -> NDArray[Any]:
        """Return the cells as (rows,) finite numbers of `dtype`; those of float32 are at most 1e15 in size.

        Raises:
            HsrlError: for the first cell that is not such a number.
        """
        values = parsed(self.cells, dtype)
        return self._refuse(dtype, None) if values is None else values

    def lists(self, dtype: type[np.generic], separator: str = ",") -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the numbers of all cells, concatenated, and the number of them in each cell, (rows,).

        Raises:
            HsrlError: for the first cell that is not a list of such numbers.
        """
        lengths = np.fromiter((cell.count(separator) + 1 for cell in self.cells), np.int64, len(self.cells))
        # One conversion of all numbers is much faster than one per cell.
        values = parsed(separator.join(self.cells).split(separator) if self.cells else [], dtype)
        return (self._refuse(dtype, separator) if values is None else values), lengths

    def table(self, width: int, dtype: type[np.generic], advice: str, separator: str = ",") -> NDArray[Any]:
        """Return the lists as a table (rows, `width`); `advice` is for a list of another length.

        Raises:
            HsrlError: for the first list of another length, or the first cell that is not a list of such numbers.
        """
        for row, cell in enumerate(self.cells):
            if cell.count(separator) + 1 != width:
                raise self.error(row, f"{width} numbers and not {cell.count(separator) + 1}", advice)
        return self.lists(dtype, separator)[0].reshape(-1, width)

    def unique(self) -> Sequence[str]:
        """Return the cells.

        Raises:
            HsrlError: for the first cell that was there before.
        """
        seen: set[str] = set()
        for row, cell in enumerate(self.cells):
            if cell in seen:
                raise self.error(row, "each id once", "remove one of the rows")
            seen.add(cell)
        return self.cells

    def positions(self, known: Sequence[str], known_path: Path) -> NDArray[np.int64]:
        """Return the position of each cell in `known`, (rows,).

        Raises:
            HsrlError: for the first cell that is not in `known`, which was read from `known_path`.
        """
        index = {name: place for place, name in enumerate(known)}
        places = np.fromiter((index.get(cell, -1) for cell in self.cells), np.int64, len(self.cells))
        if (places < 0).any():
            row = int(np.argmax(places < 0))
            raise self.error(row, f"one that {known_path.name} lists", "do the two files belong together?")
        return places

    def _refuse(self, dtype: type[np.generic], separator: str | None) -> NDArray[Any]:
        """Raise for the first cell that cannot be converted."""
        kind = "whole numbers" if np.issubdtype(dtype, np.integer) else "finite numbers"
        for row, cell in enumerate(self.cells):
            numbers = cell.split(separator) if separator else [cell]
            if parsed(numbers, dtype) is None:
                too_large = dtype is np.float32 and parsed(numbers, np.float64) is not None
                raise self.error(
                    row, "numbers of at most 1e15 in size" if too_large else kind, "mend or remove this row"
                )
        raise AssertionError("every cell converts by itself, so all of them do together")


def parsed(cells: Sequence[str], dtype: type[np.generic]) -> NDArray[Any] | None:
    """Return the cells as an array of `dtype`, or None if one is not a finite number of that kind."""
    try:
        with np.errstate(over="ignore"):
            values = np.array(cells, dtype=dtype)
    except (ValueError, OverflowError):
        return None
    fits = np.abs(values) <= LARGEST if dtype is np.float32 else np.isfinite(values)
    return values if fits.all() else None


def integer_ids(names: Sequence[str]) -> NDArray[np.int64]:
    """Return different names as integers if all of them are and differ so, else 1, 2, ..: (len(names),) int64."""
    values = parsed(names, np.int64)
    if values is None or len(np.unique(values)) < len(values):  # "1" and "01" are two names
        return np.arange(1, len(names) + 1)
    return values


def csv_records(path: Path, separator: str = ",", errors: str = "replace") -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the fields of each record; a quoted field may hold separators and line breaks.

    Args:
        path: text in UTF-8, with a header or without.
        separator: between two fields.
        errors: what is done with bytes that are not UTF-8: "replace", or "strict" to refuse them.

    Raises:
        HsrlError: for a file that is not text, bytes that are not UTF-8, or quotes that do not match.
    """
    check_text(path)
    line = 1
    with path.open(encoding="utf-8-sig", errors=errors, newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        try:
            for fields in reader:
                if fields:  # else the line is empty
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise HsrlError(
                f"{path}, line {line}: the record that starts here cannot be read ({error}), expected quotes in pairs "
                'around a field and "" for a quote within it; mend them.'
            ) from None
        except UnicodeDecodeError:
            raise _not_utf8(path) from None


def _not_utf8(path: Path) -> HsrlError:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                got = shown(line[max(error.start - 20, 0) : error.end].decode("latin-1"))
                return HsrlError(f"{path}, line {number}: got {got}, expected UTF-8; save the file as UTF-8.")
    raise AssertionError("a file whose lines are UTF-8 is UTF-8")


def read_columns(
    path: Path, separator: str, names: Sequence[str] | None = None, encoding: str = "utf-8", quoted: bool = False
) -> dict[str, TextColumn]:
    """Return the columns of a delimited text file by name.

    Args:
        path: the file; a byte order mark is skipped.
        separator: string between two fields.
        names: names of the columns; None if the first line holds them.
        encoding: of the text; invalid bytes are replaced, so a number that holds one is refused later.
        quoted: whether double quotes may enclose a field that holds the separator; such a file is UTF-8.

    Raises:
        HsrlError: if the file is missing, empty or no text, or a line has another number of fields than it should.
    """
    if not path.is_file():
        raise HsrlError(
            f"{path}: got no such file; expected it beside {file_names(path.parent)}; fetch the data again."
        )
    lines: Sequence[int]
    if quoted:
        records = list(csv_records(path, separator))
        lines, rows = [line for line, _ in records], [fields for _, fields in records]
    else:
        rows = _plain_rows(path, separator, encoding)
        lines = range(1, len(rows) + 1)
    header = list(names) if names is not None else rows.pop(0) if rows else []
    lines = lines[len(lines) - len(rows) :]
    if not rows or rows == [[""]]:
        raise HsrlError(f"{path}: got an empty file, expected rows of {listed(header)}; fetch it again.")
    for line, fields in zip(lines, rows, strict=True):
        check_width(path, line, fields, len(header), separator)
    cells = zip(*rows, strict=True)
    return {name: TextColumn(path, name, lines, column) for name, column in zip(header, cells, strict=True)}


def _plain_rows(path: Path, separator: str, encoding: str) -> list[list[str]]:
    """Return the fields of each line."""
    check_text(path)
    # Not splitlines(): it also splits at characters that occur in latin-1 titles.
    text = path.read_bytes().removeprefix(codecs.BOM_UTF8).decode(encoding, errors="replace")
    return [line.split(separator) for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]


def check_width(path: Path, line: int, fields: Sequence[str], width: int, separator: str) -> None:
    """Raise HsrlError unless a line has `width` fields."""
    if len(fields) != width:
        got = f"got {len(fields)} fields in {shown(separator.join(fields))}"
        raise HsrlError(
            f"{path}, line {line}: {got}, expected {width} between {separator!r}; the line is cut off or the separator "
            "differs: fetch the file again or mend the line."
        )
