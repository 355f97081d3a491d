"""Total Reward by the learned and by the true user against the size of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsrl_agent.evaluation.report import notes
from hsrl_agent.evaluation.report.figures import draw_legend, new_figure, spread, tidy
from hsrl_agent.evaluation.report.grouping import Line, group
from hsrl_agent.evaluation.report.sheet import Sheet
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.report.text import thousands
from hsrl_agent.evaluation.result import RunResult, Score
from hsrl_agent.evaluation.statistics import Interval, interval
from hsrl_agent.evaluation.summary import REFERENCE
from hsrl_gym.errors import HsrlError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = "n_items"  # in a spec's `protocol_kwargs`
USERS: dict[str, Callable[[RunResult], Score | None]] = {
    "learned user": lambda result: result.score,
    "true user": lambda result: result.true_score,
}


@dataclass(frozen=True)
class SizeLine:
    """A method: Total Reward of each seed by one user, by the size of the catalog."""

    user: str
    line: Line
    rewards: dict[int, list[float]]

    def at(self, size: int) -> Interval | None:
        """Return the mean over seeds at a size."""
        return interval(self.rewards[size]) if size in self.rewards else None


def size_lines(results: Sequence[RunResult], user: str) -> list[SizeLine]:
    """Return the Total Reward of each method by a user of `USERS`, at each size. Methods without any are left out.

    Raises:
        HsrlError: for a run that does not say its size.
    """
    lines: dict[str, SizeLine] = {}
    for line in (line for own in group(results).values() for line in own):
        for run in line.runs:
            if SIZE not in run.spec.protocol_kwargs:
                raise HsrlError(f"got the run {run.spec.name!r} without {SIZE} in protocol_kwargs, expected a number.")
            score = USERS[user](run)
            if score is not None:
                rewards = lines.setdefault(line.name, SizeLine(user, line, {})).rewards
                rewards.setdefault(int(run.spec.protocol_kwargs[SIZE]), []).append(score.total_reward)
    return sorted(lines.values(), key=lambda one: one.line.method.rank)


def catalog_sheet(results: Sequence[RunResult]) -> Sheet:
    """Return a table for each user, a column for each size."""
    sizes = sorted({int(run.spec.protocol_kwargs.get(SIZE, 0)) for run in results})
    columns: list[Column[SizeLine]] = [
        Column("user", "User", lambda one: one.user, only_csv=True),
        Column("label", "Method", lambda one: one.line.label),
        *(_size_column(size) for size in sizes),
    ]
    tables = [
        Table(f"By the {user}", columns, lines, leading=lambda one: one.line.name == REFERENCE)
        for user in USERS
        if (lines := size_lines(results, user))
    ]
    first = next(iter(group(results).values()))
    about = notes.describe_task(first)
    below = [
        "Total Reward by the size of the catalog. Each size has its own population of users, so that sizes differ by "
        "more than size. Compare methods within a column.",
        *about[1:],
        *notes.general(results, chance=False),
    ]
    below[1:1] = ["**Synthetic data, no real user.**"] if all(map(notes.is_synthetic, results)) else []
    return Sheet("Total Reward against the size of the catalog", notes.code_state(results), tables, notes=below)


def _size_column(size: int) -> Column[SizeLine]:
    return Column(f"items_{size}", f"{size:,} items [95%]", lambda one: one.at(size))


def catalog_figure(results: Sequence[RunResult]) -> Figure:
    """Return a line a method over sizes on a logarithmic axis, a panel for each user."""
    panels = {user: lines for user in USERS if (lines := size_lines(results, user))}
    figure = new_figure(5.0 * len(panels), 4.8)
    handles = {}
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (user, lines) in zip(grid, panels.items(), strict=True):
        for one in lines:
            sizes = sorted(one.rewards)
            mean, low, high = spread(one.rewards[size] for size in sizes)
            look = one.line.look
            (handle,) = axes.plot(sizes, mean, color=look.colour, marker=look.marker, linewidth=1.6)
            axes.fill_between(sizes, low, high, color=look.colour, alpha=0.12, linewidth=0)
            handles[one.line.label] = handle
        ticks = sorted({size for one in lines for size in one.rewards})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [thousands(size) for size in ticks])
        axes.minorticks_off()
        axes.set_title(f"by the {user}")
        axes.set_xlabel("items in the catalog")
        axes.set_ylabel("Total Reward" if user == next(iter(panels)) else "")
        tidy(axes)
    draw_legend(figure, handles)
    return figure
