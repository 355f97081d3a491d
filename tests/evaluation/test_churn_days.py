"""The protocol of the churn figure: a day is a change of the catalog, learning, and a score."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from churn_runs import OF_DAYS, TERMS, a_spec, watch

from hsrl_agent.evaluation.churn import REWARD, SHARE, daily, entry, open_catalog
from hsrl_agent.evaluation.churn_days import PROTOCOL, day_stage
from hsrl_agent.evaluation.run import run
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_gym.bundle.contents import Bundle


def test_days(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each day has its own catalog, its learning and one score; the curve ends with the last one."""
    scored = watch(monkeypatch)
    own = replace(a_spec(spec, "a2c"), protocol=PROTOCOL, protocol_kwargs={**TERMS, **OF_DAYS})
    result = run(own)
    assert [point.steps for point in result.curve] == [0, 16, 32]
    rewards = [result.extra[entry(day_stage(day), REWARD)] for day in range(3)]
    assert [point.total_reward for point in result.curve] == rewards
    assert result.score.total_reward == rewards[-1]
    shares = [result.extra[entry(day_stage(day), SHARE)] for day in range(3)]
    assert shares[0] == 0.0 < shares[1] < 1.0
    assert [one.steps for one in scored.values()] == [64, 80, 96]
    live = [one.live for one in scored.values()]
    assert [len(now - before) for before, now in pairwise(live)] == [6, 6]


def test_those_who_learn_from_the_log_act_all_day(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """With onboarding, and so items become known."""
    scored = watch(monkeypatch)
    terms = {**TERMS, **OF_DAYS, "every": 10, "n_days": 1}
    run(replace(a_spec(spec, "sl"), protocol=PROTOCOL, protocol_kwargs=terms))
    before, now = scored.values()
    moved = (before.vectors != now.vectors).any(1).nonzero()[0]
    assert len(moved)
    assert set(moved) <= now.live - before.live


def test_a_day_replaces_its_share(spec: RunSpec, tiny_bundle: Bundle) -> None:
    own = replace(a_spec(spec, "oracle"), protocol_kwargs={**TERMS, **OF_DAYS})
    turnover = open_catalog(daily(own), own, tiny_bundle)
    before = set(turnover.catalog.live_items)
    turnover.pass_time(0.0)
    assert turnover.catalog.version == 0
    turnover.pass_time(0.0)
    now = set(turnover.catalog.live_items)
    assert (len(before), len(now), len(now - before)) == (30, 30, 6)
