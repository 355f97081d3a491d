"""With what a run was made: versions, code, machine."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

import hsrl_agent
import hsrl_gym

_PACKAGES = ("torch", "stable-baselines3", "gymnasium", "numpy")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_ONLY_DRAWS = "hsrl_agent/evaluation/report/"


@dataclass(frozen=True)
class Provenance:
    """With what a run was made.

    Attributes:
        git_commit: of the checkout, see `git_commit`; None for installed code.
        code: `code_digest`.
        device_name: processor or GPU.
        versions: of Python and the packages that decide the numbers.
        started_at: ISO 8601, UTC, in seconds.
    """

    git_commit: str | None
    code: str
    device_name: str
    versions: Mapping[str, str]
    started_at: str


def provenance(device: str, started_at: datetime) -> Provenance:
    """Return with what a run that began at `started_at` on `device` is made."""
    started = started_at.astimezone(timezone.utc).isoformat(timespec="seconds")
    return Provenance(git_commit(), code_digest(), device_name(device), versions(), started)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    installed = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "hsrl-gym": hsrl_gym.__version__, **installed}


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return `digest_on_disk` as it was when this process first asked, as its modules do not change any more."""
    return digest_on_disk()


def code_changed() -> bool:
    """Return whether the code on disk differs from `code_digest`."""
    return digest_on_disk() != code_digest()


def digest_on_disk() -> str:
    """Return a hash of the code of hsrl_gym and hsrl_agent: 12 hex digits, the same on every machine.

    Comments, docstrings and formatting do not count, nor do the modules that only draw results.
    """
    digest = hashlib.sha256()
    for name, path in _sources():
        if not name.startswith(_ONLY_DRAWS):
            digest.update(f"{name}\0{bare_code(path.read_text(encoding='utf-8'))}\0".encode())
    return digest.hexdigest()[:12]


def _sources() -> Iterator[tuple[str, Path]]:
    for package in (hsrl_gym, hsrl_agent):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            yield path.relative_to(root.parent).as_posix(), path


@lru_cache(maxsize=1024)  # every run asks twice
def bare_code(source: str) -> str:
    """Return Python source without comments, docstrings and formatting, in words that all versions of Python share.

    `ast.dump` is no such form: what it writes of fields that are empty differs between versions, and 3.12 added some.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.JoinedStr):  # 3.12 ends some with an empty text
            node.values = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
    return _in_words(tree)


def _in_words(part: Any) -> str:
    """Return a part of a syntax tree as text: names and fields in alphabetical order, without fields that are empty."""
    if isinstance(part, list):
        return f"[{' '.join(map(_in_words, part))}]"
    if isinstance(part, ast.AST):
        kept = (
            part._fields
            if isinstance(part, ast.Constant)
            else [name for name in part._fields if getattr(part, name, None) not in (None, [])]
        )
        return f"({type(part).__name__}{''.join(f' {name}={_in_words(getattr(part, name))}' for name in sorted(kept))})"
    return ascii(part)


@lru_cache(maxsize=1)
def git_commit(where: Path | None = None) -> str | None:
    """Return the commit of the checkout that this code stands in, "-dirty" where files differ.

    None for installed code: a checkout around a virtual environment says nothing about the code in it.
    """
    where = where or Path(__file__)
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        _git(where, "ls-files", "--error-unmatch", where.name)
        return _git(where, *describe) or None
    except (OSError, subprocess.SubprocessError):
        return None


def _git(path: Path, *arguments: str) -> str:
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # so that it never stands in the way of another git
    done = subprocess.run(
        ["git", *arguments], cwd=path.parent, env=quiet, capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout.strip()


@lru_cache(maxsize=4)
def device_name(device: str) -> str:
    """Return the name of the processor or the GPU that a run learns on."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
