"""The results as one page, `report.html`, that needs nothing but itself: findings, pictures, tables, how to repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hsrl_agent.evaluation.report import notes, table2
from hsrl_agent.evaluation.report.again import commands
from hsrl_agent.evaluation.report.belief import belief_tables
from hsrl_agent.evaluation.report.curves import SECONDS, STEPS, curve_figure
from hsrl_agent.evaluation.report.dots import dot_figure
from hsrl_agent.evaluation.report.figures import dark_style, to_svg
from hsrl_agent.evaluation.report.grouping import Line, group
from hsrl_agent.evaluation.report.headline import Finding, find, page_title
from hsrl_agent.evaluation.report.levels import ENTROPIES, VALUES, WEIGHTS, levels_figure, with_levels
from hsrl_agent.evaluation.report.sessions import (
    PLAYING,
    REWARD,
    codebook_figure,
    codebook_of,
    profile_figure,
    with_profile,
)
from hsrl_agent.evaluation.report.settings import codebook_table, settings_table, versions
from hsrl_agent.evaluation.report.table import Table
from hsrl_agent.evaluation.report.text import count, duration, listed, numbers, to_html
from hsrl_agent.evaluation.result import RunResult

_FOLDER = Path(__file__).parent
Tasks = Mapping[str, Sequence[Line]]


class Part(NamedTuple):
    """A part of a section: "text", "notes", "tables" or "small" tables, "wide" or "narrow" pictures, or "code"."""

    kind: str
    content: Any


class Section(NamedTuple):
    """A section of the page, which links lead to by its anchor."""

    anchor: str
    title: str
    parts: list[Part]


def page(results: Sequence[RunResult], asked: Mapping[str, Sequence[int]] | None = None) -> str:
    """Return the page; the same results give the same text.

    Args:
        results: the finished runs. A section that they have nothing for is left out.
        asked: the seeds that were asked for in each task, so that missing runs are told.
    """
    tasks = group(results)
    findings = {task: find(task, lines) for task, lines in tasks.items()}
    sections = [
        Section("methods", "All methods", _dots(tasks)),
        Section("table", "Table 2", _tables(results, asked)),
        Section("users", "Can the learned user be believed?", _beliefs(results)),
        Section("curves", "Learning curves", _curves(tasks)),
        Section("sessions", "Within a session", _sessions(tasks)),
        Section("critic", "Levels of the critic", _levels(tasks, WEIGHTS, VALUES)),
        Section("entropy", "Entropy of the policy", _levels(tasks, ENTROPIES)),
        Section("codebook", "Codebook", _codebooks(tasks)),
        Section("settings", "Settings", _settings(results, tasks)),
        Section("again", "Run it again", _again(tasks)),
    ]
    subject = f"Slate recommendation on {listed(list(tasks))}"
    found = list(findings.values())
    return render(page_title(findings), subject, notes.code_state(results), found, facts(results, tasks), sections)


def render(
    title: str,
    subject: str,
    code: str,
    findings: Sequence[Finding],
    facts: Mapping[str, str],
    sections: Sequence[Section],
) -> str:
    """Return a page of sections, those without parts left out, under its title and what was found and run."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    pages = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    pages.filters["inline"] = lambda text: Markup(to_html(text))
    return pages.get_template("page.html.j2").render(
        title=title,
        subject=subject,
        style=Markup(f"{(_FOLDER / 'page.css').read_text(encoding='utf-8')}{dark_style()}\n"),
        code=code,
        findings=findings,
        facts=facts,
        sections=[section for section in sections if section.parts],
    )


def facts(results: Sequence[RunResult], tasks: Tasks) -> dict[str, str]:
    """Return what was run, how long and where, by name."""
    labels = dict.fromkeys(line.label for lines in tasks.values() for line in lines)
    steps = sorted({run.spec.steps for run in results if run.learns_online})
    seconds = sum(run.train_seconds + run.eval_seconds for run in results)
    began = min(run.provenance.started_at for run in results)
    sessions = " or ".join(f"{n:,}" for n in sorted({run.spec.n_eval_episodes for run in results}))
    return {
        "Methods": f"{len(labels)}",
        "Seeds": numbers([run.spec.seed for run in results]),
        "Learning": f"{' or '.join(f'{n:,}' for n in steps)} user-steps" if steps else "none by acting",
        "Scored on": f"{sessions} sessions a run",
        "Computing": f"{count(len(results), 'run')}, {duration(seconds)}, begun {began[:16].replace('T', ' ')} UTC",
        "Machine": listed(sorted({run.provenance.device_name for run in results})),
    }


