"""Where runs are done, as the options say, and without Ray."""

from __future__ import annotations

import sys

import pytest

from hsrl_agent.evaluation import backend, cli
from hsrl_agent.evaluation.backend import ON_THIS_MACHINE, Backend
from hsrl_agent.evaluation.options import Parser
from hsrl_gym.errors import HsrlError

NO_RAY = "--backend ray needs Ray; install it with: pip install 'hsrl-gym[ray]'."


def chosen(*arguments: str) -> Backend:
    parser = Parser()
    backend.add_arguments(parser)
    return backend.chosen(parser.parse_args(arguments))


@pytest.fixture
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)


@pytest.mark.usefixtures("_no_ray")
def test_processes_of_this_machine_need_no_ray() -> None:
    assert chosen() is ON_THIS_MACHINE
    assert [ON_THIS_MACHINE.jobs(asked, 5) for asked in (3, 9)] == [3, 5]
    assert ON_THIS_MACHINE.jobs(None, 10_000) == backend.n_cores()
    assert [ON_THIS_MACHINE.place(jobs) for jobs in (1, 2)] == ["1 process", "2 processes"]


@pytest.mark.usefixtures("_no_ray")
def test_without_ray_one_line_says_how_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "--backend=ray", "--methods=random"]) == 2
    got = capsys.readouterr()
    assert (got.out, got.err) == ("", f"hsrl-agent compare: {NO_RAY}\n")


def test_shares_of_a_run() -> None:
    pytest.importorskip("ray")
    assert chosen("--backend=ray") == Backend("ray", None, 1.0, 0.0)
    assert chosen("--backend=ray", "--device=cuda").gpus == 0.25  # this machine needs no GPU
    given = chosen("--backend=ray", "--ray-address=head:6379", "--cpus-per-run=4", "--gpus-per-run=.5")
    assert given == Backend("ray", "head:6379", 4.0, 0.5)
    assert [given.jobs(asked, 7) for asked in (None, 3)] == [7, 3]  # the cluster's room is the limit
    assert given.place(7) == "a Ray cluster"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--ray-address=head:6379", "got --ray-address without --backend ray; add that or leave it out."),
        ("--gpus-per-run=1", "got --gpus-per-run without --backend ray"),
        ("--device=cuda:99", "got the device 'cuda:99', but torch sees"),
        ("--backend=ray --device=cuda:1", "got --device cuda:1 with --backend ray, which chooses the GPU itself"),
        ("--backend=ray --cpus-per-run=0", "got 0, expected a number above 0, and a whole one above 1"),
        ("--backend=ray --gpus-per-run=1.5", "got 1.5, expected a number above 0"),
        ("--backend=ray --gpus-per-run=half", "got half, expected"),
        ("--backend=slurm", "invalid choice: 'slurm'"),
    ],
)
def test_refuses_what_does_not_go_together(arguments: str, message: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(HsrlError, match=message):
        chosen(*arguments.split())
