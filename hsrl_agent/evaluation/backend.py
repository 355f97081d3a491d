"""Where runs are done, as the command line says: on processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hsrl_agent.evaluation import options
from hsrl_agent.evaluation.processes import Processes, n_cores
from hsrl_agent.evaluation.workers import Watcher, Workers
from hsrl_gym.errors import HsrlError, open_device

LOCAL, RAY = "local", "ray"
_OF_RAY = ("ray_address", "cpus_per_run", "gpus_per_run")
_GPU_SHARE = 0.25  # of a run with --device cuda: its networks are small


@dataclass(frozen=True)
class Backend:
    """What does the runs.

    Attributes:
        name: "local" or "ray".
        address: of the Ray cluster; None for the one that this machine is a node of.
        cpus, gpus: what a run takes of a node of the cluster.
    """

    name: str = LOCAL
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0

    def jobs(self, asked: int | None, n_runs: int) -> int:
        """Return how many runs may go on at once; on a cluster its nodes limit them further.

        Args:
            asked: by --jobs.
            n_runs: that there are to do.
        """
        return min(asked or (n_cores() if self.name == LOCAL else n_runs), n_runs)

    def place(self, jobs: int) -> str:
        """Return in words where that many runs go on at once."""
        return f"{jobs} process{'es' * (jobs > 1)}" if self.name == LOCAL else "a Ray cluster"

    def open(self, jobs: int, watcher: Watcher, out: Path | None) -> Workers:
        """Return what does the runs.

        Raises:
            HsrlError: if the Ray cluster is not there, or a node of it cannot do the runs.
        """
        if self.name == LOCAL:
            return Processes(jobs, watcher, out)
        from hsrl_agent.evaluation.ray_tasks import RayTasks

        return RayTasks(jobs, watcher, out, self.address, self.cpus, self.gpus)


ON_THIS_MACHINE = Backend()


def add_arguments(parser: argparse.ArgumentParser, per: str = "") -> None:
    """Add the options that say where runs are done; `per` says more of --jobs."""
    add = parser.add_argument_group("where the runs are done").add_argument
    add(
        "--jobs",
        type=options.whole_number,
        metavar="N",
        help=f"runs at once{per} (as many as there are cores; with --backend ray, as the cluster has room for)",
    )
    add("--device", default="cpu", type=options.device, help="cpu, cuda or cuda:N (cpu)")
    add(
        "--backend",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="local: processes of this machine; ray: a Ray cluster (local)",
    )
    add("--ray-address", metavar="HOST:PORT", help="of its head node (that of the cluster this machine is a node of)")
    add("--cpus-per-run", type=options.share, metavar="N", help="CPUs that a run takes of a node (1)")
    add(
        "--gpus-per-run",
        type=options.share,
        metavar="N",
        help=f"GPUs that a run takes of a node, for instance 0.5 (none; {_GPU_SHARE} with --device cuda)",
    )


def chosen(given: argparse.Namespace) -> Backend:
    """Return what the options of `add_arguments` ask for.

    Raises:
        HsrlError: for options that do not go together, a device that this machine lacks, or Ray if it is not installed.
    """
    if given.backend == LOCAL:
        for name in _OF_RAY:
            if getattr(given, name) is not None:
                raise HsrlError(f"got --{name.replace('_', '-')} without --backend ray; add that or leave it out.")
        open_device(given.device)
        return ON_THIS_MACHINE
    if find_spec("ray") is None:
        raise HsrlError("--backend ray needs Ray; install it with: pip install 'hsrl-gym[ray]'.")
    if given.device.startswith("cuda:"):
        raise HsrlError(f"got --device {given.device} with --backend ray, which chooses the GPU itself; use cuda.")
    gpus = given.gpus_per_run or (_GPU_SHARE if given.device == "cuda" else 0.0)
    return Backend(RAY, given.ray_address, given.cpus_per_run or 1.0, gpus)
