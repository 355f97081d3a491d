"""A file is whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hsrl_agent.files import write_bytes, write_text


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "row.json"
    write_text(path, "before")

    def fail(*args: Any) -> None:
        assert path.read_text() == "before"  # what is there stays until the new one is complete
        raise OSError("disk full")

    monkeypatch.setattr("hsrl_agent.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "after")
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["row.json"]


def test_what_killed_processes_left_is_removed_by_a_lone_writer(tmp_path: Path) -> None:
    left = [tmp_path / name for name in (".a[1]-abcd1234.tmp", ".a[1]-x.tmp")]
    others = [tmp_path / name for name in (".a1-abcd1234.tmp", ".b-abcd1234.tmp", "a[1]-b.tmp")]
    for file in (*left, *others):
        file.write_bytes(b"")
    write_bytes(tmp_path / "a[1]", b"first")
    assert all(file.exists() for file in left)  # another process may be writing them
    write_bytes(tmp_path / "a[1]", b"second", alone=True)
    assert (tmp_path / "a[1]").read_bytes() == b"second"
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a[1]", *others])
