"""What counts as another state of the code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hsrl_agent.evaluation.provenance import bare_code, code_digest, git_commit, versions

PLAIN = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "source",
    [
        '"""A module."""\n\n\ndef f(x):\n    """Return x + 1."""\n    # a comment\n    return x + 1\n',
        "def f( x ):\n\n    return (x\n            + 1)\n",
    ],
)
def test_words_and_form_are_no_code(source: str) -> None:
    assert bare_code(source) == bare_code(PLAIN)


@pytest.mark.parametrize(
    "source", [PLAIN.replace("1", "2"), PLAIN.replace("x", "y"), PLAIN + "'a text'\n", PLAIN.replace("+", "-")]
)
def test_code_is_code(source: str) -> None:
    assert bare_code(source) != bare_code(PLAIN)


def test_form_of_code_is_that_of_every_python() -> None:
    """3.10, 3.11, 3.12 and 3.13 have to give this text; 3.12 adds empty fields and empty texts."""
    source = "async def f(x, *y: int, z=None):\n    return [*y, f'{x:<{z}}', 'é', None, ()]\n"
    assert bare_code(source) == (
        "(Module body=[(AsyncFunctionDef args=(arguments args=[(arg arg='x')] kw_defaults=[(Constant kind=None "
        "value=None)] kwonlyargs=[(arg arg='z')] vararg=(arg annotation=(Name ctx=(Load) id='int') arg='y')) "
        "body=[(Return value=(List ctx=(Load) elts=[(Starred ctx=(Load) value=(Name ctx=(Load) id='y')) (JoinedStr "
        "values=[(FormattedValue conversion=-1 format_spec=(JoinedStr values=[(Constant kind=None value='<') "
        "(FormattedValue conversion=-1 value=(Name ctx=(Load) id='z'))]) value=(Name ctx=(Load) id='x'))]) "
        "(Constant kind=None value='\\xe9') "
        "(Constant kind=None value=None) (Tuple ctx=(Load))]))] name='f')])"
    )


def test_what_only_draws_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(name: str, source: str) -> str:
        path = tmp_path / "module.py"
        path.write_text(source)
        monkeypatch.setattr("hsrl_agent.evaluation.provenance._sources", lambda: [(name, path)])
        return code_digest.__wrapped__()

    assert digest("hsrl_agent/evaluation/run.py", "a = 1") != digest("hsrl_agent/evaluation/run.py", "a = 2")
    drawn = "hsrl_agent/evaluation/report/page.py"
    assert digest(drawn, "a = 1") == digest(drawn, "a = 2")
    assert len(code_digest()) == 12


def test_commit_is_that_of_the_code_alone(tmp_path: Path) -> None:
    """Installed code that lies in somebody's checkout is not of that checkout."""
    ask = git_commit.__wrapped__
    file = tmp_path / "code.py"
    file.write_text("a = 1\n")
    assert ask(file) is None
    for command in (["init", "-q"], ["config", "user.email", "a@b.c"], ["config", "user.name", "a"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert ask(file) is None
    for command in (["add", "code.py"], ["commit", "-qm", "One"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    commit = ask(file)
    assert commit is not None
    assert len(commit) == 40
    file.write_text("a = 2\n")
    assert ask(file) == f"{commit}-dirty"


def test_versions_are_those_that_decide_the_numbers() -> None:
    assert {"python", "hsrl-gym", "torch", "numpy"} <= set(versions())
