"""YAML from anywhere: plain trees are read, everything else is one line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from hsrl_gym.errors import HsrlError
from hsrl_gym.yaml_files import DEEPEST, LARGEST, dump_yaml, parse_yaml, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "content",
    [
        {"a": [2**63 - 1, 1 - 2**63]},
        {"a": [1, -2.5, True, None, "text", "4"], "b": {"c": []}, "é": "\u2028\x1b"},
        [],
        "text",
        None,
        3,
    ],
)
def test_plain_values_come_back(content: Any) -> None:
    assert parse_yaml(dump_yaml(content).encode(), "here") == content


def test_what_stands_twice_is_written_twice() -> None:
    shared = [1, 2]
    text = dump_yaml({"a": shared, "b": shared})
    assert "&" not in text
    assert parse_yaml(text.encode(), "here") == {"a": [1, 2], "b": [1, 2]}
    assert "*" in yaml.safe_dump({"a": shared, "b": shared})


def test_what_is_not_plain_is_not_written() -> None:
    with pytest.raises(yaml.YAMLError):
        dump_yaml({"a": object()})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "anchors or aliases"),
        ("a: &a {b: *a}", "anchors or aliases"),
        ("a: !!python/object/apply:os.system [x]", "the tag"),
        ("a: !!int x", "the tag"),
        ("a: ! x", "the tag"),
        ("[" * 900, "nested 40 deep"),
        ("{a: " * 900, "nested 40 deep"),
        ("\n".join("  " * depth + "a:" for depth in range(900)), "nested 40 deep"),
        (f"a: {'9' * 5000}", "a whole number beyond 2.63"),
        (f"a: 1{':1' * 500_000}", "a whole number beyond 2.63"),
        (f"a: {10**30}", "a whole number beyond 2.63"),
        (f"a: {10**400}", "a whole number beyond 2.63"),
        (f"a: -0x{'f' * 5000}", "a whole number beyond 2.63"),
        (f"? {2**63}\n: b", "a whole number beyond 2.63"),
        ("a: 2001-99-99", "month must be in"),
        ("a: 0b_", "invalid literal"),
        ("? [a]\n: b", "unhashable key"),
        ("a: [", "expected the node content"),
        ("a: 1\n--- b", "expected a single document"),
        ("a: \x1b", "special characters are not allowed"),
    ],
)
def test_everything_else_is_one_line(text: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(HsrlError, match=rf"^here: not readable as YAML \(.*{message}") as error:
        parse_yaml(text.encode(), "here")
    assert len(str(error.value)) < 300
    assert time.process_time() - start < 2.0


def test_what_is_nested_less_deep_is_read() -> None:
    text = "[" * (DEEPEST - 1) + "1" + "]" * (DEEPEST - 1)
    assert str(parse_yaml(text.encode(), "here")) == text


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(HsrlError, match="here: not readable as YAML"):
        parse_yaml(b"\xff\xfe\x00", "here")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    with pytest.raises(HsrlError, match=r"file\.yaml: no such file\."):
        read_yaml(path)
    path.write_text("a: 1")
    assert read_yaml(path) == {"a": 1}
    path.write_text("#" * (LARGEST + 1))
    with pytest.raises(HsrlError, match=r"got more than 1,048,576 bytes, expected a file of settings"):
        read_yaml(path)
    with pytest.raises(HsrlError, match="cannot be read"):
        read_yaml(tmp_path)
