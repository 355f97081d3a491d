"""How commands print, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130


def run_command(name: str, work: Callable[[], int]) -> int:
    """Return the exit status of `work`; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    try:
        from hsrl_gym.errors import HsrlError

        try:
            return work()
        except (HsrlError, OSError) as error:
            print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted; what is finished is kept, the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED


def make_console() -> Console:
    """Return the terminal, or a log that is wide enough for the tables."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 120), no_color=True)
    return console


def say(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(text, markup=False, soft_wrap=True)
