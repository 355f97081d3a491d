"""The churn figure: Total Reward over days that each replace a part of the catalog, and the area under the curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsrl_agent.evaluation.churn import REWARD, SHARE, TRUE_REWARD, entry
from hsrl_agent.evaluation.churn_days import day_stage
from hsrl_agent.evaluation.report import churn_notes, notes
from hsrl_agent.evaluation.report.churn import churn_lines
from hsrl_agent.evaluation.report.figures import End, band_name, name_ends, new_figure, spread, tidy
from hsrl_agent.evaluation.report.grouping import ORACLE, Line
from hsrl_agent.evaluation.report.sheet import Sheet
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.statistics import Interval, interval
from hsrl_agent.evaluation.summary import REFERENCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_WIDTH, _HEIGHT, _AXES = 7.2, 5.4, 4.4  # of a panel with its names, of the figure, of the axes; inches
_LOOKS = {False: ":", True: "-"}  # without onboarding, with it
_HOW = (
    "A day is {every} steps of {n_envs} users. It begins with a change: {percent:.0f}% of the live items retire, and "
    "as many come that were held back ({held_back:.0f}% of all). At its end the greedy policy is scored in the catalog "
    "of the day. Day 0 is the end of {steps} user-steps of learning in a still catalog.",
    "The curve shows that greedy policy on fresh users, after the day's learning and without explored slots; what "
    "users got during the day is not in it.",
    "The area under a curve is its mean over the days, day 0 left out. New are all items that were held back at first.",
    "Methods that learn from the log alone stay as they are; with onboarding they act all day, and items become known.",
)


@dataclass(frozen=True)
class DayLine:
    """A method, with or without onboarding, and HSRL under the same terms; None for HSRL itself."""

    line: Line
    reference: Line | None

    def area(self, what: str = REWARD) -> Interval | None:
        """Return the mean of a number over days and seeds."""
        values = list(areas(self.line, what).values())
        return interval(values) if values else None

    def lead(self) -> Interval | None:
        """Return HSRL's area minus that of the method, seed by seed."""
        if self.reference is None:
            return None
        ours, theirs = areas(self.reference), areas(self.line)
        gaps = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
        return interval(gaps) if gaps else None


def n_days(run: RunResult) -> int:
    """Return how many days a run had after day 0."""
    return int(run.spec.protocol_kwargs["n_days"])


def areas(line: Line, what: str = REWARD) -> dict[int, float]:
    """Return the mean of a number over the days of each seed, for the seeds that have it."""
    names = {run.spec.seed: [entry(day_stage(day), what) for day in range(1, n_days(run) + 1)] for run in line.runs}
    return {
        run.spec.seed: float(np.mean([run.extra[name] for name in names[run.spec.seed]]))
        for run in line.runs
        if all(name in run.extra for name in names[run.spec.seed])
    }


def day_lines(lines: Sequence[Line]) -> list[DayLine]:
    """Return the lines of a task, each beside HSRL with onboarding if it has that, else beside HSRL without."""
    hsrl = {churn_notes.is_onboarded(line): line for line in lines if line.method.name == REFERENCE}
    found = []
    for line in lines:
        is_hsrl = line.method.name == REFERENCE
        found.append(DayLine(line, None if is_hsrl else hsrl.get(churn_notes.is_onboarded(line))))
    return found


COLUMNS: list[Column[DayLine]] = [
    Column("task", "Task", lambda one: one.line.task, only_csv=True),
    Column("method", "Name", lambda one: one.line.method.name, only_csv=True),
    Column("onboarding", "Onboarding", lambda one: str(churn_notes.is_onboarded(one.line)), only_csv=True),
    Column("label", "Method", lambda one: one.line.label),
    Column("day_0", "Day 0 [95%]", lambda one: churn_notes.mean_of(one.line, entry(day_stage(0), REWARD))),
    Column("area", "Area under the curve [95%]", lambda one: one.area()),
    Column("lead", "HSRL minus method [95%]", lambda one: one.lead(), signed=True),
    Column("true_area", "Area by the true user [95%]", lambda one: one.area(TRUE_REWARD)),
    Column("share_new", "Share of new items [95%]", lambda one: one.area(SHARE), optional=True),
]


def days_sheet(results: Sequence[RunResult], asked: Mapping[str, Sequence[int]] | None = None) -> Sheet:
    """Return a table of areas for each task."""
    tables = [
        Table(
            f"{task}: Total Reward while the catalog turns over",
            COLUMNS,
            day_lines(lines),
            leading=lambda one: one.line.method.name == REFERENCE,
            notes=[
                *filter(None, [churn_notes.leader(lines, "the largest area", areas)]),
                *notes.describe_task(lines, notes.asked_of(asked, task)),
            ],
        )
        for task, lines in churn_lines(results).items()
    ]
    spec = results[0].spec
    terms = spec.protocol_kwargs
    how = [
        text.format(
            every=terms["every"],
            n_envs=spec.n_envs,
            percent=100 * terms["arrive"],
            held_back=100 * terms["held_back"],
            steps=f"{spec.steps:,}",
        )
        for text in _HOW
    ]
    below = [*how, *notes.general(results, chance=False)]
    return Sheet("A catalog that turns over while all go on learning", notes.code_state(results), tables, notes=below)


def days_figure(results: Sequence[RunResult]) -> Figure:
    """Return Total Reward at the end of each day, a panel for each task, means over seeds with a band.

    Lines are solid with onboarding, dotted without it, dashed for the oracle.
    """
    tasks = churn_lines(results)
    figure = new_figure(_WIDTH * len(tasks), _HEIGHT)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, (task, lines) in zip(panels, tasks.items(), strict=True):
        ends = [_draw(axes, line) for line in lines]
        seeds = band_name(max(len(line.runs) for line in lines))
        kind = "synthetic data" if notes.is_synthetic(lines[0].runs[0]) else lines[0].runs[0].data.source
        axes.set_title(f"{task}\n{kind}, {seeds}; solid: onboarding, dotted: none", fontsize=10)
        axes.set_xlabel("days of churn")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("Total Reward of held-out users" if axes is panels[0] else "")
        tidy(axes)
        axes.autoscale_view()
        name_ends(axes, ends, _AXES)
    return figure


def _draw(axes: Any, line: Line) -> End:
    """Draw a method and return the end of its line."""
    days = range(min(map(n_days, line.runs)) + 1)
    by_day = [[run.extra[entry(day_stage(day), REWARD)] for run in line.runs] for day in days]
    mean, low, high = spread(by_day)
    strong, look = line.method.name == REFERENCE, line.look
    style = "--" if line.name == ORACLE else _LOOKS[churn_notes.is_onboarded(line)]
    axes.fill_between(days, low, high, color=look.colour, alpha=0.16 if strong else 0.07, linewidth=0)
    axes.plot(
        days,
        mean,
        color=look.colour,
        linestyle=style,
        marker=look.marker,
        markevery=(line.method.rank // 10 % 3, 3),
        markersize=4.5,
        linewidth=2.2 if strong else 1.2,
        zorder=3 if strong else 2,
    )
    return End(float(days[-1]), float(mean[-1]), line.label, look.colour, strong)
