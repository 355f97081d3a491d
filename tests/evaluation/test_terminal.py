"""How commands end."""

from __future__ import annotations

from typing import NoReturn

import pytest

from hsrl_agent.evaluation.terminal import run_command
from hsrl_gym.errors import HsrlError


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (HsrlError("got x,\n  expected y."), 2, "name.py: got x, expected y.\n"),
        (FileNotFoundError(2, "No such file", "here"), 2, "name.py: [Errno 2] No such file: 'here'\n"),
        (
            KeyboardInterrupt(),
            130,
            "name.py: interrupted; what is finished is kept, the same command goes on from here.\n",
        ),
    ],
)
def test_how_a_command_ends(error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> NoReturn:
        raise error

    assert run_command("name.py", work) == status
    assert capsys.readouterr() == ("", said)


def test_what_went_well_and_what_is_a_bug() -> None:
    assert run_command("name.py", lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        run_command("name.py", lambda: 1 // 0)
