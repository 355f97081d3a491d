"""Runs on real processes: the same results on any number of them, and specs that are decided as results come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pool_runs import Listener, rows

from hsrl_agent.evaluation.pool import run_all
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.workers import Ended


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_rows(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where torch would take as many threads as there are cores."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    specs = [replace(spec, seed=seed, settings={"pretrain_epochs": 1}) for seed in (0, 1)]
    for jobs in (1, 2):
        ends = run_all(specs, jobs, Listener(), tmp_path / str(jobs))
        assert [end.message for end in ends] == [""] * 2
    one, two = list(rows(tmp_path / "1")), list(rows(tmp_path / "2"))
    assert len(one) == 2
    assert one == two


def test_specs_are_decided_as_results_come(spec: RunSpec, tmp_path: Path) -> None:
    """The second run depends on the first one's result; the third waits for the second."""
    waiting = [replace(spec, method="random", seed=seed, settings={}) for seed in (0, 1, 2)]
    ended: list[str] = []
    asked_while_running = 0

    class Decider(Listener):
        def ended(self, end: Ended) -> None:
            super().ended(end)
            assert end.result is not None
            ended.append(end.spec.name)

    def next_spec() -> RunSpec | None:
        nonlocal asked_while_running
        n_started = sum(what == "started" for what, _ in watcher.told)
        if n_started > len(ended):
            asked_while_running += 1
            return None  # nothing to do until the running one has ended
        return waiting[n_started] if n_started < len(waiting) else None

    watcher = Decider()
    ends = run_all(next_spec, 2, watcher)
    assert [end.spec.seed for end in ends] == [0, 1, 2]
    assert [what for what, _ in watcher.told] == ["started", "ended"] * 3
    assert asked_while_running >= 3
    assert not list(tmp_path.iterdir())  # without `out` nothing is written


def test_no_specs_are_no_processes() -> None:
    assert run_all([], 2, Listener()) == []