def shown(tables: Sequence[Table[Any]]) -> list[dict[str, Any]]:
    """Return tables as the page's template takes them."""
    from markupsafe import Markup

    return [{"title": table.title, "html": Markup(table.html()), "notes": table.notes} for table in tables]


def svg(figure: Any, name: str, title: str) -> Any:
    """Return a picture as the page's template takes it; see `to_svg`."""
    from markupsafe import Markup

    return Markup(to_svg(figure, name, title))


def _dots(tasks: Tasks) -> list[Part]:
    pictures = [
        (task, svg(dot_figure(lines), f"dots-{place}", f"Total Reward by method, {task}"))
        for place, (task, lines) in enumerate(tasks.items())
    ]
    text = (
        "Total Reward of held-out users, with its interval over seeds. In colour: HSRL, its three best rivals, the "
        "greedy oracle and your own agents."
    )
    return [Part("text", text), Part("narrow", pictures)]


def _tables(results: Sequence[RunResult], asked: Mapping[str, Sequence[int]] | None) -> list[Part]:
    tables = table2.table2(results, asked)
    return [Part("tables", shown(tables)), Part("notes", table2.general_notes(results, tables))]


def _beliefs(results: Sequence[RunResult]) -> list[Part]:
    tables = belief_tables(results)
    text = "A gap above zero: the `eval` user model pays the method more than the other user does."
    return [Part("text", text), Part("small", shown(tables))] if tables else []


def _curves(tasks: Tasks) -> list[Part]:
    pictures = [
        ("", svg(curve_figure({task: lines}, against), f"curve-{place}-{axis}", f"Total Reward, {task}, {against}"))
        for place, (task, lines) in enumerate(tasks.items())
        for axis, against in enumerate((STEPS, SECONDS))
    ]
    text = (
        "Mean over seeds, greedy policy, held-out users. Dashed methods do not learn by acting. Against seconds such a "
        "line begins where its fit had ended; the time of scoring is left out."
    )
    return [Part("text", text), Part("narrow", pictures)]


def _sessions(tasks: Tasks) -> list[Part]:
    pictures = [
        (task, svg(profile_figure(told, what), f"{what}-{place}", f"{title} by step, {task}"))
        for place, (task, lines) in enumerate(tasks.items())
        if (told := with_profile(lines))
        for what, title in ((REWARD, "Reward"), (PLAYING, "Users still playing"))
    ]
    text = (
        "A policy that spends what users like at once has a reward that falls along the session. Few users reach the "
        "late steps, and those who do are easy to please."
    )
    return [Part("text", text), Part("narrow", pictures)] if pictures else []


_LEVELS = {
    WEIGHTS: "Weights of the levels in the multi-level critic (eq. 17; Figure 6 of the paper).",
    VALUES: "Value of the same states by the critic of each level.",
    ENTROPIES: "Entropy of the token distribution of each level. Near zero, the policy explores no more.",
}


def _levels(tasks: Tasks, *prefixes: str) -> list[Part]:
    lines = [line for own in tasks.values() for line in own]
    parts = []
    for prefix in prefixes:
        if with_levels(lines, prefix):
            picture = svg(levels_figure(lines, prefix), prefix, _LEVELS[prefix])
            parts += [Part("text", _LEVELS[prefix]), Part("wide", [("", picture)])]
    return parts


def _codebooks(tasks: Tasks) -> list[Part]:
    found = {task: book for task, lines in tasks.items() if (book := codebook_of(lines))}
    pictures = [
        (task, svg(codebook_figure(book), f"codebook-{place}", f"Items a token, {task}"))
        for place, (task, book) in enumerate(found.items())
    ]
    text = "How many items each token stands for. A flat line is an even level; a steep one is the hourglass of 4.5."
    tables = shown([codebook_table(task, book) for task, book in found.items()])
    return [Part("text", text), Part("narrow", pictures), Part("small", tables)] if found else []


def _settings(results: Sequence[RunResult], tasks: Tasks) -> list[Part]:
    text = "What is not named has the default of the code."
    return [
        Part("text", text),
        Part("tables", shown([settings_table(task, lines) for task, lines in tasks.items()])),
        Part("text", versions(results)),
    ]


def _again(tasks: Tasks) -> list[Part]:
    text = "Finished runs are kept. The same command goes on where it stopped."
    return [Part("text", text), Part("code", commands(tasks))]
