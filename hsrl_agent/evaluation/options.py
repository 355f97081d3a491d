"""Options of the command line: a parser whose complaints are one line, and readers of values for `type=`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NoReturn, TypeVar

import gymnasium

import hsrl_gym  # noqa: F401  (registers the environments)
from hsrl_gym.envs.rules import REWARDS
from hsrl_gym.errors import HsrlError, unknown_name

T = TypeVar("T")
Pair = tuple[str | None, str]  # of ENV=VALUE; None for a VALUE alone


class Parser(argparse.ArgumentParser):
    """An argument parser that raises HsrlError with one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise HsrlError(f"{message.removeprefix('argument ')}; see --help.")


def whole_number(text: str) -> int:
    """Return a whole number of at least 1; 1_000 and 1000 are the same."""
    if not re.fullmatch(r"\d[\d_]*", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a whole number of at least 1")
    return int(text)


def names(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list, each once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a comma-separated list without empty places")
    return tuple(dict.fromkeys(parts))


def whole_numbers(text: str) -> tuple[int, ...]:
    """Return a comma-separated list of whole numbers from 0 on, each once."""
    parts = names(text)
    if not all(re.fullmatch(r"\d+", part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected whole numbers separated by commas, for instance 0,1,2"
        )
    return tuple(dict.fromkeys(map(int, parts)))


def bundle(text: str) -> Pair:
    """Return environment and folder of ENV=DIR, or None and the folder of DIR."""
    env, sign, folder = text.partition("=")
    if not sign or (env not in gymnasium.registry and Path(text).exists()):
        return None, text
    if not env or not folder:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected DIR or ENV=DIR")
    return env, folder


def reward(text: str) -> Pair:
    """Return environment and reward rule of ENV=RULE, or None and the rule of RULE."""
    env, sign, rule = text.rpartition("=")
    if rule not in REWARDS:
        raise argparse.ArgumentTypeError(str(unknown_name("reward rule", rule, REWARDS)).rstrip("."))
    if sign and not env:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected RULE or ENV=RULE")
    return env or None, rule


def device(text: str) -> str:
    """Return the name of a device, which this machine need not have."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"got {text}, expected cpu, cuda or cuda:N")
    return text


def share(text: str) -> float:
    """Return a part of one CPU or GPU, or a whole number of them."""
    number = float(text) if re.fullmatch(r"\d+|\d*\.\d+", text) else 0.0
    if not 0.0 < number <= 1.0 and not (number > 1.0 and number.is_integer()):
        raise argparse.ArgumentTypeError(f"got {text}, expected a number above 0, and a whole one above 1")
    return number


def folder(text: str) -> Path:
    """Return a folder, which need not exist."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"got {text}, which is a file, expected a folder")
    return path
