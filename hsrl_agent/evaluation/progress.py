"""How the runs go, for people: bars in a terminal, one line per ended run in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.workers import Ended


class LineDisplay:
    """One line as each run ends, without control characters."""

    def __init__(self, console: Console, n_runs: int) -> None:
        self.console, self.n_runs, self.n_ended = console, n_runs, 0

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, spec: RunSpec) -> None:
        """See `Watcher.started`."""

    def stepped(self, spec: RunSpec, steps: int) -> None:
        """See `Watcher.stepped`."""

    def ended(self, end: Ended) -> None:
        """See `Watcher.ended`."""
        self.n_ended += 1
        text = in_short(end.result) if end.result is not None else f"FAILED: {end.message}"
        line = f"[{self.n_ended}/{self.n_runs}] {end.spec.name}: {text}"
        style = None if end.result is not None else "red"
        self.console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def noted(self, line: str) -> None:
        """See `Watcher.noted`."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class BarDisplay(LineDisplay):
    """The lines above one bar for all runs, with the time left, and one for each that is running."""

    def __init__(self, console: Console, costs: dict[str, float]) -> None:
        super().__init__(console, len(costs))
        self.costs = costs  # by name of a run
        self.total, self.done = sum(costs.values()), 0.0
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self.overall = self.bars.add_task(f"0 of {len(costs)} runs", total=self.total, note="")
        self.tasks: dict[str, TaskID] = {}
        self.first: dict[str, tuple[float, int]] = {}  # when a run first reported steps, and how far it was
        self.share: dict[str, float] = {}
        self.began = time.monotonic()

    def __enter__(self) -> BarDisplay:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def started(self, spec: RunSpec) -> None:
        """See `Watcher.started`."""
        self.tasks[spec.name] = self.bars.add_task(f"  {spec.name}", total=spec.steps, note="starting")

    def stepped(self, spec: RunSpec, steps: int) -> None:
        """See `Watcher.stepped`."""
        now = time.monotonic()
        # A run reports 0 before it pretrains, which is no part of its pace.
        began, at = self.first.setdefault(spec.name, (now, steps)) if steps else (now, 0)
        note = f"{(steps - at) / (now - began):,.0f} user-steps/s" if steps > at and now > began else "learning"
        if steps >= spec.steps:
            note = "scoring"
        self.bars.update(self.tasks[spec.name], completed=min(steps, spec.steps), note=note)
        self.share[spec.name] = min(steps / spec.steps, 1.0) * self.costs[spec.name]
        self._refresh()

    def ended(self, end: Ended) -> None:
        """See `Watcher.ended`."""
        super().ended(end)
        self.bars.remove_task(self.tasks.pop(end.spec.name))
        self.share.pop(end.spec.name, None)
        self.done += self.costs[end.spec.name]
        self._refresh()

    def _refresh(self) -> None:
        done = self.done + sum(self.share.values())
        elapsed = time.monotonic() - self.began
        left = f", about {clock(elapsed * (self.total - done) / done)} left" if done > 0.02 * self.total else ""
        self.bars.update(
            self.overall,
            completed=done,
            description=f"{self.n_ended} of {self.n_runs} runs",
            note=f"{clock(elapsed)}{left}",
        )


def in_short(result: RunResult) -> str:
    """Return a result in a few words."""
    score, seconds = result.score, result.train_seconds + result.eval_seconds
    speed = pace(result) if result.learns_online else None
    said = f", {speed:,.0f} user-steps/s" if speed is not None and speed >= 1.0 else ""
    return f"Total Reward {score.total_reward:.2f}, Depth {score.depth:.2f} ({seconds:.0f} s{said})"


def pace(result: RunResult) -> float | None:
    """Return the user-steps a second between the first and the last point of the learning curve, None without two.

    What comes before the first step, as pretraining does, is no part of it.
    """
    if len(result.curve) < 2:
        return None
    first, last = result.curve[0], result.curve[-1]
    seconds = last.seconds - first.seconds
    return (last.steps - first.steps) / seconds if seconds > 0 else None


def clock(seconds: float) -> str:
    """Return m:ss, or h:mm:ss."""
    whole = round(seconds)
    hours = f"{whole // 3600}:{whole % 3600 // 60:02d}" if whole >= 3600 else f"{whole // 60}"
    return f"{hours}:{whole % 60:02d}"


def make_display(console: Console, costs: dict[str, float]) -> LineDisplay:
    """Return bars for a terminal, lines for anything else."""
    if console.is_terminal and not console.is_dumb_terminal:
        return BarDisplay(console, costs)
    return LineDisplay(console, len(costs))
