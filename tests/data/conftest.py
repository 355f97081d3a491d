from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_source import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    return tmp_path / "cache"
