"""A file is whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hsrl_agent.files import write_text


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
