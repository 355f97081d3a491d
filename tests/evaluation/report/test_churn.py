"""Churn table and figure from results made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from made_results import make_result

from hsrl_agent.evaluation.churn_days import PROTOCOL as DAYS
from hsrl_agent.evaluation.churn_table import PROTOCOL as TABLE
from hsrl_agent.evaluation.report.churn import churn_sheet
from hsrl_agent.evaluation.report.churn_days import days_figure, days_sheet
from hsrl_agent.evaluation.report.churn_page import churn_page
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.methods import METHODS


def changed(method: str, seed: int, onboarded: bool = False, **extra: float) -> RunResult:
    """Return a run of the table; `extra` has __ for the point."""
    numbers = {name.replace("__", "."): value for name, value in extra.items()}
    return make_result(
        method,
        seed,
        numbers.get("before.reward", 10.0),
        protocol=TABLE,
        protocol_kwargs={"onboarding": onboarded, "later": [1600]},
        variant=f"{METHODS[method].label}, onboarding" if onboarded else "",
        extra={"before.reward": 10.0, "before.share_new": 0.0, **numbers},
    )


def turned(method: str, seed: int, *rewards: float, onboarded: bool = False, true: float | None = None) -> RunResult:
    """Return a run of the figure with these rewards at the ends of the days."""
    extra = {f"day_{day}.reward": reward for day, reward in enumerate(rewards)}
    extra |= {f"day_{day}.share_new": 0.5 for day in range(len(rewards))}
    extra |= {f"day_{day}.true_reward": true for day in range(len(rewards)) if true is not None}
    terms = {"every": 15, "arrive": 0.1, "held_back": 0.8, "n_days": len(rewards) - 1, "onboarding": onboarded}
    return make_result(
        method,
        seed,
        rewards[-1],
        protocol=DAYS,
        protocol_kwargs=terms,
        variant=f"{METHODS[method].label}, onboarding" if onboarded else "",
        extra=extra,
    )


RUNS = [
    changed("oracle", 0, added__reward=10.5, added__share_new=0.6, replaced_100__reward=10.0),
    changed(
        "hac", 0, added__reward=9.0, added__share_new=0.1, replaced_100__reward=5.0, steps_until_back=9600, is_back=0
    ),
    changed(
        "hsrl",
        1,
        True,
        added__reward=9.9,
        added__share_new=0.4,
        impressions__reward=8.0,
        known_vectors__reward=8.0,
        steps_until_seen=3200,
    ),
    changed("hsrl", 0, added__reward=9.7, added__share_new=0.02, steps_until_back=800, is_back=1),
    changed("hsrl", 1, added__reward=9.9, added__share_new=0.04, steps_until_back=2400, is_back=1),
]


def test_table_by_hand() -> None:
    table, shares = churn_sheet(RUNS).tables[0], churn_sheet(RUNS).more[0]
    heading, _, *lines = table.markdown().splitlines()
    assert heading == (
        "| Method | Before [95%] | Added [95%] | 100% replaced [95%] | 20 impressions [95%] | Known vectors [95%] "
        "| User-steps until 95% is back | Runs back |"
    )
    assert lines[2:] == [
        "| HSRL | 10.00 [10.00, 10.00] | 9.80 [9.70, 9.90] |  |  |  | 1600 [800, 2400] | 2 of 2 |",
        "| HSRL, onboarding | 10.00 [n/a] | 9.90 [n/a] |  | 8.00 [n/a] | 8.00 [n/a] |  |  |",
    ]
    assert "| HSRL, onboarding | 0.40 [n/a] |" in shares.markdown()
    frame = table.frame()
    assert frame["onboarding"].tolist() == ["False", "False", "False", "True"]
    assert frame["added_share_new_mean"].tolist() == pytest.approx([0.6, 0.1, 0.03, 0.4])


def test_notes_say_what_holds() -> None:
    notes = " ".join(churn_sheet(RUNS).tables[0].notes)
    for told in (
        "costs, gains being below zero, -5.0% (Greedy oracle), 10.0% (HAC), 2.0% (HSRL) and 1.0% (HSRL, onboarding). "
        "At most 2% does not hold for HAC.",
        "after 20 impressions an item (3,200 user-steps), the reward in percent of that with known vectors is "
        "100 (HSRL, onboarding). At least 90 holds for all.",
        "is left 100% (Greedy oracle) and 50% (HAC).",
        "0.60 of the greedy oracle's slates, and of the others' 0.10 (HAC), 0.03 (HSRL) and 0.40 (HSRL, onboarding). "
        "Half of the oracle's share does not hold for HAC and HSRL.",
        "is back in 1,600 user-steps of HSRL; the best other before it, HAC, takes 9,600 user-steps "
        "(never in 1 of 1 runs). Half as many holds.",
    ):
        assert told in notes


def test_what_a_note_cannot_say() -> None:
    """Known vectors that do worse than guesses are no reference, and a reward that is never back is not back soon."""
    runs = [
        changed("hac", 0, steps_until_back=6400, is_back=0),
        changed("hsrl", 0, steps_until_back=800, is_back=0),
        changed("hsrl", 0, True, replaced_100__reward=5.0, impressions__reward=6.0, known_vectors__reward=4.0),
    ]
    notes = " ".join(churn_sheet(runs).tables[0].notes)
    assert "is 150 (HSRL, onboarding). This says nothing for HSRL, onboarding: known vectors do worse" in notes
    assert "Half as many does not hold." in notes


def test_each_user_has_a_table() -> None:
    runs = [changed("hsrl", 0, before__true_reward=7.0, added__reward=9.0, added__true_reward=7.7)]
    learned, true = churn_sheet(runs).tables
    assert (learned.title, true.title) == (
        "ML1M: Total Reward by the `eval` user",
        "ML1M: Total Reward by the true user",
    )
    assert true.markdown().splitlines()[-1] == "| HSRL | 7.00 [n/a] | 7.70 [n/a] |"
    assert true.notes[0].startswith("Adding the new items costs, gains being below zero, -10.0% (HSRL).")
    assert "true user" in churn_sheet(runs).csv()


OVER_DAYS = [
    turned("oracle", 0, 11.0, 11.0, 11.0),
    turned("hac", 0, 7.0, 4.0, 6.0),
    turned("hac", 1, 7.0, 5.0, 7.0),
    turned("hsrl", 0, 9.0, 7.0, 9.0, true=6.0),
    turned("hsrl", 1, 9.0, 8.0, 9.0),
    turned("hsrl", 0, 9.0, 9.0, 10.0, onboarded=True),
]


def test_areas_by_hand() -> None:
    """HSRL: 8 and 8.5, HAC: 5 and 6, day 0 left out."""
    (table,) = days_sheet(OVER_DAYS).tables
    assert table.markdown().splitlines()[2:] == [
        "| Greedy oracle | 11.00 [n/a] | 11.00 [n/a] | -3.00 [n/a] |  | 0.50 [n/a] |",
        "| HAC | 7.00 [7.00, 7.00] | 5.50 [5.00, 6.00] | +2.75 [+2.50, +3.00] |  | 0.50 [0.50, 0.50] |",
        "| HSRL | 9.00 [9.00, 9.00] | 8.25 [8.00, 8.50] |  | 6.00 [n/a] | 0.50 [0.50, 0.50] |",
        "| HSRL, onboarding | 9.00 [n/a] | 9.50 [n/a] |  |  | 0.50 [n/a] |",
    ]
    assert table.notes[0] == (
        "HSRL, onboarding has the largest area, 9.50, 4.50 [n/a] ahead of HAC, the next method, paired by seed."
    )
    assert "10% of the live items retire" in days_sheet(OVER_DAYS).markdown()


def test_lines_of_the_figure() -> None:
    """A line each; solid with onboarding, dotted without, dashed for the oracle; the method's own colour."""
    (axes,) = days_figure(OVER_DAYS).axes
    looks: list[tuple[Any, Any]] = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
    colour = {name: METHODS[name].look.colour for name in ("oracle", "hac", "hsrl")}
    assert looks == [(colour["oracle"], "--"), (colour["hac"], ":"), (colour["hsrl"], ":"), (colour["hsrl"], "-")]
    assert axes.lines[1].get_ydata().tolist() == [7.0, 4.5, 6.5]
    assert {text.get_text() for text in axes.texts} == {"Greedy oracle", "HAC", "HSRL", "HSRL, onboarding"}
    assert len(axes.collections) == 4  # a band each


def test_pages_hold_tables_and_pictures() -> None:
    page = churn_page(OVER_DAYS, days_sheet(OVER_DAYS), {"Over days": days_figure(OVER_DAYS)})
    assert page.count("<svg") == 1
    assert "HSRL, onboarding has the largest area" in page
    assert "<svg" not in churn_page(RUNS, churn_sheet(RUNS), {})
    assert "share of new items" in churn_page(RUNS, churn_sheet(RUNS), {})


def test_the_oracle_does_not_compete() -> None:
    (table,) = days_sheet(OVER_DAYS[:1]).tables
    assert not any("largest area" in note for note in table.notes)


def test_who_leads_later() -> None:
    runs = [
        changed("oracle", 0, after_1600__reward=12.0),
        *(changed("hac", seed, after_1600__reward=6.0 + seed) for seed in (0, 1)),
        *(changed("hsrl", seed, after_1600__reward=8.0) for seed in (0, 1)),
        changed("hsrl", 0, True, after_1600__reward=7.5),
    ]
    assert churn_sheet(runs).tables[0].notes[0] == (
        "HSRL has the highest reward 1,600 user-steps after all items were replaced, 8.00, 1.50 [1.00, 2.00] ahead of "
        "HAC, the next method, paired by seed."
    )
