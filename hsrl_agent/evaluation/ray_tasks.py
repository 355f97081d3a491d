"""Runs on a Ray cluster: each one is a task, and the driver writes the results."""

from __future__ import annotations

import logging
import os
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Ray prints the deaths of nodes and processes, 20 lines each; `RayTasks` says them in one. It reads this when imported.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hsrl_agent.evaluation.provenance import code_digest
from hsrl_agent.evaluation.ray_worker import Order, do, other_code, packed
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.store import write_result
from hsrl_agent.evaluation.tasks import bundle_digest, bundle_folder
from hsrl_agent.evaluation.workers import SECONDS_TO_WAIT, Ended, Watcher, one_line
from hsrl_gym.errors import HsrlError

MOST_LOSSES = 3  # of one run; after one more it has failed, for it may be what kills the nodes
_LOST = (NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError)
_SECONDS_TO_CONNECT = 5.0
_SECONDS_TO_CHECK = 120.0  # a node, which imports torch first


@dataclass(frozen=True)
class _Try:
    order: Order
    files: ray.ObjectRef[Any]
    n_losses: int = 0


class RayTasks:
    """`Workers` of a Ray cluster. A run whose node or process dies is done again; a finished one never is.

    Args:
        jobs: runs at once, at most.
        watcher: is told how the runs go.
        out: folder of the results on this machine; None writes none.
        address: of the cluster, HOST:PORT; None for the one that this machine is a node of.
        cpus, gpus: what a run takes of a node.

    Raises:
        HsrlError: if there is no cluster, no node with room for a run, or a node with other code.
    """

    def __init__(
        self, jobs: int, watcher: Watcher, out: Path | None, address: str | None, cpus: float, gpus: float
    ) -> None:
        self.jobs, self.watcher, self.out, self.cpus, self.gpus = jobs, watcher, out, cpus, gpus
        self.n_tries = 0
        self.running: dict[ray.ObjectRef[Ended], _Try] = {}
        self.bundles: dict[str, ray.ObjectRef[Any]] = {}  # files by digest
        self.waits = False  # for a node with room
        # `_lost` tries again, not Ray: so it is said, and progress begins anew.
        self.task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(do)
        address = connect(address)
        try:
            rooms = self._rooms()
            if not any(rooms.values()):
                raise HsrlError(f"no node of the Ray cluster at {address} has {self._share()} for a run.")
            check_nodes([node for node, room in rooms.items() if room])
            here = on_node(ray.get_runtime_context().get_node_id())
            self.reports = Queue(actor_options={"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here})
        except BaseException:
            ray.shutdown()
            raise
        n_nodes, room = sum(room > 0 for room in rooms.values()), min(jobs, sum(rooms.values()))
        watcher.noted(
            f"Ray cluster at {address}: {n_nodes} node{'s' * (n_nodes > 1)}, {room} run{'s' * (room > 1)} at once."
        )

    def room(self) -> int:
        """See `Workers.room`; nodes may come and go."""
        room = sum(self._rooms().values())
        if not room and not self.waits:
            self.watcher.noted(f"no node of the Ray cluster has {self._share()} for a run any more; waiting for one.")
        self.waits = not room
        return max(1, min(self.jobs, room))

    def submit(self, spec: RunSpec, key: str | None) -> None:
        """See `Workers.submit`."""
        digest = bundle_digest(bundle_folder(spec.env, spec.bundle))
        if digest not in self.bundles:
            self.bundles[digest] = ray.put(packed(spec))
        self._start(_Try(Order(0, spec, key or spec.key(), code_digest()), self.bundles[digest]))

    def ended(self) -> list[Ended]:
        """See `Workers.ended`."""
        done, _ = ray.wait(list(self.running), timeout=SECONDS_TO_WAIT)
        self._tell_steps()
        ends = []
        for task in done:
            one = self.running.pop(task)
            try:
                ends.append(kept(ray.get(task), self.out))
            except _LOST as error:
                ends += self._lost(one, error)
            except RayError as error:
                cause = error.cause if isinstance(error, RayTaskError) else error
                ends.append(Ended(one.order.spec, message=one_line(cause), details=str(error)))
        return ends

    def stop(self) -> None:
        """See `Workers.stop`."""
        for task in self.running:
            ray.cancel(task, force=True)

    def close(self) -> None:
        """See `Workers.close`."""
        ray.shutdown()

    def _start(self, one: _Try) -> None:
        self.n_tries += 1
        one = replace(one, order=replace(one.order, number=self.n_tries))
        task = self.task.options(name=one.order.spec.name)
        self.running[task.remote(one.order, one.files, self.reports)] = one

    def _tell_steps(self) -> None:
        specs = {one.order.number: one.order.spec for one in self.running.values()}
        try:
            news = self.reports.get_nowait_batch(self.reports.size())
        except RayError:  # its process died, and Ray starts another
            return
        for number, steps in news:
            if number in specs:  # not of a try that was lost
                self.watcher.stepped(specs[number], steps)

    def _lost(self, one: _Try, error: RayError) -> list[Ended]:
        """Start a lost run again, or return its end if it was lost too often."""
        what, spec = "node" if isinstance(error, NodeDiedError) else "process", one.order.spec
        if one.n_losses == MOST_LOSSES:
            times = f", after {MOST_LOSSES} other losses of the run" * bool(MOST_LOSSES)
            return [Ended(spec, message=f"its {what} died{times}; did the machine run out of memory?")]
        self.watcher.stepped(spec, 0)
        self.watcher.noted(f"{spec.name}: its {what} died; it is done again.")
        self._start(replace(one, n_losses=one.n_losses + 1))
        return []

    def _rooms(self) -> dict[tuple[str, str], int]:
        """Return how many runs fit on each living node, by its id and its IP address."""
        return {
            (node["NodeID"], node["NodeManagerAddress"]): room_of(node["Resources"], self.cpus, self.gpus)
            for node in ray.nodes()
            if node["Alive"]
        }

    def _share(self) -> str:
        return f"{self.cpus:g} CPU{f' and {self.gpus:g} GPU' if self.gpus else ''}"


def kept(end: Ended, out: Path | None) -> Ended:
    """Write the result of a run, which its node cannot: the disk there may be another one."""
    if end.result is None or out is None:
        return end
    try:
        write_result(out, end.result)
    except (OSError, ValueError) as error:
        return Ended(end.spec, message=one_line(error), details=traceback.format_exc())
    return end


def room_of(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Return how many runs fit on a node. A share below 1 is of one GPU, never of parts of two."""
    room = fits(resources.get("CPU", 0.0), cpus)
    if gpus:
        n_gpus = int(resources.get("GPU", 0.0))
        room = min(room, n_gpus * fits(1.0, gpus) if gpus < 1.0 else fits(n_gpus, gpus))
    return room


def fits(whole: float, part: float) -> int:
    """Return how often `part` fits into `whole`."""
    return int(whole / part + 1e-6)


def on_node(node_id: str) -> NodeAffinitySchedulingStrategy:
    """Return the strategy of what is to be on that node and no other."""
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def connect(address: str | None) -> str:
    """Connect to a cluster, and return the address of its head node.

    Raises:
        HsrlError: if none is there.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isdecimal() and "/" not in host):
        raise HsrlError(f"got the Ray address {address!r}, expected HOST:PORT of the head node.")
    try:
        if host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), _SECONDS_TO_CONNECT).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        where = "on this machine" if address == "auto" else f"at {address}"
        raise HsrlError(
            f"no Ray cluster that can be joined {where} ({one_line(error)}); start one with `ray start --head`, and "
            "run this command on one of its nodes, with its RAY_AUTH_MODE."
        ) from error
    return str(ray.get_runtime_context().gcs_address)


