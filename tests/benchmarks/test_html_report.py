"""The page: whole without anything beside it, with all that the rows say, and without what they do not."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from curves import SECONDS, STEPS, curve_figure
from figures import looks_of
from html_parts import from_markdown, inline, table
from html_report import report_page, write_html
from plan import make_plan
from report import markdown
from results import summarise
from run_again import commands
from run_figures import mean_profile

RL4RS, ML1M = "HSRL-RL4RS-v0", "HSRL-ML1M-v0"
DIAGNOSTICS = {
    "steps": [1600, 3200],
    **{f"mlc_weight_{level}": [0.25, 0.2 + 0.05 * level] for level in range(4)},
    **{f"value_{level}": [1.0, 2.0] for level in range(4)},
    **{f"entropy_{level}": [4.0, 2.0] for level in range(1, 4)},
}
CODEBOOK = {
    "vocabulary": [4, 4],
    "used_tokens": [4, 3],
    "perplexity": [3.9, 2.5],
    "n_collisions": 2,
    "use": [[9, 8, 7, 6], [15, 10, 5, 0]],
}


def make_row(method: str, seed: int, reward: float, env: str = ML1M, **changes: Any) -> dict[str, Any]:
    row = {
        "schema": 2,
        "key": f"{env}-{method}-{seed}",
        "env": env,
        "method": method,
        "seed": seed,
        "steps": 3200,
        "n_envs": 32,
        "device": "cpu",
        "device_name": "abacus <9000>",
        "settings": {},
        "learns_online": method not in ("random", "popularity", "sl"),
        "total_reward": reward,
        "depth": reward + 1.0,
        "click_rate": 0.5,
        "n_episodes": 500,
        "curve": [[0, 0.0, 1.0, 2.0], [1600, 1.0, reward - 1.0, 3.0], [3200, 2.0, reward, reward + 1.0]],
        "train_seconds": 2.0,
        "eval_seconds": 1.0,
        "session": {"reward": "mean_with_cost", "slate_size": 9},
        "bundle": {"name": "x", "source": "SyntheticWorld('x', seed=0)", "packaged": True, "sha256": "ab" * 32},
        "git_commit": "0123456789abcdef-dirty",
        "started_at": "2026-11-22T08:35:27+00:00",
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
    }
    if not row["learns_online"]:
        row["curve"] = row["curve"][-1:]
    return {**row, **changes}


OLD = [make_row(method, seed, 3.0 + seed) for method in ("random", "sl", "a2c", "hsrl") for seed in (0, 1)]
PROFILE = {"reward": [0.9, 0.8, None], "playing": [1.0, 0.5, 0.0]}
NEW = [
    {
        **row,
        "step_profile": PROFILE,
        "diagnostics": DIAGNOSTICS if row["method"] == "hsrl" else {},
        "codebook": CODEBOOK,
    }
    for row in OLD
]


class Checker(HTMLParser):
    """Knows which elements were left open, which ids there are, and what is loaded from elsewhere."""

    VOID = ("meta", "br", "link", "img", "hr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self._note(attributes)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._note(attributes)

    def _note(self, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("href", "xlink:href", "src") and value:
                self.links.append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def new_page() -> str:
    return report_page(NEW, {ML1M: [0, 1]})


def test_the_page_is_whole_and_loads_nothing(new_page: str) -> None:
    found = Checker(new_page)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert found.links
    assert all(link.startswith("#") for link in found.links)
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert not found.tags & {"script", "img", "link", "iframe"}
    assert "@import" not in new_page
    assert set(re.findall(r"url\((.)", new_page)) <= {"#"}
    assert "prefers-color-scheme: dark" in new_page
    assert 'name="viewport"' in new_page


def test_the_page_holds_what_the_rows_say(new_page: str) -> None:
    text = " ".join(Checker(new_page).text.split())
    for part in (
        "Slate recommendation on ML1M",
        "Synthetic data, no real user",
        "Random, SL, A2C, HSRL",
        "0123456789ab with changes",
        "abacus <9000>",
        "3.50 [3.00, 4.00]",
        "8 runs, 24 s of computing, begun 2026-11-22 08:35 UTC",
        "What each level weighs",
        "Entropy of each level's tokens",
        "3.9, 2.5",
        "as the code has it",
        "Versions: python 3.11.7, torch 2.13.0.",
        "python benchmarks/compare.py",
    ):
        assert part in text
    assert "These rows have not" not in text
    # curves twice, profile twice, weights, values, entropies, codebook
    assert len(re.findall("<svg ", new_page)) == 8


def test_the_tables_are_those_of_the_markdown(new_page: str) -> None:
    text = " ".join(Checker(new_page).text.split())
    lines = markdown(NEW, summarise(NEW), {ML1M: [0, 1]}).splitlines()
    cells = [cell.strip() for line in lines if line.startswith("|") and "---" not in line for cell in line.split("|")]
    assert len(cells) > 30
    assert all(re.sub("[`*]", "", cell) in text for cell in cells)
    bullets = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    assert len(bullets) > 3
    assert all(re.sub(r"`|\*\*", "", line) in text for line in bullets)


def test_curves_against_the_clock() -> None:
    slow = [
        make_row("hsrl", seed, 3.0, curve=[[0, 0.0, 1.0, 2.0], [3200, 8.0 + 4 * seed, 3.0, 4.0]]) for seed in (0, 1)
    ]
    rows = [make_row("random", 0, 1.0, train_seconds=0.0), make_row("sl", 0, 2.0, train_seconds=6.0), *slow]
    steps, seconds = (
        {line.get_color(): line for line in curve_figure(rows, by).axes[0].lines} for by in (STEPS, SECONDS)
    )
    looks = {method: look[0] for method, look in looks_of(["random", "sl", "hsrl"]).items()}
    assert steps[looks["hsrl"]].get_xdata().tolist() == [0, 3200]
    assert seconds[looks["hsrl"]].get_xdata().tolist() == [0.0, 10.0]  # 8 and 12 seconds
    assert seconds[looks["sl"]].get_xdata()[0] == 6.0  # where its fit ended
    assert seconds[looks["sl"]].get_xdata()[1] > 10.0
    for lines in (steps, seconds):
        assert list(lines[looks["random"]].get_xdata()) == [0, 1]  # from edge to edge
    assert list(steps[looks["sl"]].get_xdata()) == [0, 1]


def test_older_rows_have_a_page_with_less() -> None:
    page = report_page(OLD, {ML1M: [0, 1]})
    text = Checker(page).text
    assert len(re.findall("<svg ", page)) == 2
    assert text.count("These rows have not") == 4
    empty = [{**row, "step_profile": None, "diagnostics": None, "codebook": None} for row in OLD]
    assert report_page(empty, {ML1M: [0, 1]}) == page
    hollow = {"step_profile": {"reward": [], "playing": []}, "diagnostics": {}, "codebook": {"use": []}}
    assert report_page([{**row, **hollow} for row in OLD], {ML1M: [0, 1]}) == page


def test_two_environments_and_a_plugged_in_agent(tmp_path: Path) -> None:
    own = [make_row("my.agents:Mine", 0, 2.0, curve=[[3200, 2.0, 2.0, 3.0]])]
    rows = [*NEW, *own, *({**row, "env": RL4RS, "bundle": {"source": "MovieLens"}} for row in NEW)]
    path = write_html(rows, tmp_path / "deep", {ML1M: [0, 1], RL4RS: [0, 1]})
    assert path == tmp_path / "deep" / "report.html"
    found = Checker(path.read_text(encoding="utf-8"))
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert "Slate recommendation on ML1M and RL4RS" in found.text
    assert "the users of ML1M were learned from logs that a simulated" in found.text
    assert path.read_text(encoding="utf-8").count("<svg ") == 16
    assert "Mine" in found.text
    again = write_html(rows, tmp_path, {ML1M: [0, 1], RL4RS: [0, 1]})
    assert again.read_bytes() == path.read_bytes()


def test_what_comes_from_outside_is_only_text() -> None:
    evil = "<script>alert(1)</script>"
    rows = [{**row, "bundle": {"source": evil}, "settings": {"x": evil}, "git_commit": evil} for row in OLD]
    page = report_page(rows, {ML1M: [0, 1]})
    assert "script" not in Checker(page).tags
    assert evil not in page


def test_markdown_becomes_html() -> None:
    text = (
        "# A\n\nb `c<d` **e**\nf\n\n- g\n- h\n\n| i | j |\n| --- | ---: |\n| HSRL | 1.50 [n/a] |\n| k | +1.0 [-1, +2] |"
    )
    html = from_markdown(text)
    assert html.startswith(
        "<h3>A</h3>\n<p>b <code>c&lt;d</code> <strong>e</strong> f</p>\n<ul>\n<li>g</li>\n<li>h</li>"
    )
    assert "<th>i</th><th>j</th>" in html
    assert "<tr class=ours><td>HSRL</td><td><span class=mean>1.50</span> <small>[n/a]</small></td></tr>" in html
    assert "<tr><td>k</td><td><span class=mean>+1.0</span> <small>[-1, +2]</small></td></tr>" in html
    assert inline("a*b & c") == "a*b &amp; c"
    assert "<tr><td>HSRL</td>" in table(["x"], [["HSRL"]], words=True)


def test_commands_give_the_same_runs_again(tiny_bundle_folder: Path) -> None:
    rows = [make_row(method, seed, 1.0, env) for env in (RL4RS, ML1M) for method in ("sl", "hsrl") for seed in (0, 3)]
    lines = commands(rows).splitlines()
    assert lines[0] == "git checkout 0123456789abcdef"
    call = " ".join(line.rstrip("\\").strip() for line in lines[1:]).removeprefix("python benchmarks/compare.py ")
    plan = make_plan(call.split())
    assert [(spec.env, spec.method, spec.seed) for spec in plan.specs] == [
        (row["env"], row["method"], row["seed"]) for row in rows
    ]
    assert {(spec.steps, spec.n_eval_episodes, spec.n_checkpoints, spec.n_envs) for spec in plan.specs} == {
        (3200, 500, 2, 32)
    }
    assert plan.specs[0].env_kwargs == {"reward": "mean_with_cost"}


def test_commands_of_different_sizes_and_of_a_bundle_of_ones_own() -> None:
    own = {"name": "mine", "packaged": False, "sha256": "cd" * 32, "source": "x"}
    rows = [make_row("hsrl", 0, 1.0), make_row("m:Mine", 0, 1.0), make_row("hsrl", 0, 1.0, RL4RS, steps=64, bundle=own)]
    text = commands(rows)
    assert text.count("python benchmarks/compare.py") == 2
    assert "--agent m:Mine" in text
    assert "--steps 64" in text
    assert f"--bundle {RL4RS}=DIR" in text
    assert "# DIR: the folder of the bundle 'mine' whose bundle.yaml has the sha256 cdcdcdcdcdcdcdcd.." in text


def test_profile_is_a_mean_over_seeds() -> None:
    means = mean_profile([[1.0, 0.5, None], [0.0, None]])
    assert means[:2].tolist() == [0.5, 0.5]
    assert means[2] != means[2]  # nobody played
    assert mean_profile([[1.0, 0.5], [1.0]], beyond=0.0).tolist() == [1.0, 0.25]
