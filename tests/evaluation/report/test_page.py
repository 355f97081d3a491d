"""The page: whole without anything beside it, with all that the results say, and without what they do not."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from made_results import CODEBOOK, LEVEL_METRICS, PROFILE, make_result

from hsrl_agent.evaluation.report.page import page

METHODS = ("random", "sl", "a2c", "hsrl")
BARE = [make_result(method, seed, 3.0 + place + seed) for place, method in enumerate(METHODS) for seed in (0, 1)]
FULL = [
    replace(run, step_profile=PROFILE, codebook=CODEBOOK, metrics=LEVEL_METRICS if run.spec.method == "hsrl" else {})
    for run in BARE
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

    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def full_page() -> str:
    return page(FULL, {"ML1M": [0, 1, 2]})


def test_the_page_is_whole_and_loads_nothing(full_page: str) -> None:
    found = Checker(full_page)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert found.links
    assert all(link.startswith("#") for link in found.links)
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert not found.tags & {"script", "img", "link", "iframe"}
    assert "@import" not in full_page
    assert set(re.findall(r"url\((.)", full_page)) <= {"#"}
    assert "prefers-color-scheme: dark" in full_page
    assert 'name="viewport"' in full_page


def test_the_finding_comes_first_then_the_picture_then_the_table(full_page: str) -> None:
    order = ("<h1>HSRL is ahead on ML1M", "Synthetic data, no real user.", "<svg ", "<table>", 'id="settings"')
    places = [full_page.index(part) for part in order]
    assert places == sorted(places)


def test_the_page_holds_what_the_results_say(full_page: str) -> None:
    text = Checker(full_page).words()
    for part in (
        "Slate recommendation on ML1M",
        "Code: commit 01234567.",
        "6.50 [6.00, 7.00]",
        "8 runs, 24 s, begun 2026-11-22 08:35 UTC",
        "Runs are missing: Random has 2 of 3 seeds, SL has 2 of 3 seeds",
        "Weights of the levels in the multi-level critic",
        "Entropy of the token distribution",
        "2 collisions",
        "Versions: python 3.11.7, torch 2.13.0.",
        "hsrl-agent compare",
    ):
        assert part in text
    # dots, curves twice, profile twice, weights, values, entropies, codebook
    assert len(re.findall("<svg ", full_page)) == 9


def test_a_section_without_anything_is_left_out() -> None:
    text = page(BARE)
    found = Checker(text)
    assert len(re.findall("<svg ", text)) == 3
    assert not {"sessions", "critic", "entropy", "codebook", "users"} & set(found.ids)
    assert page(BARE) == text


def test_two_tasks_a_second_judge_and_an_agent_of_one_s_own() -> None:
    runs = [*FULL, make_result("my.agents:Mine", 0, 2.0), make_result("hsrl", 0, 2.0, "my & shop", source="my.csv")]
    runs += [make_result(method, 0, reward, "RL4RS", true=1.0) for method, reward in (("sl", 2.0), ("hsrl", 3.0))]
    found = Checker(page(runs))
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    text = found.words()
    assert "Slate recommendation on ML1M, my & shop and RL4RS" in text
    assert "RL4RS: Total Reward by two users" in text
    assert "Mine" in text


def test_what_comes_from_outside_is_only_text() -> None:
    evil = "<script>alert(1)</script>"
    runs = [
        make_result("hsrl", 0, 1.0, evil, source=evil, settings={"x": evil}, commit=evil, name=evil, bundle=evil),
        make_result(f"m:{evil}", 0, 1.0, evil),
    ]
    text = page(runs)
    assert "script" not in Checker(text).tags
    assert evil not in text
