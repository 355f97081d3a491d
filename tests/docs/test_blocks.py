"""Every code block of the README, the site and CONTRIBUTING works.

Python blocks run, those of one page in their order and in one namespace, in an empty folder. Shell blocks are parsed:
each command's arguments by the command's own parser. A comment on the line before a block can change this:

    <!-- test: shorten 32_000 to 64 -->            run a short form; several, with ";" between
    <!-- test: run -->                             run the commands too; for those that take seconds
    <!-- test: skip because it needs the network -->
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"(?:^<!-- test: (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
UNTESTED = ("text", "yaml", "")  # output, files, diagrams
TOOLS = ("cd", "export", "git", "mypy", "pip", "ray", "ruff")  # commands that are not ours
SHORT_POOL = 300  # logged rows that pretraining and SL see here


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: path in the repository.
        line: of its first line of code.
        language: after the opening fence.
        code: as it is tested, shortened if the page says so.
        runs: whether shell commands run, too.
        skipped: why it is not tested; "" if it is.
    """

    page: str
    line: int
    language: str
    code: str
    runs: bool = False
    skipped: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(path: Path) -> list[Block]:
    """Return the tested blocks of a page."""
    text, found = path.read_text(encoding="utf-8"), []
    for match in FENCE.finditer(text):
        code, runs, skipped = match["code"], False, ""
        for order in filter(None, (match["note"] or "").split("; ")):
            if order == "run":
                runs = True
            elif order.startswith("skip because "):
                skipped = order.removeprefix("skip because ")
            else:
                long, short = re.fullmatch(r"shorten (.+) to (.+)", order).groups()  # type: ignore[union-attr]
                assert long in code, f"{path}: got no {long!r} to shorten"
                code = code.replace(long, short)
        if match["language"] not in UNTESTED:
            line = text[: match.start("code")].count("\n") + 1
            page = path.relative_to(ROOT).as_posix()
            found.append(Block(page, line, match["language"], code, runs, skipped))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = {
    block.page: [one for one in BLOCKS if one.page == block.page and one.language == "python"] for block in BLOCKS
}
SHELL = [block for block in BLOCKS if block.language == "sh"]


def test_only_known_languages() -> None:
    assert {block.language for block in BLOCKS} == {"python", "sh"}


@pytest.fixture
def _short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever learns from the bundle's log see a few rows of it, and fit users in one short pass."""
    from hsrl_agent.vec_env import train_pool
    from hsrl_gym.users.fit import FitSettings

    short = partial(FitSettings, max_epochs=1, min_steps=1)
    monkeypatch.setattr("hsrl_gym.bundle.build.FitSettings", short)

    for name in ("hsrl_agent.pretraining", "hsrl_agent.baselines.supervised"):
        monkeypatch.setattr(f"{name}.train_pool", lambda env: train_pool(env).rows(slice(SHORT_POOL)))


@pytest.mark.usefixtures("_short_fits")
@pytest.mark.parametrize("page", [page for page, blocks in PYTHON.items() if blocks])
def test_python(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    namespace: dict[str, Any] = {"__name__": "block"}
    for block in PYTHON[page]:
        record_property("block", "skip" if block.skipped else "run")
        if block.skipped:
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "no bundle was named")  # the examples use the packaged ones on purpose
            # Empty lines in front, so that a traceback names the line of the page.
            exec(compile("\n" * (block.line - 1) + block.code, str(ROOT / page), "exec"), namespace)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_shell(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    record_property("block", "skip" if block.skipped else "run" if block.runs else "parse")
    if block.skipped:
        pytest.skip(block.skipped)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)  # `--device cuda` is right on any machine
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    for words in commands(block.code):
        check(words)
        if block.runs:
            monkeypatch.chdir(tmp_path)
            assert command(words[0])(words[1:]) == 0


def commands(code: str) -> list[list[str]]:
    """Return the words of each command of a block, without comments, variables and the way into .venv."""
    lines = re.sub(r"\\\n", " ", code).splitlines()
    words = [shlex.split(part, comments=True) for line in lines for part in line.split(" && ")]
    plain = [[word for place, word in enumerate(one) if place or "=" not in word] for one in words]
    return [[one[0].removeprefix(".venv/bin/"), *one[1:]] for one in plain if one]


def check(words: list[str]) -> None:
    """Fail unless a command's own parser takes its arguments."""
    name, *arguments = words
    if name in TOOLS:
        return
    if name == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(arguments) <= set(targets), f"{words}: got no such target in the Makefile"
    elif name == "python" and arguments[0] == "-m":
        assert arguments[1] in ("pytest", "venv", "pip", "http.server"), f"{words}: got an unknown module"
    elif name == "python":
        script = ROOT / arguments[0]
        assert script.is_file(), f"{words}: got no such script"
        if script.parent.name == "benchmarks":
            parsed(importlib.import_module(script.stem).parser, arguments[1:])
    elif name == "hsrl-gym":
        parsed(importlib.import_module("hsrl_gym.cli")._parser, arguments)
    elif name == "hsrl-agent":
        parsed(partial(importlib.import_module("hsrl_agent.evaluation.cli").parser, arguments[0]), arguments[1:])
    else:
        pytest.fail(f"{words}: got an unknown command")


def command(name: str) -> Callable[[list[str]], int]:
    """Return the function behind one of our commands."""
    module = {"hsrl-gym": "hsrl_gym.cli", "hsrl-agent": "hsrl_agent.evaluation.cli"}[name]
    main: Callable[[list[str]], int] = importlib.import_module(module).main
    return main


def parsed(make: Callable[[], argparse.ArgumentParser], arguments: list[str]) -> None:
    """Parse arguments with the parser that `make` returns."""
    from hsrl_gym.errors import HsrlError

    try:
        make().parse_args(arguments)
    except (HsrlError, SystemExit) as error:
        pytest.fail(f"{arguments}: {error}")
