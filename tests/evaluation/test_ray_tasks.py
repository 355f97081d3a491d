"""Runs on a real Ray cluster of this machine: a node that is killed, errors, refusals, Ctrl-C, tuning."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pool_runs import Listener, rows, standing_in

pytest.importorskip("ray")

from ray.cluster_utils import Cluster
from ray.exceptions import WorkerCrashedError

from hsrl_agent.evaluation import ray_tasks
from hsrl_agent.evaluation.backend import RAY, Backend
from hsrl_agent.evaluation.pool import run_all
from hsrl_agent.evaluation.provenance import code_digest
from hsrl_agent.evaluation.ray_tasks import MOST_LOSSES, RayTasks, _Try, kept
from hsrl_agent.evaluation.ray_worker import Order, do, packed
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.workers import Ended
from hsrl_gym.errors import HsrlError

ROOT = Path(__file__).parents[2]
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100_000_000}
AGENTS = """
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def node():
    ray = sys.modules.get("ray")
    return ray.get_runtime_context().get_node_id() if ray is not None and ray.is_initialized() else "no node"


class Fine:
    action_mode = "item"
    def __init__(self, env, seed=0): self.env, self.seed = env, seed
    def learn(self, total_timesteps): ...
    def predict(self, observation, deterministic=True): return [[0, 1, 2, 3]] * len(observation["profile"])


class Stays(Fine):
    # Acts until its node is no longer the doomed one, or is killed.
    def learn(self, total_timesteps):
        (HERE / f"try-{self.seed}-{node()}-{os.getpid()}").touch()
        doomed = HERE / "doomed"
        self.env.reset()
        while doomed.exists() and doomed.read_text() == node():
            self.env.step([[0, 1, 2, 3]] * 8)
            time.sleep(0.1)


class Fails(Fine):
    def learn(self, total_timesteps): raise RuntimeError("out\\nof luck")


class Endless(Fine):
    def learn(self, total_timesteps):
        (HERE / "endless").write_text(str(os.getpid()))
        while True: ...
"""


QUEUE: Any = SimpleNamespace(actor=SimpleNamespace(put_nowait=SimpleNamespace(remote=lambda item: None)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory, with agents in it, of the driver and the nodes."""
    with standing_in(tmp_path_factory.mktemp("ray"), "agents_on_nodes", AGENTS) as path:
        yield path


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    """A head node with one CPU, which reports nothing to anybody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        yield made
        made.shutdown()


@pytest.fixture
def on_ray(cluster: Cluster) -> Backend:
    return Backend(RAY, cluster.address)


@pytest.fixture
def small(spec: RunSpec) -> RunSpec:
    return replace(spec, method="random", steps=64, settings={})


class Killer(Listener):
    """Kills a node as soon as one run has ended and another is in the middle on that node."""

    def __init__(self, folder: Path, cluster: Cluster, node: Any) -> None:
        super().__init__()
        self.folder, self.cluster, self.node = folder, cluster, node
        self.n_steps = 0  # of the run in the middle

    def stepped(self, spec: RunSpec, steps: int) -> None:
        began = list(self.folder.glob(f"try-{spec.train_seed}-{self.node.node_id}-*"))
        if self.n_steps == 0 and steps > 0 and began and any(what == "ended" for what, _ in self.told):
            self.n_steps = steps
            self.cluster.remove_node(self.node, allow_graceful=False)


@pytest.mark.slow
def test_the_run_of_a_killed_node_is_done_again(
    folder: Path, cluster: Cluster, on_ray: Backend, small: RunSpec, tmp_path: Path
) -> None:
    """The rows are those of processes of this machine, and what was finished before is done once."""
    stays = [replace(small, method="agents_on_nodes:Stays", seed=seed) for seed in (0, 1)]
    specs = [*stays, small, replace(small, method="popularity")]
    node = cluster.add_node(**NODE)
    (folder / "doomed").write_text(node.node_id)
    watcher = Killer(folder, cluster, node)
    ends = run_all(specs, 4, watcher, tmp_path / "ray", on_ray)
    assert [end.message for end in ends] == [""] * 4
    assert watcher.n_steps > 0
    notes = [text for what, text in watcher.told if what == "noted"]
    assert notes[0] == f"Ray cluster at {cluster.address}: 2 nodes, 2 runs at once."
    assert len(notes) == 2
    lost = next(spec for spec in stays if notes[1] == f"{spec.name}: its node died; it is done again.")
    tries = [path.name.split("-")[1] for path in folder.glob("try-*")]
    assert [tries.count(str(spec.train_seed)) for spec in stays] == [1 + (spec is lost) for spec in stays]
    assert sorted(text for what, text in watcher.told if what == "ended") == sorted(spec.name for spec in specs)
    run_all(specs, 1, Listener(), tmp_path / "local")
    there, here = list(rows(tmp_path / "ray")), list(rows(tmp_path / "local"))
    assert len(there) == 4
    assert there == here


def test_errors_are_one_line(folder: Path, small: RunSpec, tmp_path: Path) -> None:
    """Of the run, of the driver's disk, and of a run that kills its process again and again."""
    fails, fine = (replace(small, method=f"agents_on_nodes:{name}") for name in ("Fails", "Fine"))
    failed, ended = (do(Order(1, one, one.key(), code_digest()), packed(one), QUEUE) for one in (fails, fine))
    assert failed.message == "RuntimeError: out of luck"
    assert "in learn" in failed.details
    assert ended.result is not None
    (tmp_path / "runs").write_text("no folder")
    assert kept(ended, tmp_path).message.startswith("FileExistsError: ")
    assert kept(ended, tmp_path / "out") is ended
    order = Order(1, small, small.key(), code_digest())
    (lost,) = object.__new__(RayTasks)._lost(_Try(order, None, MOST_LOSSES), WorkerCrashedError())
    assert lost.message == "its process died, after 3 other losses of the run; did the machine run out of memory?"


