"""What is done on a node of a Ray cluster: one run, whose result goes back to the driver."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.queue import Queue

from hsrl_agent.evaluation.provenance import code_digest
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.tasks import bundle_folder
from hsrl_agent.evaluation.workers import Ended, Reporter, one_line
from hsrl_gym.bundle.folder import read_manifest
from hsrl_gym.errors import HsrlError

Files = Mapping[str, bytes]  # of a bundle's folder, by name


@dataclass(frozen=True)
class Order:
    """A run that a node is to do.

    Attributes:
        number: of the try, for its reports.
        spec: what to run; its bundle is a folder of the driver.
        key: of the spec, by the driver.
        code: `code_digest` of the driver.
    """

    number: int
    spec: RunSpec
    key: str
    code: str


def do(order: Order, files: Files, reports: Queue) -> Ended:
    """Run, as a task of Ray.

    Args:
        order: the run.
        files: of its bundle.
        reports: takes the number of the try and the user-steps that it has learned from.
    """
    from hsrl_agent.evaluation.run import run

    put: Any = reports.actor.put_nowait  # `reports.put_nowait` would wait for the actor
    try:
        with unpacked(files) as folder:
            spec = replace(order.spec, bundle=folder)
            _check_node(spec, order)
            result = run(spec, Reporter(lambda steps: put.remote((order.number, steps))), order.key)
        return Ended(order.spec, replace(result, spec=order.spec))
    except Exception as error:
        return Ended(order.spec, message=one_line(error), details=traceback.format_exc())


def _check_node(spec: RunSpec, order: Order) -> None:
    """Refuse a run that would be another one here than on the driver.

    Raises:
        HsrlError: with the node.
    """
    node = f"node {ray.util.get_node_ip_address()}"
    try:
        if code_digest() != order.code:
            raise HsrlError(other_code(code_digest(), order.code))
        if spec.key() != order.key:
            raise HsrlError(
                f"the bundle, or the file of {order.spec.method} or its protocol, is another one here than where the "
                "run was planned; copy the file to each node, and run again."
            )
    except HsrlError as error:
        raise HsrlError(f"{node}: {error}") from error


def other_code(there: str, here: str) -> str:
    """Return what to say of a node whose code is `there` while that of the driver is `here`."""
    return (
        f"its code of hsrl_gym and hsrl_agent is another version ({there}, expected {here}); install the same one on "
        "each node."
    )


def packed(spec: RunSpec) -> Files:
    """Return the files of a spec's bundle."""
    folder = bundle_folder(spec.env, spec.bundle)
    names = {Path(name).name for name in read_manifest(folder)["files"]}  # never a path out of the folder
    return {name: (folder / name).read_bytes() for name in ("bundle.yaml", *sorted(names))}


@contextmanager
def unpacked(files: Files) -> Iterator[str]:
    """Let the files stand in a folder of their own in the block."""
    with tempfile.TemporaryDirectory(prefix="hsrl-bundle-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        yield folder
