"""What people see of the runs: bars in a terminal, lines in a log."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from fake_results import make_result
from rich.console import Console

from hsrl_agent.evaluation.progress import BarDisplay, LineDisplay, clock, in_short, make_display
from hsrl_agent.evaluation.result import CurvePoint
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.workers import Ended, one_line
from hsrl_gym.errors import HsrlError

SPEC, OTHER = (RunSpec("shop", "HSRL-RL4RS-v0", method, 0, 1_000) for method in ("hsrl", "a2c"))


def test_bars_of_a_terminal() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=30, _environ={"TERM": "xterm"})
    with make_display(console, {SPEC.name: 3.0, OTHER.name: 1.0}) as display:
        assert isinstance(display, BarDisplay)
        display.started(SPEC)
        display.started(OTHER)
        display.stepped(SPEC, 0)
        assert SPEC.name not in display.first  # pretraining begins
        display.stepped(SPEC, 200)
        display.stepped(SPEC, 500)
        assert display.bars.tasks[0].percentage == pytest.approx(100 * 1.5 / 4)
        display.ended(Ended(OTHER, message="no luck"))
        assert display.bars.tasks[0].percentage == pytest.approx(100 * 2.5 / 4)
        display.bars.refresh()
    shown = file.getvalue()
    assert "1 of 2 runs" in shown
    assert "left" in shown
    assert "user-steps/s" in shown
    assert f"[1/2] {OTHER.name}: FAILED: no luck" in shown


def test_a_log_has_one_line_a_run() -> None:
    file = io.StringIO()
    with make_display(Console(file=file, width=200), {SPEC.name: 3.0, OTHER.name: 1.0}) as display:
        assert type(display) is LineDisplay
        display.started(SPEC)
        for steps in range(100):
            display.stepped(SPEC, steps)
        display.noted("a node [died]")
        display.ended(Ended(SPEC, make_result("hsrl", 0, 3.0)))
    assert file.getvalue() == (
        "a node [died]\n[1/2] shop hsrl seed 0: Total Reward 3.00, Depth 4.00 (3 s, 1,600 user-steps/s)\n"
    )


def test_a_method_that_does_not_learn_online_has_no_pace() -> None:
    assert in_short(make_result("sl", 0, 3.0)) == "Total Reward 3.00, Depth 4.00 (3 s)"


def test_pretraining_does_not_slow_the_pace() -> None:
    slow = make_result("hsrl", 0, 3.0, train_seconds=42.0)
    curve = (CurvePoint(0, 40.0, 1.0, 2.0), CurvePoint(3_200, 42.0, 3.0, 4.0))
    assert in_short(replace(slow, curve=curve)) == "Total Reward 3.00, Depth 4.00 (43 s, 1,600 user-steps/s)"
    assert in_short(replace(slow, curve=curve[1:])) == "Total Reward 3.00, Depth 4.00 (43 s)"


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0.4, 61, 3599.6, 7261)] == ["0:00", "1:01", "1:00:00", "2:01:01"]


def test_errors_on_one_line() -> None:
    assert one_line(HsrlError("got 3,\nexpected 4.")) == "got 3, expected 4."
    assert one_line(KeyError("x")) == "KeyError: 'x'"
    assert one_line(MemoryError()) == "MemoryError"
