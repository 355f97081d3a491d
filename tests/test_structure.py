"""The structure of the sources: imports go one way, in no circle, and no module is too long to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each package may import from those before it; modules of hsrl_gym itself stand at either end.
ORDER = (
    "errors",
    "yaml_files",
    "work_folder",
    "progress",
    "data",
    "users",
    "items",
    "bundle",
    "envs",
    "figures",
    "terminal",
    "cli",
)
LONGEST = 300  # lines
PACKAGES = ("hsrl_gym", "hsrl_agent", "benchmarks")


def modules(package: str) -> dict[str, Path]:
    """Return the modules of a package by their dotted names."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the known modules that a file imports, anywhere in it: at its top, in functions, for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name in known)


def place(module: str) -> int:
    """Return where a module of hsrl_gym stands in `ORDER`; `hsrl_gym` itself, which only registers, comes first."""
    parts = module.split(".")
    return ORDER.index(parts[1]) if len(parts) > 1 else 0


def test_hsrl_gym_imports_go_one_way() -> None:
    known = modules("hsrl_gym")
    upward = [
        f"{module} imports {other}"
        for module, path in known.items()
        if module != "hsrl_gym"
        for other in imports(path, known)
        if place(other) > place(module)
    ]
    assert upward == []


def test_the_gym_knows_nothing_of_agents_and_benchmarks() -> None:
    others = {**modules("hsrl_agent"), **modules("benchmarks")}
    assert [module for module, path in modules("hsrl_gym").items() if any(imports(path, others))] == []


@pytest.mark.parametrize("package", ["hsrl_gym", "hsrl_agent"])
def test_no_circle(package: str) -> None:
    known = modules(package)
    graph = {module: set(imports(path, known)) - {module, package} for module, path in known.items()}
    while leaves := {module for module, others in graph.items() if not others}:
        graph = {module: others - leaves for module, others in graph.items() if module not in leaves}
    assert graph == {}, f"imports in a circle among {sorted(graph)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_too_long(package: str) -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules(package).items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