def check_nodes(nodes: Sequence[tuple[str, str]]) -> None:
    """Refuse nodes, by their ids and IP addresses, on which a run would not be what it is here.

    Raises:
        HsrlError: with the first node and what is wrong with it.
    """
    task = ray.remote(num_cpus=0, max_retries=0)(_digest_there())
    answers = [task.options(scheduling_strategy=on_node(node)).remote() for node, _ in nodes]
    for (_, address), answer in zip(nodes, answers, strict=True):
        try:
            digest, complaint = ray.get(answer, timeout=_SECONDS_TO_CHECK)
        except TaskUnschedulableError:
            continue  # it has died since the nodes were listed, so no run can get there
        except RayError as error:
            raise HsrlError(f"node {address}: it does not answer ({one_line(error)}).") from error
        if complaint:
            raise HsrlError(f"node {address}: hsrl_agent cannot be imported there ({complaint}); install it.")
        if digest != code_digest():
            raise HsrlError(f"node {address}: {other_code(digest, code_digest())}")


def _digest_there() -> Callable[[], tuple[str, str]]:
    """Return a function that a node without hsrl_agent can run: Ray sends nested functions as they are."""

    def digest() -> tuple[str, str]:
        try:
            from hsrl_agent.evaluation.provenance import code_digest

            return code_digest(), ""
        except Exception as error:
            return "", f"{type(error).__name__}: {error}"

    return digest
