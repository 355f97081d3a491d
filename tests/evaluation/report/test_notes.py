"""What is said beside the tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_results import HSRL_RUNS, make_result

from hsrl_agent.evaluation.report import notes
from hsrl_agent.evaluation.report.grouping import group
from hsrl_agent.evaluation.report.text import duration, listed, numbers, thousands, to_html, to_plain


def test_one_state_of_the_code_is_named() -> None:
    assert notes.code_state(HSRL_RUNS) == "Code: commit 01234567."
    assert notes.code_state([make_result("hsrl", 0, 1.0, commit="abcdef123456-dirty")]) == (
        "Code: commit abcdef12 with changes."
    )
    assert notes.code_state([make_result("hsrl", 0, 1.0, commit=None)]) == (
        "Code: hsrl-gym of unknown version, digest c0de."
    )


def test_several_states_are_a_warning() -> None:
    runs = [make_result("hsrl", seed, 1.0, commit=f"{seed}" * 12, code=f"c{seed}") for seed in range(3)]
    assert notes.code_state(runs) == (
        "**Mixed: these rows come from 3 states of the code (00000000, 11111111, 22222222); do not compare them to the "
        "last digit.**"
    )
    same = [make_result("hsrl", seed, 1.0, commit=f"{seed}" * 12) for seed in range(2)]
    assert notes.code_state(same) == "Code: commit 00000000."  # commits that differ in what decides nothing


def test_several_versions_are_a_warning() -> None:
    old = replace(HSRL_RUNS[0].provenance, versions={"python": "3.12.1", "torch": "2.12.0"})
    assert notes.code_state([*HSRL_RUNS[:1], replace(HSRL_RUNS[1], provenance=old)]) == (
        "**Mixed: these rows come from 2 versions of torch (2.12.0, 2.13.0); do not compare them to the last digit.**"
    )
    python = replace(old, versions={**HSRL_RUNS[0].provenance.versions, "python": "3.12.1"})
    assert notes.code_state([*HSRL_RUNS[:1], replace(HSRL_RUNS[1], provenance=python)]).startswith("Code: commit")


def test_data_rules_and_missing_runs_of_a_task() -> None:
    lines = group([make_result("hsrl", seed, 3.0, "RL4RS") for seed in (0, 1)])["RL4RS"]
    assert notes.describe_task(lines, [0, 1]) == [
        "Data: users fitted to SyntheticWorld('x', seed=0). **Synthetic data, no real user.**",
        "Reward rule `sweet_point`. Slate of 9 items. 3,200 user-steps of learning. 2 seeds (0, 1), 500 sessions a "
        "seed.",
    ]
    assert notes.describe_task(lines, [0, 1, 2])[-1] == "**Runs are missing:** HSRL has 2 of 3 seeds."
    real = group([make_result("random", 0, 3.0, source="MovieLens-100K")])["ML1M"]
    data, rules = notes.describe_task(real)
    assert data == "Data: users fitted to MovieLens-100K."
    assert "user-steps" not in rules
    named = group([make_result("hsrl", 0, 3.0, settings_name="rl4rs")])["ML1M"]
    assert notes.describe_task(named)[-1] == "Settings: `rl4rs`."
    default = group([make_result("hsrl", 0, 3.0, settings_name="none")])["ML1M"]
    assert notes.describe_task(default)[-1] == "Settings: the code's defaults."
    world = group([make_result("hsrl", 0, 3.0, "World", env="HSRL-World-v0")])["World"]
    assert notes.describe_task(world)[0].startswith("Data: the true users, for learning and for scoring, of Synthetic")


@pytest.mark.parametrize(
    ("n", "part"), [(1, "One seed has none (n/a)"), (2, "the range of the two runs"), (4, "narrow")]
)
def test_intervals_are_explained_for_the_seeds_there_are(n: int, part: str) -> None:
    lines = group([make_result("hsrl", seed, 3.0) for seed in range(n)])["ML1M"]
    text = notes.describe_intervals(lines)
    assert part in text
    assert ("n/a" in text) == (n == 1)


def test_notes_for_all_tasks_fit_the_runs() -> None:
    text = " ".join(notes.general([make_result("hsrl", 0, 3.0, "RL4RS")], chance=True))
    assert "deliberate miss" in text
    assert "probability of improvement" in text
    assert "Computed on abacus." in text
    plain = " ".join(notes.general([make_result("hsrl", 0, 3.0, "World", env="HSRL-World-v0")], chance=False))
    assert "deliberate miss" not in plain
    assert "probability" not in plain
    assert "`eval`" not in plain


def test_words() -> None:
    assert to_html("a*b & `c<d` **e**") == "a*b &amp; <code>c&lt;d</code> <strong>e</strong>"
    assert to_plain("`a` **b**") == "a b"
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert [numbers(values) for values in ([3], [1, 0], [2, 1, 0], [0, 1, 4])] == ["3", "0, 1", "0 to 2", "0, 1, 4"]
    assert [duration(seconds) for seconds in (24, 300, 7500)] == ["24 s", "5 min", "2 h 5 min"]
    assert [thousands(value) for value in (500, 12_800, 1_600_000)] == ["500", "12.8k", "1.6M"]