@pytest.mark.slow
def test_a_cluster_that_cannot_do_the_runs_is_refused(
    cluster: Cluster, on_ray: Backend, small: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Listener()
    with pytest.raises(HsrlError, match=r"^no node of the Ray cluster at \S+ has 2 CPU and 0\.5 GPU for a run\.$"):
        run_all([small], 1, watcher, None, replace(on_ray, cpus=2.0, gpus=0.5))
    digest = code_digest()
    monkeypatch.setattr(ray_tasks, "code_digest", lambda: "0123456789ab")
    expected = rf"^node [\d.]+: its code of hsrl_gym and hsrl_agent is another version \({digest}, expected 012345"
    with pytest.raises(HsrlError, match=expected):
        run_all([small], 1, watcher, None, on_ray)
    assert watcher.told == []


def test_a_node_refuses_what_would_be_another_run(small: RunSpec) -> None:
    """It joined later, and has other code or other files."""
    files, key = packed(small), small.key()

    def said(order: Order) -> Ended:
        return do(order, files, QUEUE)

    other_code = said(Order(1, small, key, "0123456789ab"))
    assert other_code.result is None
    assert "its code of hsrl_gym and hsrl_agent is another version" in other_code.message
    assert other_code.message.startswith("node ")
    other_files = said(Order(1, small, "another key", code_digest()))
    assert other_files.message.startswith("node ")
    assert "the bundle, or the file of random or its protocol, is another one here" in other_files.message
    no_agent = said(Order(1, replace(small, method="nowhere_at_all:Agent"), key, code_digest()))
    assert ": agent 'nowhere_at_all:Agent': no module 'nowhere_at_all' in " in no_agent.message


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "room"),
    [
        ({"CPU": 4.0}, 1.0, 0.0, 4),
        ({"CPU": 4.0}, 0.1, 0.0, 40),
        ({"CPU": 3.0}, 2.0, 0.0, 1),
        ({"CPU": 16.0, "GPU": 2.0}, 1.0, 0.25, 8),
        ({"CPU": 16.0, "GPU": 2.0}, 1.0, 0.6, 2),  # not 3: a run has its share of one GPU
        ({"CPU": 16.0, "GPU": 5.0}, 1.0, 2.0, 2),
        ({"CPU": 3.0, "GPU": 2.0}, 1.0, 0.25, 3),
        ({"CPU": 16.0}, 1.0, 0.25, 0),
        ({}, 1.0, 0.0, 0),
    ],
)
def test_room_of_a_node(resources: dict[str, float], cpus: float, gpus: float, room: int) -> None:
    assert ray_tasks.room_of(resources, cpus, gpus) == room


