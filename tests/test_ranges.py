"""The versions that pyproject.toml allows are tested: `make test` installs the newest, `make ranges` the lowest."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
UNTESTED = {"torch"}  # PyPI has no small build of its lowest version
tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11, to read pyproject.toml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [
    Requirement(line) for name in ("examples", "dev", "tune", "docs") for line in PROJECT["optional-dependencies"][name]
]


def pins(name: str) -> dict[str, Version]:
    """Return the versions in a constraints file, by normalised names."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [line.split(";")[0].strip().split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(package): Version(number) for package, number in found}


@pytest.mark.parametrize("requirement", [*DEPENDENCIES, *EXTRAS], ids=str)
def test_the_tested_version_is_in_the_range(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pins("constraints.txt")[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("requirement", DEPENDENCIES, ids=str)
def test_the_lowest_version_is_pinned(requirement: Requirement) -> None:
    pinned = pins("constraints-lowest.txt")[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned)
    if requirement.name not in UNTESTED:
        (lowest,) = [one for one in requirement.specifier if one.operator == ">="]
        assert pinned == Version(lowest.version)


@pytest.mark.parametrize("name", ["constraints-rllib.txt", "constraints-rl-zoo.txt"])
def test_other_libraries_get_what_is_tested_or_an_allowed_version(name: str) -> None:
    theirs = pins(name)
    refused = {
        str(one)
        for one in DEPENDENCIES
        if not one.specifier.contains(theirs.get(canonicalize_name(one.name), Version("0")))
    }
    assert refused == set()


def test_what_is_installed_is_in_the_range() -> None:
    assert [str(one) for one in DEPENDENCIES if not one.specifier.contains(version(one.name))] == []
