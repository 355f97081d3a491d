"""The churn table: what changes of the catalog cost, at once and after more learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hsrl_agent.evaluation.churn import CLICKS, REWARD, SHARE, TRUE_REWARD, entry
from hsrl_agent.evaluation.churn_table import ADDED, BACK, BEFORE, IS_BACK, KNOWN, REPLACED, SEEN, after
from hsrl_agent.evaluation.report import churn_notes, notes
from hsrl_agent.evaluation.report.grouping import Line, group
from hsrl_agent.evaluation.report.sheet import Sheet
from hsrl_agent.evaluation.report.table import Column, Table
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.statistics import Interval
from hsrl_agent.evaluation.summary import REFERENCE
from hsrl_gym.envs.onboarding import Onboarding

USERS = {"`eval` user": REWARD, "true user": TRUE_REWARD}
_HOW = (
    "Half of the items are held back, and unknown, while a method learns. Then they are added, or they replace a share "
    "of the others. (They stay in the histories that users come with, and the centroids of the tokens were fitted with "
    "them.) Up to `100% replaced` nobody has learned since. The true vectors of the new items, and what 20 "
    "impressions an item teach, are seen by the same agent without more learning.",
    f"Onboarding gives new items {Onboarding().explore:.0%} of the slots, and updates in closed form what is known of "
    "them, with every impression. Methods that learn from the log alone only gain by what it learns of items. A2C "
    "takes an explored slot for its own choice; the others know what was shown. Cells in "
    "which nothing can have changed stay empty, as do those of methods that look at no vectors.",
    "`User-steps until 95% is back` counts from a change of 60%, towards the reward before it. A run in which it "
    "is never back counts as its last score; then the mean is a lower bound.",
)


@dataclass(frozen=True)
class ChurnLine:
    """A method, with or without onboarding, as one user sees it."""

    user: str
    line: Line

    def at(self, stage: str) -> Interval | None:
        """Return Total Reward at a stage."""
        return churn_notes.mean_of(self.line, entry(stage, USERS[self.user]))


def churn_lines(results: Sequence[RunResult]) -> dict[str, list[Line]]:
    """Return the lines of each task in the order of the tables, each method without onboarding first."""
    return {
        task: sorted(lines, key=lambda line: (line.method.rank, churn_notes.is_onboarded(line)))
        for task, lines in group(results).items()
    }


def churn_sheet(results: Sequence[RunResult], asked: Mapping[str, Sequence[int]] | None = None) -> Sheet:
    """Return for each task a table of rewards by each user, and one of the shares and click rates of new items."""
    columns, tasks = _columns(results), churn_lines(results)
    tables = [
        Table(
            f"{task}: Total Reward by the {user}",
            columns,
            lines,
            leading=lambda one: one.line.method.name == REFERENCE,
            notes=_notes(own, user, notes.asked_of(asked, task)),
        )
        for task, own in tasks.items()
        for user in USERS
        if (lines := [one for line in own if (one := ChurnLine(user, line)).at(BEFORE)])
    ]
    more = [_shares(task, own, results) for task, own in tasks.items()]
    below = [*_HOW, *notes.general(results, chance=False)]
    return Sheet("A catalog that changes", notes.code_state(results), tables, more, below)


def _notes(lines: Sequence[Line], user: str, asked: Sequence[int]) -> list[str]:
    told = churn_notes.in_words(lines, USERS[user])
    return [*told, *notes.describe_task(lines, asked)] if USERS[user] == REWARD else told


def later_steps(results: Sequence[RunResult]) -> list[int]:
    """Return after how many user-steps the runs were scored again."""
    return sorted({steps for run in results for steps in run.spec.protocol_kwargs.get("later", ())})


def _columns(results: Sequence[RunResult]) -> list[Column[ChurnLine]]:
    stages = {
        "Before": BEFORE,
        "Added": ADDED,
        **{f"{percent}% replaced": stage for percent, stage in REPLACED.items()},
        "20 impressions": SEEN,
        "Known vectors": KNOWN,
        **{f"{steps:,} steps later": after(steps) for steps in later_steps(results)},
    }
    return [
        Column("task", "Task", lambda one: one.line.task, only_csv=True),
        Column("user", "User", lambda one: one.user.replace("`", ""), only_csv=True),
        Column("method", "Name", lambda one: one.line.method.name, only_csv=True),
        Column("onboarding", "Onboarding", lambda one: str(churn_notes.is_onboarded(one.line)), only_csv=True),
        Column("label", "Method", lambda one: one.line.label),
        *(_reward(heading, stage) for heading, stage in stages.items()),
        Column("steps_until_back", "User-steps until 95% is back", lambda one: _of_eval(one, BACK), digits=0),
        Column("n_back", "Runs back", _runs_back),
        *(_csv(entry(stage, what)) for stage in stages.values() for what in (SHARE, CLICKS)),
    ]


def _reward(heading: str, stage: str) -> Column[ChurnLine]:
    return Column(stage, f"{heading} [95%]", lambda one: one.at(stage))


def _csv(name: str) -> Column[ChurnLine]:
    return Column(name.replace(".", "_"), name, lambda one: _of_eval(one, name), only_csv=True)


def _of_eval(one: ChurnLine, name: str) -> Interval | None:
    return churn_notes.mean_of(one.line, name) if USERS[one.user] == REWARD else None


def _runs_back(one: ChurnLine) -> str | None:
    known = [run.extra[IS_BACK] for run in one.line.runs if IS_BACK in run.extra]
    return f"{int(sum(known))} of {len(known)}" if known and USERS[one.user] == REWARD else None


def _shares(task: str, lines: Sequence[Line], results: Sequence[RunResult]) -> Table[Line]:
    """Return the share of new items in slates, where others are on sale, and the clicks per new item shown."""
    shown = {"Added": ADDED, "30%": REPLACED[30], "60%": REPLACED[60]}
    clicked = {"Added": ADDED, "60%": REPLACED[60], "100%": REPLACED[100], "20 impressions": SEEN}
    clicked |= {f"{steps:,} steps later": after(steps) for steps in later_steps(results)[-1:]}
    return Table(
        f"{task}: share of new items in slates, and their click rate, by the `eval` user",
        [
            Column("label", "Method", lambda line: line.label),
            *(_number(f"Share: {heading}", entry(stage, SHARE)) for heading, stage in shown.items()),
            *(_number(f"Clicks: {heading}", entry(stage, CLICKS)) for heading, stage in clicked.items()),
        ],
        lines,
        leading=lambda line: line.method.name == REFERENCE,
    )


def _number(heading: str, name: str) -> Column[Line]:
    return Column(name.replace(".", "_"), f"{heading} [95%]", lambda line: churn_notes.mean_of(line, name))
