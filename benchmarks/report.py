"""Table 2 as Markdown, CSV and for the terminal, with what a reader has to know beside it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from belief import believe, describe
from curves import SECONDS, STEPS, draw_curves
from results import REFERENCE, Interval, Row, Summary, label, sort_methods, summarise, write_text

# Table 2 of the paper: Total Reward, Depth.
PAPER: dict[str, dict[str, tuple[float, float]]] = {
    "HSRL-RL4RS-v0": {
        "sl": (6.721, 8.163),
        "a2c": (7.789, 9.140),
        "ddpg": (8.337, 9.588),
        "td3": (8.553, 9.791),
        "pgra": (8.561, 9.728),
        "hac": (10.059, 11.102),
        "hsrl-paper": (12.308, 13.084),
        "hsrl": (12.308, 13.084),
    },
    "HSRL-ML1M-v0": {
        "sl": (16.666, 16.953),
        "a2c": (9.533, 10.644),
        "ddpg": (15.773, 16.154),
        "td3": (17.465, 17.677),
        "pgra": (14.032, 14.601),
        "hac": (17.638, 17.830),
        "hsrl-paper": (18.884, 18.970),
        "hsrl": (18.884, 18.970),
    },
}
WORLD = "HSRL-World-v0"  # where no user is a learned one
CURVES = {"learning_curves.png": STEPS, "learning_curves_seconds.png": SECONDS}  # picture: what its axis says
_CELL = 19  # columns of a terminal that a mean and its interval take on one line
SWEET_POINT_NOTE = (
    "With the reward rule `sweet_point` a deliberate miss is optimal: on a slate of 9, 9 clicks of 9 at every step end "
    "at 9.0 in 10 steps, 8 of 9 at 15.6 in 16. A high Total Reward there may only mean that the method learned this."
)
CHANCE_NOTE = (
    "P(HSRL better): share of all pairs of a run of HSRL and a run of the method, whatever their seeds, in which HSRL "
    "has the higher Total Reward (probability of improvement)."
)
PAPER_NOTE = (
    "The paper's figures (its Table 2) were measured on its own data and user model; they stand beside ours for "
    "orientation. It has one HSRL, which stands beside two of ours."
)


def short(env: str) -> str:
    """Return what tables call an environment: RL4RS for HSRL-RL4RS-v0."""
    return env.removeprefix("HSRL-").removesuffix("-v0")


def write_rows(rows: Sequence[Row], out: Path) -> Path:
    """Write the rows of the finished runs as JSON lines; return the file."""
    write_text(out / "results.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
    return out / "results.jsonl"


def write_table2(rows: Sequence[Row], out: Path, asked: dict[str, list[int]]) -> list[Path]:
    """Write the table (Markdown, CSV) and the learning curves (PNG); return the files.

    Args:
        rows: of the finished runs.
        out: folder.
        asked: the seeds that were asked for in each environment, so that missing runs are told.
    """
    summaries = summarise(rows)
    write_text(out / "table2.md", markdown(rows, summaries, asked))
    write_text(out / "table2.csv", table_csv(summaries))
    for name, against in CURVES.items():
        draw_curves(rows, out / name, against)
    return [out / name for name in ("table2.md", "table2.csv", *CURVES)]


def markdown(rows: Sequence[Row], summaries: Sequence[Summary], asked: dict[str, list[int]]) -> str:
    """Return the table, the differences to HSRL, and the caption."""
    envs = list(dict.fromkeys(summary.env for summary in summaries))
    cells = {(summary.env, summary.method): summary for summary in summaries}
    methods = list(dict.fromkeys(summary.method for summary in _by_method(summaries)))
    heading, body = ["Method"], [[label(method)] for method in methods]
    for env in envs:
        true_user = any(summary.true_reward for summary in summaries if summary.env == env)
        heading += [f"{short(env)} Total Reward [95%]", "Depth [95%]", *(["true user [95%]"] * true_user)]
        heading += ["paper: Reward / Depth"] if env in PAPER else []
        for line, method in zip(body, methods, strict=True):
            summary = cells.get((env, method))
            line += [_text(summary.total_reward), _text(summary.depth)] if summary else ["", ""]
            line += [_text(summary.true_reward) if summary else ""] * true_user
            line += [_paper(env, method)] if env in PAPER else []
    parts = ["# Table 2", markdown_table(heading, body)]
    paired = [method for method in methods if method != REFERENCE]
    if any(summary.reference_better is not None for summary in summaries):
        columns = ("Total Reward", "Depth", "P(HSRL better)")
        heading = ["Method minus HSRL", *(f"{short(env)} {what}" for env in envs for what in columns)]
        body = [[label(method)] for method in paired]
        for env in envs:
            for line, method in zip(body, paired, strict=True):
                summary = cells.get((env, method))
                pair = (summary.reward_to_reference, summary.depth_to_reference) if summary else (None, None)
                line += [*(_text(one, signed=True) for one in pair), _chance(summary)]
        parts += ["Paired by seed: the same held-out users for both.", markdown_table(heading, body)]
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in caption(rows, summaries, asked))]) + "\n"


def caption(rows: Sequence[Row], summaries: Sequence[Summary], asked: dict[str, list[int]]) -> list[str]:
    """Return what has to be known to read the table, a line each."""
    lines = []
    for env in dict.fromkeys(row["env"] for row in rows):
        own = [row for row in rows if row["env"] == env]
        lines.append(_describe_env(env, own, asked.get(env, [])))
    if any(row["env"] != WORLD for row in rows):
        lines.append(
            "Learned from the `train` users, scored with the greedy policy on held-out users by the `eval` user."
        )
    lines.append(_describe_intervals(summaries))
    lines += [describe(belief, short(belief.env), label) for belief in believe(rows)]
    if any(summary.reference_better is not None for summary in summaries):
        lines.append(CHANCE_NOTE)
    missing = [
        f"{label(summary.method)} on {short(summary.env)} has {len(summary.seeds)} of {len(asked[summary.env])} seeds"
        for summary in summaries
        if len(summary.seeds) < len(asked.get(summary.env, []))
    ]
    if missing:
        lines.append(f"Runs are missing: {'; '.join(missing)}.")
    if any(env in PAPER for env in {row["env"] for row in rows}):
        lines.append(PAPER_NOTE)
    if any(row["session"].get("reward") == "sweet_point" for row in rows):
        lines.append(SWEET_POINT_NOTE)
    commits = sorted({str(row.get("git_commit") or "unknown") for row in rows})
    devices = sorted({str(row.get("device_name") or row.get("device")) for row in rows})
    lines.append(f"Code: commit {', '.join(map(_short_commit, commits))}. Ran on {', '.join(devices)}.")
    return lines


def _describe_env(env: str, rows: Sequence[Row], seeds: Sequence[int]) -> str:
    first = rows[0]
    source = first["bundle"]["source"]
    made_up = " **Synthetic data, no real user.**" if "synthetic" in source.lower() else ""
    session, shown = first["session"], seeds or sorted({row["seed"] for row in rows})
    steps = " or ".join(f"{n:,}" for n in sorted({row["steps"] for row in rows if row["learns_online"]}))
    users = "users learned from" if env != WORLD else "the true users, for learning and for scoring, of"
    learned = f"{steps} user-steps for the methods that learn online, " if steps else ""
    return (
        f"{short(env)}: {users} {source}.{made_up} Reward rule `{session.get('reward')}`, slate of "
        f"{session.get('slate_size')}, {learned}{len(shown)} seed{'s' * (len(shown) != 1)} "
        f"({', '.join(map(str, shown))}), {first['n_episodes']:,} sessions a seed."
    )


def _describe_intervals(summaries: Sequence[Summary]) -> str:
    sizes = {len(summary.seeds) for summary in summaries}
    text = "[95%]: bootstrap interval of the mean over seeds."
    if 1 in sizes:
        text += " With one seed there is none (n/a)."
    if 2 in sizes:
        text += " With two seeds its ends are the two runs themselves: read it as their range, not as 95%."
    if sizes & {3, 4, 5}:
        text += " With so few seeds it tends to be too narrow."
    return text


def table_csv(summaries: Sequence[Summary]) -> str:
    """Return one line for each environment and method, with all digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = ("total_reward", "depth", "true_reward", "reward_minus_hsrl", "depth_minus_hsrl")
    ends = [f"{name}_{part}" for name in columns for part in ("mean", "low", "high")]
    names = ("env", "method", "label", "n_seeds")
    others = ("p_hsrl_better", "click_rate", "train_seconds", "paper_total_reward", "paper_depth")
    writer.writerow([*names, *ends, *others])
    for summary in summaries:
        intervals = (
            summary.total_reward,
            summary.depth,
            summary.true_reward,
            summary.reward_to_reference,
            summary.depth_to_reference,
        )
        numbers = [value for one in intervals for value in ((one.mean, one.low, one.high) if one else (None,) * 3)]
        paper = PAPER.get(summary.env, {}).get(summary.method, (None, None))
        whose = (summary.env, summary.method, label(summary.method), len(summary.seeds))
        writer.writerow([*whose, *numbers, summary.reference_better, summary.click_rate, summary.train_seconds, *paper])
    return buffer.getvalue()


