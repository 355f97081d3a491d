"""The protocol of the churn table: after how much learning each stage is scored, and in which catalog."""

from __future__ import annotations

import numpy as np
import pytest
from churn_runs import a_spec, watch

from hsrl_agent.evaluation import churn_table
from hsrl_agent.evaluation.churn import REWARD, Resident, entry, still
from hsrl_agent.evaluation.churn_table import (
    ADDED,
    BEFORE,
    IS_SEEN,
    KNOWN,
    MEDIAN_SEEN,
    NEVER_SEEN,
    REPLACED,
    SEEN,
    STEPS_SEEN,
    after,
)
from hsrl_agent.evaluation.run import run
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_gym.bundle.contents import Bundle


def test_stages(spec: RunSpec, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the later stages nobody has learned since, but in the branch where 60% were replaced."""
    scored = watch(monkeypatch)
    monkeypatch.setattr(churn_table, "ENOUGH", 10.0)  # never
    own = a_spec(spec, "a2c", impressions=10)
    extra = run(own).extra
    new = still(own).first_waiting(tiny_bundle)
    back = [f"{REPLACED[60]}_after_{n}" for n in (16, 32)]
    assert {stage: one.steps for stage, one in scored.items()} == {
        **dict.fromkeys((BEFORE, ADDED, *REPLACED.values(), KNOWN, SEEN), 64),
        **dict.fromkeys((back[0], after(16)), 80),
        **dict.fromkeys((back[1], after(32)), 96),
    }
    assert len({one.generator for one in scored.values() if one.steps == 64}) == 1  # draws
    assert {stage: (len(one.live & set(new)), len(one.live)) for stage, one in scored.items()} == {
        BEFORE: (0, 30),
        ADDED: (30, 60),
        REPLACED[30]: (9, 30),
        **dict.fromkeys((REPLACED[60], *back), (18, 30)),
        **dict.fromkeys((REPLACED[100], KNOWN, SEEN, after(16), after(32)), (30, 30)),
    }
    assert extra[IS_SEEN] == 1.0
    # The true vectors, and those that follow from impressions; where the agent lives, neither are known.
    guesses, old = scored[REPLACED[100]].vectors, np.setdiff1d(np.arange(61), new)
    np.testing.assert_array_equal(scored[KNOWN].vectors[new], tiny_bundle.codebook.vectors[new])
    for stage in (KNOWN, SEEN):
        np.testing.assert_array_equal(scored[stage].at_home, guesses)
        np.testing.assert_array_equal(scored[stage].vectors[old], guesses[old])
        assert (scored[stage].vectors[new] != guesses[new]).any(1).mean() > 0.5
    assert not np.allclose(scored[KNOWN].vectors, scored[SEEN].vectors)


def test_items_that_nobody_shows_are_not_waited_for(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 impressions of 30 items take 15 user-steps with slates of 4, if all slots are theirs."""
    monkeypatch.setattr(Resident, "act", lambda *_: None)
    extra = run(a_spec(spec, "sl")).extra
    assert extra[STEPS_SEEN] == 1_504  # 100 times as many, by 8 users
    assert (extra[IS_SEEN], extra[MEDIAN_SEEN], extra[NEVER_SEEN]) == (0.0, 0.0, 1.0)
    assert entry(SEEN, REWARD) in extra
