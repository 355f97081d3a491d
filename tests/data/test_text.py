"""Delimited text: the line of what is wrong, and files that are no text in lines."""

from __future__ import annotations

import bz2
import gzip
import lzma
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hsrl_gym.data.encoding import standardized
from hsrl_gym.data.text import TextColumn, check_text, csv_records, read_columns
from hsrl_gym.errors import HsrlError


def refused(path: Path, **settings: bool) -> str:
    with pytest.raises(HsrlError) as error:
        read_columns(path, ",", **settings)
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()
    return str(error.value)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "movies.csv"
    path.write_bytes(content)
    return path


def test_lines_are_counted_over_quoted_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path, b'id,title\r\n1,"two\r\nlines"\r\n2,x\r\nnew,"a\n\nb"\r\nlast,z\r\n')
    columns = read_columns(path, ",", quoted=True)
    assert list(columns["id"].lines) == [2, 4, 5, 8]
    assert columns["title"].cells[0] == "two\r\nlines"
    with pytest.raises(HsrlError, match=r"movies\.csv, line 5: got id 'new', expected whole numbers"):
        columns["id"].numbers(np.int64)
    path.write_bytes(path.read_bytes() + b"7,too,many\r\n")
    assert f"{path}, line 9: got 3 fields in '7,too,many', expected 2" in refused(path, quoted=True)


@pytest.mark.parametrize("content", [b'id,t\n1,a\n2,"open', b'id,t\n1,a\n2,"x"y\n', b"id,t\n1,a\n2," + b"x" * 140_000])
def test_what_the_csv_module_refuses_is_one_line(tmp_path: Path, content: bytes) -> None:
    said = refused(write(tmp_path, content), quoted=True)
    assert "movies.csv, line 3: the record that starts here cannot be read" in said
    assert len(said) < 400


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(b"id,t\n1,a\n"), "a gzip file, expected text in lines; unpack it first"),
        (bz2.compress(b"id,t\n1,a\n"), "a bzip2 file"),
        (lzma.compress(b"id,t\n1,a\n"), "an xz file"),
        (b"PAR1\x15\x04", "a parquet file"),
        ("id,t\n1,a\n".encode("utf-16"), "UTF-16 text, expected text in lines; save it as UTF-8"),
        (b"id,t\r1,a\r", r"a file whose lines end in CR alone (old Mac), expected text in lines; convert them: tr"),
    ],
)
def test_other_files_are_named_as_what_they_are(tmp_path: Path, content: bytes, kind: str, quoted: bool) -> None:
    path = write(tmp_path, content)
    assert refused(path, quoted=quoted).startswith(f"{path}: got {kind}")


def test_many_carriage_returns_are_looked_at_once(tmp_path: Path) -> None:
    began = time.process_time()
    check_text(write(tmp_path, b"\r" * 60_000 + b"\n"))
    assert time.process_time() - began < 1.0


def test_a_zip_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "movies.csv", "w") as archive:
        archive.writestr("movies.csv", "id,t\n1,a\n")
    assert "got a zip file" in refused(tmp_path / "movies.csv")


@pytest.mark.parametrize("quoted", [False, True])
def test_a_byte_order_mark_is_skipped(tmp_path: Path, quoted: bool) -> None:
    columns = read_columns(write(tmp_path, "\ufeffid,t\n1,é\n".encode()), ",", quoted=quoted)
    assert {name: list(column.cells) for name, column in columns.items()} == {"id": ["1"], "t": ["é"]}
    latin = read_columns(write(tmp_path, b"\xef\xbb\xbf1,\xe9\n"), ",", ("id", "t"), "latin-1")
    assert [latin["id"].cells[0], latin["t"].cells[0]] == ["1", "é"]


def test_found_text_is_printable_and_short(tmp_path: Path) -> None:
    path = write(tmp_path, b"id,t\n1\x1b[31m" + b"x" * 280_000 + b"\n")
    said = refused(path)
    assert "got 1 fields in '1\\x1b[31mxxx" in said
    assert len(said) < len(str(path)) + 400


def test_strict_text_names_the_line_that_is_not_utf8(tmp_path: Path) -> None:
    path = write(tmp_path, b"id,t\n1,a\n2,caf\xe9\n")
    with pytest.raises(HsrlError, match=r"movies\.csv, line 3: got '2,café', expected UTF-8; save the file as UTF-8"):
        list(csv_records(path, errors="strict"))
    assert len(list(csv_records(path))) == 3


def test_numbers_that_float32_cannot_carry_on_are_refused(tmp_path: Path) -> None:
    column = TextColumn(tmp_path / "x", "price", range(2, 4), ["1", "1e39"])
    assert column.numbers(np.float64).tolist() == [1, 1e39]
    with pytest.raises(HsrlError, match=r"line 3: got price '1e39', expected numbers of at most 1e15 in size"):
        column.numbers(np.float32)


def test_repeated_ids_are_named(tmp_path: Path) -> None:
    with pytest.raises(HsrlError, match="line 9: got id 'a', expected each id once"):
        TextColumn(tmp_path / "x", "id", [2, 4, 9], ["a", "b", "a"]).unique()


def test_large_numbers_that_differ_little_stay_apart(tmp_path: Path) -> None:
    cells = [str(1_600_000_000 + second) for second in range(20)]
    scaled = standardized(TextColumn(tmp_path, "seen", range(20), cells))
    np.testing.assert_allclose(scaled[:, 0], (np.arange(20) - 9.5) / np.arange(20).std(), rtol=1e-5)
