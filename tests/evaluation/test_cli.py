"""The command `hsrl-agent`: its help, its list of methods, a command that is none."""

from __future__ import annotations

import pytest

from hsrl_agent.evaluation.cli import main
from hsrl_agent.methods import METHODS


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        assert main(arguments) == 0
        assert all(name in capsys.readouterr().out for name in ("compare",))


def test_methods_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    text = capsys.readouterr().out
    assert all(name in text and method.label.split()[0] in text for name, method in METHODS.items())
    assert "pretrain_epochs" in text
    assert "replay_buffer_kwargs" not in text  # of SB3, that nobody sets
    assert main(["methods", "--all"]) == 0
    assert "replay_buffer_kwargs" in "".join(capsys.readouterr().out.split())


def test_a_command_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["comprae"]) == 2
    assert capsys.readouterr().err == "hsrl-agent: unknown command 'comprae'; did you mean compare?\n"
