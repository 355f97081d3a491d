"""What a reader may do with a damaged file: load it, or say in one short line what is wrong."""

from __future__ import annotations

import faulthandler
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promises.damage import FLOOD

MOST_SHOWN = 200  # characters of a file that a message shows
OWN_WORDS = 500  # characters of a message that are ours; more are somebody else's

Read = Callable[[Path], Any]


class Hang(BaseException):
    """A case took too long."""


@dataclass(frozen=True)
class Failure:
    """What went wrong, under a name that other cases with the same cause share."""

    cause: str
    details: str


def judge(read: Read, folder: Path) -> Failure | str:
    """Return "loaded", "refused", or what else came of reading a folder."""
    from hsrl_gym.errors import HsrlError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(folder)
        return "loaded"
    except HsrlError as error:
        wrong = complaint(str(error), folder)
        return Failure(f"{wrong} [{_place(error)}]", str(error)) if wrong else "refused"
    except Hang as error:
        return Failure(f"it hangs [{_place(error)}]", traceback.format_exc())
    except Exception as error:
        return Failure(f"{type(error).__name__} [{_place(error)}]", traceback.format_exc(limit=12))


def complaint(message: str, folder: Path) -> str:
    """Return what is wrong with the message of an HsrlError, "" if nothing is."""
    if not message.isprintable():
        return "the message has a line break or another control character"
    if message.count(FLOOD.decode()) > MOST_SHOWN:
        return f"the message shows more than {MOST_SHOWN} characters of the file"
    if len(message.replace(str(folder), "")) > MOST_SHOWN + OWN_WORDS:
        return "the message is too long"
    return ""


def _place(error: BaseException) -> str:
    """Return file and function of the package that an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/hsrl_gym/" in frame.filename]
    if not ours:
        return "outside the package"
    return f"hsrl_gym/{ours[-1].filename.rpartition('/hsrl_gym/')[2]}, {ours[-1].name}"


class Watchdog:
    """Raises `Hang` in a case that takes too long; if that does not help, it ends the process some time later."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.armed = -1e9  # when the process was last told to end if it hangs

    def __enter__(self) -> Watchdog:
        self.before = signal.signal(signal.SIGALRM, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, self.before)

    @contextmanager
    def case(self) -> Iterator[None]:
        """Watch one case."""
        if time.monotonic() - self.armed > 2 * self.seconds:  # seldom: it starts a thread
            self.armed = time.monotonic()
            faulthandler.dump_traceback_later(6 * self.seconds, exit=True)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _stop(self, *_: object) -> None:
        raise Hang(f"more than {self.seconds:g} s")
