"""Tables that may be large, CSV or parquet, read in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hsrl_gym.data.text import TextColumn, check_text, check_width, csv_records
from hsrl_gym.errors import HsrlError, listed

_ROWS_AT_ONCE = 100_000
_SEPARATORS = (",", ";", "\t", "|")
_LONGEST_HEADER = 2**17  # characters


@dataclass(frozen=True)
class Table:
    """A file with named columns: CSV in UTF-8, with the separator that is most frequent in its header, or parquet."""

    path: Path
    header: Sequence[str]
    separator: str | None  # None for parquet

    def blocks(self, names: Sequence[str]) -> Iterator[dict[str, TextColumn]]:
        """Yield the columns `names` as text, 100,000 rows at a time, at least once; what is missing is "".

        Raises:
            HsrlError: for a line with another number of fields than the header, or a file that cannot be read.
        """
        return self._csv_blocks(names) if self.separator else self._parquet_blocks(names)

    def whole(self) -> dict[str, TextColumn]:
        """Return all columns with all rows."""
        first, *others = self.blocks(self.header)
        return {
            name: TextColumn(
                self.path,
                name,
                [line for block in (first, *others) for line in block[name].lines],
                [cell for block in (first, *others) for cell in block[name].cells],
                column.unit,
            )
            for name, column in first.items()
        }

    def _csv_blocks(self, names: Sequence[str]) -> Iterator[dict[str, TextColumn]]:
        assert self.separator
        places = {name: self.header.index(name) for name in names}
        records = islice(csv_records(self.path, self.separator, errors="strict"), 1, None)
        while block := list(islice(records, _ROWS_AT_ONCE)):
            for line, fields in block:
                check_width(self.path, line, fields, len(self.header), self.separator)
            lines = [line for line, _ in block]
            yield {
                name: TextColumn(self.path, name, lines, [fields[place] for _, fields in block])
                for name, place in places.items()
            }

    def _parquet_blocks(self, names: Sequence[str]) -> Iterator[dict[str, TextColumn]]:
        import pyarrow as pa

        first = 1
        try:
            for batch in _parquet(self.path).iter_batches(_ROWS_AT_ONCE, columns=list(names)):
                rows = range(first, first + batch.num_rows)
                first += batch.num_rows
                yield {name: _as_text(self.path, name, rows, batch.column(name)) for name in names}
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.path, error) from None


def open_table(path: Path) -> Table:
    """Return the table in a file. A file that begins as parquet does is parquet, whatever its name.

    Raises:
        HsrlError: if there is no such file, it has no rows or two columns of one name, or parquet cannot be read.
    """
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "nothing"
        raise HsrlError(f"{path}: got {kind}, expected a CSV or parquet file; check the path.")
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    header, separator, n_rows = _parquet_header(path) if is_parquet else _csv_header(path)
    if n_rows < 1:
        raise HsrlError(f"{path}: got no rows, expected a header with names of columns, and rows; write it again.")
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise HsrlError(f"{path}: got columns {listed(twice)} twice, expected each name once; rename one.")
    return Table(path, header, separator)


def _csv_header(path: Path) -> tuple[list[str], str, int]:
    """Return names, separator, and the number of rows if it is below 2."""
    check_text(path)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline(_LONGEST_HEADER)
    separator = max(_SEPARATORS, key=line.count)
    rows = [fields for _, fields in islice(csv_records(path, separator, errors="strict"), 2)]
    return [name.strip() for name in rows[0]] if rows else [], separator, len(rows) - 1


def _parquet_header(path: Path) -> tuple[list[str], None, int]:
    file = _parquet(path)
    return list(file.schema_arrow.names), None, file.metadata.num_rows


def _parquet(path: Path) -> Any:
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise HsrlError(
            f"{path}: got parquet, which needs pyarrow; run `pip install 'hsrl-gym[parquet]'`, or save it as CSV."
        ) from None
    try:
        return ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> HsrlError:
    return HsrlError(f"{path}: cannot be read as parquet ({listed([' '.join(str(error).split())])}); write it again.")


def _as_text(path: Path, name: str, rows: range, values: Any) -> TextColumn:
    """Return an Arrow column as text; null becomes ""."""
    import pyarrow as pa

    if pa.types.is_nested(values.type):
        raise HsrlError(f"{path}: got {values.type} in column {listed([name])}, expected one value a row; split it up.")
    return TextColumn(path, name, rows, [cell or "" for cell in values.cast(pa.string()).to_pylist()], "row")
