"""What a reader may do with a damaged file: load it, or say in one short line what is wrong."""

from __future__ import annotations

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
N_STEPS = 2

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


def play(folder: Path) -> None:
    """Load a bundle, and play two steps with each of its users.

    Raises:
        HsrlError: if the bundle is refused.
        AssertionError: if it is not, but its users or observations are no good.
    """
    import gymnasium
    import torch

    import hsrl_gym  # noqa: F401  (registers the environments)
    from hsrl_gym.bundle.folder import load_bundle

    bundle = load_bundle(folder)
    for simulator in ("train", "eval"):
        env: Any = gymnasium.make(
            "HSRL-Bundle-v0", bundle=bundle, simulator=simulator, render_mode="ansi", disable_env_checker=True
        ).unwrapped
        env.action_space.seed(0)
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation), "an observation is outside its space"
        for _ in range(N_STEPS):
            observation, reward, *_, info = env.step(env.action_space.sample())
            assert env.observation_space.contains(observation), "an observation is outside its space"
            state, slate = env._state, torch.as_tensor(info["slate"]).long()[None]
            chance = env.sessions.core.respond(state.user, state.history, slate)
            assert bool(chance.isfinite().all()), "a click probability is not finite"
            assert -1.0 <= reward <= 1.0, "a reward is outside its range"
        text = env.render()
        assert text.replace("\n", "").isprintable(), "a control character reaches the terminal"


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `Hang` inside the block after so many seconds; end the process if that does not help."""
    import faulthandler
    import signal

    def stop(*_: object) -> None:
        raise Hang(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(6 * seconds, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
