"""The methods of the comparison by name: the records (`METHODS`) of the modules that hold the algorithms."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from hsrl_agent import baselines, hsrl, paper_hsrl
from hsrl_agent.method import Method
from hsrl_gym.errors import unknown_name


def _collected() -> dict[str, Method]:
    """Return the records of all modules, by name, in the order of their rank."""
    found = pkgutil.iter_modules(baselines.__path__, f"{baselines.__name__}.")
    modules = [*(import_module(module.name) for module in found), paper_hsrl, hsrl]
    records = [record for module in modules for record in getattr(module, "METHODS", ())]
    return {record.name: record for record in sorted(records, key=lambda record: record.rank)}


METHODS: dict[str, Method] = _collected()


def find_method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        HsrlError: if there is none; it names the nearest ones.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]