def print_tables(console: Console, rows: Sequence[Row], asked: dict[str, list[int]]) -> None:
    """Print a table for each environment, and the caption."""
    summaries = summarise(rows)
    for env in dict.fromkeys(summary.env for summary in summaries):
        own = [summary for summary in summaries if summary.env == env]
        table = Table(title=f"{env} (Table 2)", title_justify="left", title_style="bold")
        table.add_column("Method")
        paired = any(summary.reward_to_reference for summary in own)
        headings = ["Total Reward\n[95%]", "Depth\n[95%]"]
        chance = any(summary.reference_better is not None for summary in own)
        true_user = any(summary.true_reward for summary in own)
        headings += ["true user\n[95%]"] if true_user else []
        headings += ["Reward minus\nHSRL [95%]"] if paired else []
        headings += ["P(HSRL\nbetter)"] if chance else []
        headings += ["paper:\nReward / Depth"] if env in PAPER else []
        for heading in headings:
            table.add_column(heading.replace("[", r"\["), justify="right")
        for summary in own:
            line = [label(summary.method), _text(summary.total_reward), _text(summary.depth)]
            line += [_text(summary.true_reward)] if true_user else []
            line += [_text(summary.reward_to_reference, signed=True)] if paired else []
            line += [_chance(summary)] if chance else []
            line += [_paper(env, summary.method)] if env in PAPER else []
            line = [cell.replace(" [", "\n[") for cell in line] if console.width < _CELL * (1 + len(headings)) else line
            style = "bold" if summary.method == REFERENCE else None
            table.add_row(*(cell.replace("[", r"\[") for cell in line), style=style)
        console.print(table)
    for text in caption(rows, summaries, asked):
        console.print(f"- {text.replace('**', '')}", markup=False, highlight=False)


def _by_method(summaries: Sequence[Summary]) -> list[Summary]:
    order = sort_methods({summary.method for summary in summaries})
    return sorted(summaries, key=lambda summary: order.index(summary.method))


def _text(value: Interval | None, signed: bool = False) -> str:
    return value.text(signed=signed) if value is not None else ""


def _chance(summary: Summary | None) -> str:
    return f"{summary.reference_better:.2f}" if summary and summary.reference_better is not None else ""


def _paper(env: str, method: str) -> str:
    figures = PAPER.get(env, {}).get(method)
    return f"{figures[0]:.3f} / {figures[1]:.3f}" if figures else ""


def markdown_table(heading: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers."""
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short_commit(commit: str) -> str:
    revision, _, dirty = commit.partition("-")
    return f"{revision[:8]}{'-' if dirty else ''}{dirty}"
