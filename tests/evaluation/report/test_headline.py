"""The finding of a page: who leads, by how much, and when nobody does."""

from __future__ import annotations

from made_results import make_result

from hsrl_agent.evaluation.report.grouping import group
from hsrl_agent.evaluation.report.headline import find, page_title
from hsrl_agent.evaluation.result import RunResult


def runs(method: str, *rewards: float, **changes: object) -> list[RunResult]:
    return [make_result(method, seed, reward, **changes) for seed, reward in enumerate(rewards)]


def finding(*results: RunResult) -> tuple[str, str]:
    found = find("ML1M", group(results)["ML1M"])
    return found.title, " ".join(found.sentences)


def test_a_leader_whose_interval_is_above_zero() -> None:
    title, text = finding(*runs("sl", 8.0, 9.0, 10.0), *runs("hsrl", 9.0, 10.1, 11.2), *runs("oracle", 20.0))
    assert title == "HSRL leads on ML1M"
    assert "HSRL has the highest Total Reward, 10.10 [" in text
    assert "It is 1.10 [" in text
    assert "ahead of SL, the next, paired by seed." in text
    assert "The greedy oracle, which is told the click probabilities, has 20.00." in text
    assert text.endswith("Data: SyntheticWorld('x', seed=0). **Synthetic data, no real user.**")


def test_methods_that_are_level() -> None:
    title, text = finding(*runs("sl", 9.0, 11.0, 9.9), *runs("hsrl", 10.0, 10.0, 10.0))
    assert title == "HSRL and SL are level on ML1M"
    assert "The interval holds zero." in text


def test_two_seeds_whose_range_holds_zero() -> None:
    assert finding(*runs("sl", 9.0, 11.0), *runs("hsrl", 10.0, 10.5))[0] == "HSRL and SL are level on ML1M"


def test_few_seeds_and_an_hsrl_that_is_behind() -> None:
    real = {"source": "MovieLens"}
    title, text = finding(
        *runs("sl", 9.0, 11.0, **real), *runs("a2c", 8.0, 8.0, **real), *runs("hsrl", 2.0, 2.0, **real)
    )
    assert title == "SL is ahead on ML1M"
    assert "Two seeds have no 95% interval." in text
    assert "HSRL is number 3 of 3 with 2.00." in text
    assert "ynthetic" not in text


def test_the_true_user_may_disagree() -> None:
    _, text = finding(*runs("sl", 9.0, true=8.0), *runs("hsrl", 10.0, true=7.0))
    assert "By the true user SL is first, with 8.00." in text
    _, text = finding(*runs("sl", 9.0, true=8.0), *runs("hsrl", 10.0, true=9.0))
    assert "By the true user HSRL is also first, with 9.00." in text


def test_one_method_or_no_rival() -> None:
    assert finding(*runs("hsrl", 1.0))[0] == "HSRL on ML1M"
    assert finding(*runs("oracle", 1.0))[0] == "Only the greedy oracle ran on ML1M"
    others = [make_result("hsrl", 7, 1.0), make_result("sl", 0, 0.5)]
    assert "no seed in common" in finding(*others)[1]


def test_title_of_many_tasks() -> None:
    found = {name: find(name, group([make_result("hsrl", 0, 1.0, name)])[name]) for name in ("a", "b", "c")}
    assert page_title(found) == "Slate recommendation on 3 tasks"
    assert page_title({"a": found["a"], "b": found["b"]}) == "HSRL on a; HSRL on b"
