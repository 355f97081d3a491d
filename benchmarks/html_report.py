"""The results as one page, `report.html`, that needs nothing but itself: tables, pictures, settings, how to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import run_figures
from curves import SECONDS, STEPS, curve_figure
from figures import LEVEL_COLOURS, looks_of, to_svg
from html_parts import code_block, facts, figures, from_markdown, legend, page, paragraph, section, table
from paper_figures import ENTROPIES, VALUES, WEIGHTS, level_panels, levels_figure, levels_of
from report import markdown, short
from results import Row, label, sort_methods, summarise, write_text
from run_again import commands

NAME = "report.html"


def write_html(rows: Sequence[Row], out: Path, asked: dict[str, list[int]]) -> Path:
    """Write the page into `out` and return its file; the same rows give the same bytes.

    Args:
        rows: of the finished runs; what older ones lack is left out, and said.
        out: folder.
        asked: the seeds that were asked for in each environment, so that missing runs are told.
    """
    write_text(out / NAME, report_page(rows, asked))
    return out / NAME


def report_page(rows: Sequence[Row], asked: dict[str, list[int]]) -> str:
    """Return the page."""
    envs = list(dict.fromkeys(row["env"] for row in rows))
    title = f"Slate recommendation on {' and '.join(map(short, envs))}"
    sections = {
        "table": ("Table 2", table_section(rows, asked)),
        "curves": ("Learning curves", curve_section(rows)),
        "session": ("Within a session", profile_section(rows)),
        "critic": ("Levels of the critic", levels_section(rows, WEIGHTS, VALUES)),
        "entropy": ("Entropy of the policy", levels_section(rows, ENTROPIES)),
        "codebook": ("Codebook", codebook_section(rows)),
        "settings": ("Settings", settings_section(rows)),
        "again": ("Run it again", again_section(rows)),
    }
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, (name, _) in sections.items())
    body = [f"<header>\n<h1>{title}</h1>", header(rows), f"<nav>{links}</nav>\n</header>"]
    body += [section(anchor, name, *parts) for anchor, (name, parts) in sections.items()]
    return page(title, "\n".join(body))


def header(rows: Sequence[Row]) -> str:
    """Return what was run, on what, where and when."""
    methods = sort_methods({row["method"] for row in rows})
    online = [row for row in rows if row["learns_online"]]
    steps = " or ".join(f"{n:,}" for n in sorted({row["steps"] for row in online}))
    seconds = sum(row.get("train_seconds", 0.0) + row.get("eval_seconds", 0.0) for row in rows)
    began = sorted(row["started_at"] for row in rows if row.get("started_at"))
    sources = {row["env"]: row["bundle"]["source"] for row in rows}
    entries = {
        "Environments": ", ".join(f"`{env}`" for env in sources),
        "Data": "; ".join(dict.fromkeys(sources.values())),
        "Methods": ", ".join(map(label, methods)),
        "Seeds": ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows})),
        "Learning": f"{steps} user-steps for methods that learn by acting" if steps else "none by acting",
        "Scored on": " or ".join(f"{n:,}" for n in sorted({row["n_episodes"] for row in rows})) + " sessions a run",
        "Commit": ", ".join(map(_commit_text, _values(rows, "git_commit"))),
        "Machine": ", ".join(_values(rows, "device_name")),
        "Time": f"{len(rows)} runs, {_duration(seconds)} of computing"
        + (f", begun {began[0][:16].replace('T', ' ')} UTC" if began else ""),
    }
    made_up = " and ".join(short(env) for env, source in sources.items() if "synthetic" in source.lower())
    notice = (
        f'<p class="notice"><strong>Synthetic data, no real user:</strong> the users of {made_up} '
        "were learned from logs that a simulated population wrote.</p>"
        if made_up
        else ""
    )
    lead = '<p class="lead">Total Reward and Depth of held-out users, by method, with intervals over seeds.</p>'
    return f"{lead}\n{notice}\n{facts(entries)}"


def _values(rows: Sequence[Row], name: str) -> list[str]:
    return sorted({str(row.get(name) or "unknown") for row in rows})


def _commit_text(commit: str) -> str:
    revision, _, dirty = commit.partition("-")
    return f"`{revision[:12]}`{' with changes' if dirty else ''}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def table_section(rows: Sequence[Row], asked: dict[str, list[int]]) -> list[str]:
    """Return the tables and the caption of `table2.md`."""
    text = markdown(rows, summarise(rows), asked)
    return [from_markdown(text.removeprefix("# Table 2").strip())]


def curve_section(rows: Sequence[Row]) -> list[str]:
    """Return the learning curves, against steps and against seconds."""
    pictures = []
    for env in dict.fromkeys(row["env"] for row in rows):
        own = [row for row in rows if row["env"] == env]
        for anchor, against in (("steps", STEPS), ("seconds", SECONDS)):
            title = f"Total Reward in {env} against {against}"
            figure = curve_figure(own, against, legend=False)
            pictures.append((to_svg(figure, f"{anchor}-{short(env)}", title), ""))
    return [
        paragraph(
            "Total Reward of held-out users, by the `eval` user model and the greedy policy, mean over seeds: against "
            "what was learned from, and against the clock, scoring left out. Dashed: methods that do not learn by "
            "acting; against the clock, such a line begins where its fit had ended."
        ),
        _legend_of_methods(rows),
        figures(pictures),
    ]


def profile_section(rows: Sequence[Row]) -> list[str]:
    """Return reward and users left by step of the session."""
    told = run_figures.with_profile(rows)
    if not told:
        return [_absent("a profile of the session's steps")]

    def draw(own: Sequence[Row], what: str, title: str) -> str:
        return to_svg(run_figures.profile_figure(own, what), f"{what}-{short(own[0]['env'])}", title)

    parts = [
        paragraph(
            "A policy that spends what users like at once shows here: its reward falls along the session. The later "
            "a step, the fewer play it, and those who do are the easier ones to please."
        ),
        _legend_of_methods(told),
    ]
    for env in dict.fromkeys(row["env"] for row in told):
        own = [row for row in told if row["env"] == env]
        pictures = [
            (draw(own, what, f"{title} by step, {env}"), "")
            for what, title in ((run_figures.REWARD, "Reward"), (run_figures.PLAYING, "Users still playing"))
        ]
        parts += [f"<h3>{short(env)}</h3>", figures(pictures)]
    return parts


_WORDS = {
    WEIGHTS: ("weight w_l", "What each level weighs in the multi-level critic (eq. 17; Figure 6 of the paper)."),
    ENTROPIES: ("entropy, nats", "Entropy of each level's tokens. Near zero, nothing is tried any more."),
    VALUES: ("V(s, l)", "The value each level's critic puts on the same states."),
}


def levels_section(rows: Sequence[Row], *prefixes: str) -> list[str]:
    """Return diagnostics of the levels over training, those that rows have."""
    parts = []
    for prefix in prefixes:
        what, words = _WORDS[prefix]
        panels = level_panels(rows, prefix)
        pictures = [
            (
                to_svg(levels_figure(runs, prefix, what, legend=False), f"{prefix}{short(env)}-{label(method)}", words),
                "",
            )
            for (env, method), runs in panels.items()
        ]
        if pictures:
            levels = sorted({level for runs in panels.values() for level in levels_of(runs, prefix)})
            colours = {f"level {level}": (LEVEL_COLOURS[level % len(LEVEL_COLOURS)], False) for level in levels}
            parts += [paragraph(words), legend(colours), figures(pictures)]
    return parts or [_absent("diagnostics of the levels; only HSRL has them")]


def codebook_section(rows: Sequence[Row]) -> list[str]:
    """Return the use of the tokens."""
    found = run_figures.codebooks_of(rows)
    if not found:
        return [_absent("the use of the codebook")]
    heading = ["", "Tokens a level", "In use", "Perplexity", "Items that share a code"]
    body = [
        [short(env), *(_listed(one.get(name)) for name in ("vocabulary", "used_tokens", "perplexity", "n_collisions"))]
        for env, one in found.items()
    ]
    pictures = [
        (to_svg(run_figures.codebook_figure(one), f"codebook-{short(env)}", f"Items a token, {env}"), short(env))
        for env, one in found.items()
    ]
    text = "How many items each token stands for. A flat line is an even level; a steep one is the hourglass of 4.5."
    return [paragraph(text), table(heading, body), figures(pictures)]


def _listed(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_listed, value))
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def settings_section(rows: Sequence[Row]) -> list[str]:
    """Return what was set of each method, and what each run took."""
    body = []
    for env in dict.fromkeys(row["env"] for row in rows):
        own = [row for row in rows if row["env"] == env]
        for method in sort_methods({row["method"] for row in own}):
            runs = [row for row in own if row["method"] == method]
            settings = {", ".join(f"`{k}={v}`" for k, v in sorted((row.get("settings") or {}).items())) for row in runs}
            seconds = sum(row.get("train_seconds", 0.0) for row in runs) / len(runs)
            text = " or ".join(sorted(one or "as the code has it" for one in settings))
            steps = f"{runs[0]['steps']:,}" if runs[0]["learns_online"] else "none"
            body.append([label(method), short(env), text, steps, f"{seconds:,.0f} s"])
    versions = "; ".join(sorted({_versions(row) for row in rows if row.get("versions")}))
    return [
        paragraph("What is not named is as the code has it; numbers per environment stand in `configs/methods.yaml`."),
        table(["Method", "Environment", "Settings", "User-steps", "Learning, a run"], body, words=True),
        paragraph(f"Versions: {versions}.", quiet=True) if versions else "",
    ]


def _versions(row: Row) -> str:
    return ", ".join(f"{name} {version}" for name, version in row["versions"].items())


def again_section(rows: Sequence[Row]) -> list[str]:
    """Return the commands that give these rows."""
    return [
        paragraph("Finished runs are kept: the same command goes on where it stopped."),
        code_block(commands(rows)),
    ]


def _absent(what: str) -> str:
    return paragraph(f"These rows have not {what}; they come from an older version or from other methods.", quiet=True)


def _legend_of_methods(rows: Sequence[Row]) -> str:
    methods = sort_methods({row["method"] for row in rows})
    online = {row["method"] for row in rows if row["learns_online"]}
    return legend({label(name): (look[0], name not in online) for name, look in looks_of(methods).items()})
