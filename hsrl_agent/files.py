"""Files that appear whole or not at all."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path


def write_bytes(path: Path, content: bytes, alone: bool = False) -> None:
    """Write a file that appears whole or not at all. Missing folders are made.

    Args:
        path: of the file.
        content: of the file.
        alone: whether nobody else writes this file. What killed processes left beside it is then removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}-*.tmp") if alone else ():
        left.unlink(missing_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's own is for its owner alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears whole or not at all."""
    write_bytes(path, text.encode())
