"""Progress of long work: a bar on a terminal, two lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class _Log:
    """Takes a bar's place where nobody watches: it remembers the last note for the closing line."""

    def __init__(self) -> None:
        self.note = ""

    def update(self, n: float = 1) -> None:
        """Do nothing."""

    def set_postfix(self, **values: object) -> None:
        """Remember the values."""
        self.note = "".join(f", {name}={value}" for name, value in values.items())


@contextmanager
def progress_bar(
    description: str, total: float | None, shown: bool = True, closing_line: bool = False, **settings: Any
) -> Iterator[tqdm[Any] | _Log]:
    """Yield something with `update(n)` and `set_postfix(**values)`.

    On a terminal it is a tqdm bar, which is removed at the end. Elsewhere it writes one line to standard error at the
    start and one at the end, so that a log file stays short.

    Args:
        description: what is being done, for instance "train user".
        total: steps until the end; None if unknown.
        shown: False writes nothing at all.
        closing_line: True writes the line at the end on a terminal too.
        settings: further ones of tqdm, for instance `unit` or `initial`.
    """
    if not shown:
        yield _Log()
        return
    start = time.monotonic()
    if sys.stderr.isatty():
        with tqdm(total=total, desc=description, leave=False, **settings) as bar:
            yield bar
        note = f", {bar.postfix}" if bar.postfix else ""
    else:
        print(f"{description}: started", file=sys.stderr, flush=True)
        log, closing_line = _Log(), True
        yield log
        note = log.note
    if closing_line:
        print(f"{description}: done in {time.monotonic() - start:.1f} s{note}", file=sys.stderr, flush=True)
