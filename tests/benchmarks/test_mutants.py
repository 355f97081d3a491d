"""Mutants of a toy module: which there are, and whether its tests notice them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from promises import mutation
from promises.mutants import ROOT, TARGETS, Mutant, Target, mutants_of, sample, without_equivalent

SOURCE = '''"""A module."""
LIMIT = 3


def grade(points: int, late: bool = False) -> "int | None":
    """Return the grade."""
    if points < 0 or late:
        raise ValueError(f"got {points + 1}")
    return max(points * 2 - LIMIT, 0)


def spare() -> int:
    return 7
'''
TESTS = """
import pytest
from toy_module import grade

def test_grade():
    assert [grade(0), grade(1), grade(4)] == [0, 0, 5]

def test_refuses():
    with pytest.raises(ValueError):
        grade(-1)
    with pytest.raises(ValueError):
        grade(1, late=True)
"""
CHANGES = [
    (2, "3 becomes 4"),
    (5, "False becomes True"),
    (7, "or becomes and"),
    (7, "< becomes <="),
    (7, "0 becomes 1"),
    (9, "None is returned"),
    (9, "- becomes +"),
    (9, "* becomes /"),
    (9, "2 becomes 3"),
    (9, "0 becomes 1"),
    (13, "None is returned"),
    (13, "7 becomes 8"),
]


@pytest.fixture
def toy(tmp_path: Path) -> Target:
    (tmp_path / "toy_module.py").write_text(SOURCE)
    (tmp_path / "test_toy.py").write_text(TESTS)
    return Target("toy", "toy_module.py", ("test_toy.py",))


def test_the_mutants_of_a_module(toy: Target, tmp_path: Path) -> None:
    """Types, names, messages and docstrings are left alone."""
    found = mutants_of(toy, tmp_path)
    assert sorted((one.line, one.change) for one in found) == sorted(CHANGES)
    original = ast.dump(ast.parse(SOURCE))
    assert len({ast.dump(one.tree(tmp_path)) for one in found} - {original}) == len(CHANGES)


def test_a_mutant_is_what_it_says(toy: Target, tmp_path: Path) -> None:
    for one in mutants_of(toy, tmp_path):
        before, after = one.change.split(" becomes ") if "becomes" in one.change else ("points", "return None")
        line = ast.unparse(one.tree(tmp_path))
        assert after in line, one.change
        assert one.function == {2: "", 5: "grade", 7: "grade", 9: "grade", 13: "spare"}[one.line], before


def test_functions_can_be_chosen(toy: Target, tmp_path: Path) -> None:
    chosen = Target(toy.name, toy.path, toy.tests, ("spare",))
    assert [one.line for one in mutants_of(chosen, tmp_path)] == [13, 13]


def test_a_sample_does_not_depend_on_other_lines(toy: Target, tmp_path: Path) -> None:
    before = [one.change for one in sample(mutants_of(toy, tmp_path), 5, seed=1)]
    (tmp_path / "toy_module.py").write_text(SOURCE.replace("LIMIT = 3", "# why\nLIMIT = 3"))
    assert [one.change for one in sample(mutants_of(toy, tmp_path), 5, seed=1)] == before
    assert [one.change for one in sample(mutants_of(toy, tmp_path), 5, seed=2)] != before


def test_those_that_change_nothing_are_left_out(toy: Target, tmp_path: Path) -> None:
    file = tmp_path / "equivalent.yaml"
    file.write_text("- {path: toy_module.py, text: return 7, change: 7 becomes 8, reason: nobody asks}\n")
    left = without_equivalent(mutants_of(toy, tmp_path), file)
    assert len(left) == len(CHANGES) - 1


def test_every_listed_equivalent_has_a_reason_and_exists() -> None:
    import yaml

    from promises.mutants import EQUIVALENT

    known = {(one.target.path, one.text, one.change) for target in TARGETS for one in mutants_of(target)}
    for one in yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) or []:
        assert (one["path"], one["text"], one["change"]) in known, one
        assert one["reason"]


def test_targets_name_files_that_exist() -> None:
    for target in TARGETS:
        assert mutants_of(target)
        assert all((ROOT / test).is_file() for test in target.tests)


@pytest.mark.slow
def test_survivors_are_found_and_broken_tests_refused(toy: Target, tmp_path: Path) -> None:
    """Nothing calls `spare`, so both of its mutants survive, and so does `points < 0`, as tests have no 0.5."""

    def verdicts(mutants: list[Mutant]) -> dict[tuple[int, str], str]:
        judged = mutation.judge(mutants, 1, root=tmp_path, libraries=("hypothesis", "pytest"))
        return {(one.mutant.line, one.mutant.change): one.what for one in judged}

    (tmp_path / "setup.cfg").write_text("[tool:pytest]\npythonpath = .\n")
    chosen = [one for one in mutants_of(toy, tmp_path) if one.line in (7, 13)]
    found = verdicts(chosen)
    assert {place for place, what in found.items() if what == "survived"} == {
        (13, "None is returned"),
        (13, "7 becomes 8"),
    }
    assert (tmp_path / "toy_module.py").read_text() == SOURCE
    (tmp_path / "test_toy.py").write_text("def test_never():\n    assert False\n")
    with pytest.raises(mutation.BrokenTests, match="do not pass as it is"):
        verdicts(chosen)
