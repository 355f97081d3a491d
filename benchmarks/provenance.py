"""With what a run was made: versions, code, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import torch

import hsrl_agent
import hsrl_gym

_PACKAGES = ("torch", "stable-baselines3", "gymnasium", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of what decides the numbers."""
    installed = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "hsrl-gym": hsrl_gym.__version__, **installed}


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return a hash of the sources of hsrl_gym and hsrl_agent, the same on every machine that has them."""
    digest = hashlib.sha256()
    for package in (hsrl_gym, hsrl_agent):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=1)
def git_commit(where: Path | None = None) -> str | None:
    """Return the commit of a checkout, by default this one, "-dirty" where files differ; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # so that it never stands in the way of another git
    where = where or Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=where, env=quiet, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


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