def test_room_of_a_cluster_whose_nodes_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that no node has room for waits for one, which is said once."""
    workers, watcher = object.__new__(RayTasks), Listener()
    workers.jobs, workers.cpus, workers.gpus, workers.watcher, workers.waits = 4, 1.0, 0.0, watcher, False
    nodes: list[dict[str, Any]] = []
    monkeypatch.setattr(ray_tasks.ray, "nodes", lambda: nodes)
    assert [workers.room(), workers.room()] == [1, 1]
    assert watcher.told == [("noted", "no node of the Ray cluster has 1 CPU for a run any more; waiting for one.")]
    for name, alive in (("a", True), ("b", True), ("c", False)):
        nodes.append({"NodeID": name, "NodeManagerAddress": name, "Alive": alive, "Resources": {"CPU": 1.0}})
    assert workers.room() == 2
    nodes.extend(nodes * 2)
    nodes[3:] = [{**node, "NodeID": str(number)} for number, node in enumerate(nodes[3:])]
    assert workers.room() == 4  # the jobs


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("somewhere", "^got the Ray address 'somewhere', expected HOST:PORT of the head node"),
        ("ray://127.0.0.1:10001", "got the Ray address 'ray://127.0.0.1:10001', expected HOST:PORT"),
        ("127.0.0.1:1", "no Ray cluster that can be joined at 127.0.0.1:1 .*; start one with `ray start --head`, and"),
        ("127.0.0.1:port", "^got the Ray address '127.0.0.1:port', expected HOST:PORT"),
        ("127.0.0.1:99999", "no Ray cluster that can be joined at 127.0.0.1:99999 "),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(address: str, message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        ray_tasks.connect(address)


@pytest.mark.slow
def test_ctrl_c_ends_the_tasks_and_keeps_what_is_finished(
    cluster: Cluster, folder: Path, tiny_bundle_folder: Path
) -> None:
    options = {"envs": "HSRL-RL4RS-v0", "bundle": f"HSRL-RL4RS-v0={tiny_bundle_folder}", "methods": "random"}
    options |= {"agent": "agents_on_nodes:Endless", "seeds": "0", "steps": "32", "n-envs": "8", "episodes": "20"}
    options |= {"out": "out", "backend": "ray", "ray-address": cluster.address}
    process = subprocess.Popen(
        [sys.executable, "-m", "hsrl_agent.evaluation.cli", "compare", *(f"--{k}={v}" for k, v in options.items())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    began = folder / "endless"
    try:
        end = time.monotonic() + 240
        runs = folder / "out" / "runs"
        while not (began.exists() and any(runs.glob("*"))) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "[1/2] RL4RS tiny random seed 0: Total Reward" in output
    assert errors == (
        "hsrl-agent compare: interrupted; 1 of 2 runs are finished and kept in out/runs, the same command goes on from "
        "here.\n"
    )
    assert len(list((folder / "out" / "runs").iterdir())) == 1
    task, end = int(began.read_text()), time.monotonic() + 10
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.kill(task, 0)
            time.sleep(0.05)
        raise AssertionError("the task has outlived the comparison")


@pytest.mark.slow
def test_tuning_on_the_same_cluster(cluster: Cluster, folder: Path, tiny_bundle_folder: Path) -> None:
    (folder / "search.yaml").write_text("a2c:\n  learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}\n")
    options = {"env": "HSRL-RL4RS-v0", "bundle": tiny_bundle_folder, "trials": 1, "steps": 64, "seeds": 100}
    options |= {"episodes": 10, "n-envs": 4, "search": "search.yaml", "journal": "journal"}
    options |= {"backend": "ray", "ray-address": cluster.address}
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "tune.py", *(f"--{name}={value}" for name, value in options.items())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 methods, 1 trials each, 1 seeds each, 64 user-steps, a Ray cluster." in done.stdout
    assert "[a2c 1/1] Total Reward" in done.stdout
