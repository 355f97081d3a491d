"""Progress of long work: two lines in a log file, nothing where it is not wanted."""

from __future__ import annotations

import sys

import pytest

from hsrl_gym.progress import progress_bar


def work(shown: bool, closing_line: bool = False) -> None:
    with progress_bar("train user", 1_000, shown, closing_line) as bar:
        for step in range(1_000):
            bar.update()
            bar.set_postfix(held_out=f"{step / 1_000:.3f}")


def test_a_log_file_gets_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    work(shown=True)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "train user: started"
    assert last.startswith("train user: done in ")
    assert last.endswith(", held_out=0.999")


def test_nothing_is_written_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    work(shown=False)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    work(shown=True)
    bar = capsys.readouterr().err
    assert "\r" in bar
    assert "done in" not in bar
    work(shown=True, closing_line=True)
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("train user: done in ")
    assert last.endswith(", held_out=0.999\n")
