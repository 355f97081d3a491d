"""The commands that are killed: how each is called, what it makes, and what would be half-written."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDINGS = {".md": b"\n", ".csv": b"\n", ".html": b"</html>", ".png": b"IEND\xaeB`\x82"}  # of whole files
TIMED = ("train_seconds", "eval_seconds", "provenance")  # entries of a result that differ from run to run


@dataclass(frozen=True)
class Command:
    """A command that is killed.

    Attributes:
        name: in the report.
        arguments: of the interpreter, for an output folder.
        result: what it has made, by name, without what differs from run to run.
        complaints: lines about output that is neither whole nor absent.
        old: writes an earlier output into the folder; None if there is none.
    """

    name: str
    arguments: Callable[[Path], Sequence[str]]
    result: Callable[[Path], Mapping[str, bytes]]
    complaints: Callable[[Path], list[str]]
    old: Callable[[Path], None] | None = None


def comparison(bundle: Path) -> Command:
    """Return `hsrl-agent compare` on a small bundle."""
    options = ["--methods=random,hsrl-scratch", "--seeds=0,1", "--steps=64", "--n-envs=8"]
    options += ["--episodes=10", "--checkpoints=1", "--jobs=2", "--settings=none", f"--bundle={bundle}"]

    def arguments(out: Path) -> list[str]:
        return ["-m", "hsrl_agent.evaluation.cli", "compare", *options, f"--out={out}"]

    return Command("compare", arguments, tables_in, broken_results)


def tables_in(out: Path) -> dict[str, bytes]:
    """Return the tables in a folder and the results, by name, without times and the state of the code."""
    found = {}
    for path in out.glob("*.md"):
        lines = path.read_bytes().splitlines()
        found[path.name] = b"\n".join(line for line in lines if not line.startswith(b"Code: "))
    for path in out.glob("*.csv"):
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        found[path.name] = json.dumps([untimed(row) for row in rows]).encode()
    results = out / "results.jsonl"
    written = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return {**found, "results": json.dumps([untimed(json.loads(row)) for row in written]).encode()}


def untimed(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result without its times; the second number of each point of its curve is one, too."""
    kept = {name: value for name, value in result.items() if name not in TIMED}
    if "curve" in kept:
        kept["curve"] = [[point[0], *point[2:]] for point in kept["curve"]]
    return kept


def broken_results(out: Path) -> list[str]:
    """Return a line for each file of results or tables that is not whole."""
    lines = []
    for path in (*out.glob("runs/*.json"), *out.glob("results.jsonl")):
        try:
            text = path.read_text(encoding="utf-8")
            for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
                json.loads(part)
        except ValueError as error:
            lines.append(f"{path.name} is half-written ({error})")
    for path in (path for path in out.glob("*") if path.suffix in ENDINGS):
        if not path.read_bytes().endswith(ENDINGS[path.suffix]):
            lines.append(f"{path.name} is half-written")
    return lines


def building(old: Path) -> Command:
    """Return `hsrl-gym build` of a small bundle; every second one is to replace the bundle `old`."""
    options = ["--shape=ml1m-60", "--slates=300", "--levels=2", "--vocab=8", "--pool=40", "--epochs=1", "--name=built"]

    def arguments(out: Path) -> list[str]:
        return ["-m", "hsrl_gym.cli", "build", "synthetic", *options, "--force", f"--out={out / 'bundle'}"]

    def begin(out: Path) -> None:
        shutil.copytree(old, out / "bundle")

    return Command("build", arguments, bundle_in, broken_bundle, begin)


def bundle_in(out: Path) -> dict[str, bytes]:
    """Return all that a build has left in its folder, by name."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def broken_bundle(out: Path) -> list[str]:
    """Return a line if the bundle is there but not whole, or if an old one was lost."""
    from hsrl_gym.bundle.folder import load_bundle
    from hsrl_gym.errors import HsrlError

    folder = out / "bundle"
    if not folder.exists():
        had_one = out.exists() and int(out.name) % 2
        kept = list(out.glob(".bundle*/**/bundle.yaml"))
        return ["the old bundle is lost"] if had_one and not kept else []
    try:
        load_bundle(folder)
    except HsrlError as error:
        return [f"the bundle is half-written ({error})"]
    return []
