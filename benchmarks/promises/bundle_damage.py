"""Damaged bundles whose hashes are right: what a stranger could send, and no hash can refuse."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

from promises.damage import FLOOD, N_FLOOD
from promises.samples import Files

TESTS = Path(__file__).resolve().parents[2] / "tests" / "bundle"
MANIFEST = "bundle.yaml"
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 80),
        st.sampled_from([2**31, 10**7, 2**63, 10**30, -(2**70), 10**400]),
        st.builds(pow, st.just(16), st.just(5000)),  # no literal: Python cannot write it in a report
        st.floats(),
        st.sampled_from(["", "x", "1", "\x1b[31m", "a\nb", "../..", FLOOD.decode() * N_FLOOD]),
        st.text(max_size=6),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


def tampering() -> Any:
    """Return the module of the tests that changes bundles and plays them."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    return importlib.import_module("tampering")


def tampered(base: Path, work: Path, seed: int, n: int) -> Iterator[Files]:
    """Yield n bundles with changed arrays, labels or manifests, as the tests change them."""
    for number in range(n):
        folder = work / f"tampered{number}"
        tampering().tamper(base, folder, np.random.default_rng([seed, number]))
        yield {path.name: path.read_bytes() for path in folder.iterdir()}


def play(folder: Path) -> None:
    """Load a bundle, print it, and play some steps with each of its users.

    Raises:
        HsrlError: if the bundle is refused.
        AssertionError: if it is not, but its users or observations are no good.
    """
    from hsrl_gym.bundle.folder import load_bundle

    load_bundle(folder)
    tampering().outcome(folder)


@st.composite
def remade(draw: Any, files: Files) -> Files:
    """Draw a bundle whose manifest has another value or one key less, once or twice."""
    from hsrl_gym.bundle.manifest import sealed

    manifest = yaml.safe_load(files[MANIFEST])
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        node, key = _chosen(draw, manifest)
        if isinstance(node, dict) and draw(st.integers(0, 4)) == 0:
            del node[key]
        else:
            node[key] = draw(VALUES)
    return {**files, MANIFEST: sealed(tampering().as_yaml(manifest))}


def _chosen(draw: Any, node: Any) -> tuple[Any, Any]:
    """Draw a place in a tree: a mapping or list, and a key of it."""
    while True:
        key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        inner = node[key]
        if not isinstance(inner, (dict, list)) or not inner or draw(st.integers(0, 3)) == 0:
            return node, key
        node = inner
