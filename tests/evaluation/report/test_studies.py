"""Tables of studies: Table 3, Figure 5, catalog sizes."""

from __future__ import annotations

import inspect

import pytest
from made_results import make_result

from hsrl_agent.evaluation.report.catalog import catalog_figure, catalog_sheet
from hsrl_agent.evaluation.report.study import groups_of, study_sheet
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.hsrl import HSRL
from hsrl_gym.errors import HsrlError


def variant(name: str, seed: int, reward: float, task: str = "RL4RS", **changes: object) -> RunResult:
    return make_result("hsrl", seed, reward, task, variant=name, **changes)


def swept(panel: str, value: float, reward: float) -> RunResult:
    return variant(f"{panel} = {value:g}", 0, reward, protocol_kwargs={"panel": panel, "value": value})


def test_table_3_by_hand() -> None:
    """Seeds 0, 1: HSRL 10 and 12, without entropy 9 and 10: -1.5, that is -13.6% of 11, and 1 of 4 pairs is a tie."""
    runs = [variant("", 0, 10.0), variant("", 1, 12.0), variant("w/o entropy", 0, 9.0), variant("w/o entropy", 1, 10.0)]
    (table,) = study_sheet("table3", runs).tables
    assert [column.heading for column in table.shown()][-2:] == ["Paper: reward, %", "Paper: depth, %"]
    full, without = table.markdown().splitlines()[2:]
    assert full == "| HSRL (full) | 11.00 [10.00, 12.00] | 12.00 [11.00, 13.00] |  |  |  |  |  |"
    assert without == (
        "| w/o entropy | 9.50 [9.00, 10.00] | 10.50 [10.00, 11.00] | -1.50 [-2.00, -1.00] | -13.6 | 0.88 "
        "| -20.7 | -17.1 |"
    )
    assert "its Table 3" in study_sheet("table3", runs).markdown()


def test_the_paper_s_changes_stand_only_beside_its_data() -> None:
    runs = [variant("", 0, 10.0, "ML1M"), variant("w/o entropy", 0, 9.0, "ML1M")]
    assert "Paper" not in study_sheet("table3", runs).markdown()


def test_changes_by_the_true_user_are_paired_by_the_seeds_that_it_scored() -> None:
    runs = [variant("", seed, 10.0, true=8.0 + seed) for seed in (0, 1)]
    runs += [variant("w/o entropy", 0, 9.0, true=6.0), variant("w/o entropy", 1, 9.0)]
    (table,) = study_sheet("table3", runs).tables
    line = table.lines[1].summary
    assert line.true_reward is not None
    assert line.true_to_reference is not None
    assert (line.true_reward.mean, line.true_to_reference.mean) == (6.0, -2.0)
    assert "| 6.00 [n/a] | -2.00 [n/a] |" in table.markdown()


def test_panels_of_figure_5() -> None:
    """HSRL as it is stands in every panel: by its codebook, its settings, or the default of the code."""
    full = variant("", 0, 10.0, codebook={"vocabulary": [64, 64, 64]}, settings={"bc_weight": 0.5})
    runs = [full, swept("vocabulary", 128, 9.0), swept("vocabulary", 16, 8.0), swept("levels", 2, 6.0)]
    runs += [swept("entropy weight", 0.3, 7.0), swept("bc weight", 1.0, 5.0)]
    panels = groups_of(runs, lambda run: run.score.total_reward)
    assert panels["vocabulary"] == [(16.0, [8.0]), (64.0, [10.0]), (128.0, [9.0])]
    assert panels["levels"] == [(2.0, [6.0]), (3.0, [10.0])]
    default = inspect.signature(HSRL).parameters["entropy_weight"].default
    assert panels["entropy weight"] == [(default, [10.0]), (0.3, [7.0])]
    assert panels["bc weight"] == [(0.5, [10.0]), (1.0, [5.0])]
    frame = study_sheet("figure5", runs).tables[0].frame()
    assert frame["panel"].tolist()[1:] == ["vocabulary", "vocabulary", "levels", "entropy weight", "bc weight"]
    with pytest.raises(HsrlError, match="got the panel 'colour'"):
        groups_of([full, swept("colour", 1, 2.0)], lambda run: run.score.depth)


def sized(method: str, n_items: int, reward: float, true: float | None = None, seed: int = 0) -> RunResult:
    return make_result(method, seed, reward, f"ML1M, {n_items}", true=true, protocol_kwargs={"n_items": n_items})


def test_a_column_for_each_size_and_a_table_for_each_user() -> None:
    runs = [sized("hsrl", 300, 9.0, 8.0), sized("hsrl", 300, 10.0, 8.5, seed=1), sized("hsrl", 1000, 11.0, 10.0)]
    runs.append(sized("sl", 1000, 7.0))
    learned, true = catalog_sheet(runs).tables
    assert learned.markdown().splitlines() == [
        "| Method | 300 items [95%] | 1,000 items [95%] |",
        "| --- | ---: | ---: |",
        "| SL |  | 7.00 [n/a] |",
        "| HSRL | 9.50 [9.00, 10.00] | 11.00 [n/a] |",
    ]
    assert true.markdown().splitlines()[2:] == ["| HSRL | 8.25 [8.00, 8.50] | 10.00 [n/a] |"]
    panels = catalog_figure(runs).axes
    assert [panel.get_title() for panel in panels] == ["by the learned user", "by the true user"]
    assert panels[0].lines[1].get_xdata().tolist() == [300, 1000]
    assert len(catalog_figure([sized("sl", 300, 7.0)]).axes) == 1  # nobody asked the true user


def test_a_run_that_does_not_say_its_size() -> None:
    with pytest.raises(HsrlError, match="without n_items in protocol_kwargs"):
        catalog_sheet([make_result("hsrl", 0, 1.0)])
