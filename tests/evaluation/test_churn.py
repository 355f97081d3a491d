"""Churn protocols: what they score, what a new item's SID may know, and that scoring teaches nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_agent.evaluation.churn import (
    CLICKS,
    REWARD,
    SHARE,
    TRUE_REWARD,
    Judges,
    Resident,
    can_follow,
    daily,
    entry,
    open_catalog,
    still,
    twin,
)
from hsrl_agent.evaluation.churn_days import PROTOCOL as DAYS
from hsrl_agent.evaluation.churn_days import day_stage
from hsrl_agent.evaluation.churn_table import (
    ADDED,
    BACK,
    BEFORE,
    IS_BACK,
    KNOWN,
    REPLACED,
    SEEN,
    STEPS_SEEN,
    Replacement,
    after,
)
from hsrl_agent.evaluation.churn_table import PROTOCOL as TABLE
from hsrl_agent.evaluation.cli import main
from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.run import learn, make_eval_envs, make_train_envs, run
from hsrl_agent.evaluation.scoring import evaluate, undisturbed
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld

TERMS = {"held_back": 0.5, "arrivals": "random", "onboarding": True}
OF_TABLE = {"impressions": 2, "later": [16, 32], "check_every": 16, "give_up": 32}
OF_DAYS = {"every": 2, "arrive": 0.2, "n_days": 2}


def settings_of(method: str) -> dict[str, Any]:
    return {"hsrl": {"pretrain_epochs": 0}, "sl": {"max_epochs": 1}, "hac": {"learning_starts": 0}}.get(method, {})


def a_spec(spec: RunSpec, method: str, **terms: Any) -> RunSpec:
    kwargs = {**TERMS, **OF_TABLE, **terms}
    quick = replace(spec, steps=64, method=method, settings=settings_of(method))
    return replace(quick, protocol=TABLE, protocol_kwargs=kwargs)


def at_home(spec: RunSpec, bundle: Bundle, **terms: Any) -> tuple[Resident, Judges]:
    """Return an agent after a little learning with half of the items held back, and its judges."""
    own = a_spec(spec, spec.method, **terms)
    method = resolve(own.method, own.settings)
    turnover = open_catalog(still(own), own, bundle)
    learned = learn(own, method, bundle=bundle, with_curve=False, catalog=turnover.catalog, onboarding={})
    new = np.isin(np.arange(bundle.n_items + 1), still(own).first_waiting(bundle))
    return Resident(learned.agent, method, learned.envs, turnover.catalog, True), Judges(own, method, bundle, new)


@pytest.fixture(scope="module")
def hsrl_run(tiny_bundle_folder: Path, tiny_world: SyntheticWorld) -> RunResult:
    """A run of HSRL through the table's protocol, the true user being known."""
    spec = RunSpec("tiny", "HSRL-RL4RS-v0", "hsrl", 0, 64, str(tiny_bundle_folder), n_envs=8, n_eval_episodes=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WORLDS, "tiny", tiny_world.config)
        return run(a_spec(spec, "hsrl"))


def test_every_stage_is_scored_by_both_users(hsrl_run: RunResult) -> None:
    stages = [BEFORE, ADDED, *REPLACED.values(), KNOWN, SEEN, after(16), after(32)]
    for stage in stages:
        assert {entry(stage, REWARD), entry(stage, TRUE_REWARD), entry(stage, SHARE)} <= hsrl_run.extra.keys()
    assert hsrl_run.score.total_reward == hsrl_run.extra[entry(BEFORE, REWARD)]
    assert hsrl_run.extra[entry(BEFORE, SHARE)] == 0.0
    assert entry(BEFORE, CLICKS) not in hsrl_run.extra  # of items that nobody was shown
    assert 0.0 < hsrl_run.extra[entry(ADDED, SHARE)] < 1.0
    assert hsrl_run.extra[STEPS_SEEN] == 16  # 2 impressions of 30 items, by 8 users with 4 slots a step
    for stage in (REPLACED[100], KNOWN, SEEN, after(32)):
        assert hsrl_run.extra[entry(stage, SHARE)] == 1.0
        assert 0.0 < hsrl_run.extra[entry(stage, CLICKS)] < 1.0


def test_steps_until_enough_is_back(hsrl_run: RunResult) -> None:
    extra = hsrl_run.extra
    steps, scores = int(extra[BACK]), [extra[entry(REPLACED[60], REWARD)]]
    scores += [extra[entry(f"{REPLACED[60]}_after_{n}", REWARD)] for n in range(16, steps + 1, 16)]
    enough = [score >= 0.95 * extra[entry(BEFORE, REWARD)] for score in scores]
    assert not any(enough[:-1])
    assert enough[-1] == bool(extra[IS_BACK])
    assert steps == 32 or enough[-1]


@pytest.mark.parametrize("method", ["oracle", "popularity"])
def test_who_never_learns_is_scored_where_something_changes(method: str, spec: RunSpec) -> None:
    extra = run(a_spec(spec, method, onboarding=False)).extra
    stages = {name.partition(".")[0] for name in extra}
    assert stages == {BEFORE, ADDED, *REPLACED.values()}
    if method == "oracle":
        assert extra[entry(ADDED, REWARD)] > extra[entry(BEFORE, REWARD)]  # more to choose from


def test_sl_gains_by_what_is_learned_of_items_alone(spec: RunSpec) -> None:
    """With onboarding it acts, so that its later scores differ; without, there is nothing to score."""
    extra = run(a_spec(spec, "sl", later=[160])).extra
    assert {entry(SEEN, REWARD), entry(after(160), REWARD), BACK} <= extra.keys()
    without = run(a_spec(spec, "sl", later=[160], onboarding=False)).extra
    assert {entry(after(160), REWARD), BACK}.isdisjoint(without)


@pytest.mark.parametrize("onboarding", [None, {}])
def test_a_click_on_a_new_item_never_reaches_its_sid_before_it_arrives(
    onboarding: dict[str, Any] | None, spec: RunSpec, tiny_bundle: Bundle
) -> None:
    """The bundle's codebook has seen its clicks. Whatever that knows of new items, they arrive at the same SIDs."""
    own = a_spec(spec, "oracle")
    held_back = still(own).first_waiting(tiny_bundle)
    book = tiny_bundle.codebook
    vectors, codes, priority = book.vectors.copy(), book.codes.copy(), book.priority.copy()
    vectors[held_back] = np.random.default_rng(0).normal(size=vectors[held_back].shape)
    codes[held_back], priority[held_back] = codes[held_back[::-1]], 9.0
    other = replace(tiny_bundle, codebook=replace(book, vectors=vectors, codes=codes, priority=priority))
    found = []
    for bundle in (tiny_bundle, other):
        catalog = open_catalog(still(own), own, bundle).catalog
        learn(own, resolve("oracle"), bundle=bundle, with_curve=False, catalog=catalog, onboarding=onboarding)
        assert set(catalog.live_items).isdisjoint(held_back)
        new = Replacement(catalog, held_back, own.seed).applied(twin(catalog), 100)
        assert set(new.live_items) == set(held_back)
        found.append((new.codes[held_back], new.vectors[held_back]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert (found[0][0] != book.codes[held_back]).any()


def test_scoring_teaches_nothing(spec: RunSpec, tiny_bundle: Bundle) -> None:
    """Neither the catalog, nor what is believed of items, nor the agent: it learns on as if nobody had scored it."""
    (scored, judges), (other, _) = at_home(spec, tiny_bundle), at_home(spec, tiny_bundle)
    held_back = still(judges.spec).first_waiting(tiny_bundle)
    for resident in (scored, other):
        torch.manual_seed(0)
        resident.catalog.change(arrive=held_back)
        resident.live(64)
    onboarder = scored.envs.get_attr("sessions")[0].onboarder
    version, seen = scored.catalog.version, onboarder.impressions.clone()
    assert int(seen.sum()) > 0
    beliefs = [one.clone() for one in onboarder.beliefs.posterior(torch.arange(1, tiny_bundle.n_items + 1))]
    for stage, catalog in (("here", None), ("there", Replacement(scored.catalog, held_back[:0], 0))):
        judges.score(stage, scored, None if catalog is None else catalog.applied(twin(scored.catalog), 30))
    assert scored.catalog.version == version
    assert torch.equal(onboarder.impressions, seen)
    for before, now in zip(beliefs, onboarder.beliefs.posterior(torch.arange(1, tiny_bundle.n_items + 1)), strict=True):
        assert torch.equal(before, now)
    states = []
    for resident in (scored, other):
        torch.manual_seed(0)
        resident.live(64)
        agent: Any = resident.agent
        states.append(agent.policy.network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("method", ["a2c", "hac", "hsrl"])
def test_a_branch_learns_as_the_agent_would_and_leaves_it_alone(
    method: str, spec: RunSpec, tiny_bundle: Bundle
) -> None:
    home, _ = at_home(replace(spec, method=method), tiny_bundle)
    branch = home.branch(tiny_bundle)
    first: Any = home.agent
    copied: Any = branch.agent
    assert copied.policy.catalog is branch.catalog is branch.envs.get_attr("catalog")[0] is not home.catalog
    untouched = {name: weight.clone() for name, weight in first.policy.state_dict().items()}
    with undisturbed(first):
        branch.live(32)
    version = home.catalog.version
    assert all(torch.equal(untouched[name], weight) for name, weight in first.policy.state_dict().items())
    with undisturbed(first):
        home.live(32)
    assert first.num_timesteps == copied.num_timesteps == 96
    learned = copied.policy.state_dict()
    assert any(not torch.equal(untouched[name], weight) for name, weight in learned.items())
    assert all(torch.equal(learned[name], weight) for name, weight in first.policy.state_dict().items())
    branch.catalog.change(arrive=still(a_spec(spec, method)).first_waiting(tiny_bundle))
    assert home.catalog.version == version


def test_later_lives_neither_pretrain_nor_warm_up_again(spec: RunSpec, tiny_bundle: Bundle) -> None:
    own = replace(a_spec(spec, "hsrl"), settings={"pretrain_epochs": 1, "critic_warmup_steps": 10})
    method = resolve("hsrl", own.settings)
    catalog = open_catalog(still(own), own, tiny_bundle).catalog
    learned = learn(own, method, bundle=tiny_bundle, with_curve=False, catalog=catalog)
    agent: Any = learned.agent
    resident = Resident(agent, method, learned.envs, catalog, False)
    assert agent.in_critic_warmup()  # 8 of 10 vector steps
    agent.pretrain = None  # calling it would raise
    resident.live(32)
    assert not agent.in_critic_warmup()
    assert agent.num_timesteps == 96
    assert agent.policy.optimizer.param_groups[0]["lr"] == agent.learning_rate


def test_the_more_is_replaced_the_same_items_go_first(spec: RunSpec, tiny_bundle: Bundle) -> None:
    own = a_spec(spec, "oracle")
    catalog, held_back = open_catalog(still(own), own, tiny_bundle).catalog, still(own).first_waiting(tiny_bundle)
    plan = Replacement(catalog, held_back, own.seed)
    live = [set(plan.applied(twin(catalog), percent).live_items) for percent in (0, 30, 60, 100)]
    assert [len(one & set(held_back)) for one in live] == [0, 9, 18, 30]
    assert {len(one) for one in live} == {30}
    assert live[1] & set(held_back) < live[2] & set(held_back)
    assert live[1] & live[0] > live[2] & live[0]


def test_days(spec: RunSpec) -> None:
    """Each day has its own catalog and one score; the curve ends with the last one."""
    own = replace(a_spec(spec, "a2c"), protocol=DAYS, protocol_kwargs={**TERMS, **OF_DAYS})
    result = run(own)
    assert [point.steps for point in result.curve] == [0, 16, 32]
    rewards = [result.extra[entry(day_stage(day), REWARD)] for day in range(3)]
    assert [point.total_reward for point in result.curve] == rewards
    assert result.score.total_reward == rewards[-1]
    shares = [result.extra[entry(day_stage(day), SHARE)] for day in range(3)]
    assert shares[0] == 0.0 < shares[1] < 1.0


def test_a_day_replaces_its_share(spec: RunSpec, tiny_bundle: Bundle) -> None:
    own = replace(a_spec(spec, "oracle"), protocol_kwargs={**TERMS, **OF_DAYS})
    turnover = open_catalog(daily(own), own, tiny_bundle)
    before = set(turnover.catalog.live_items)
    turnover.pass_time(0.0)
    assert turnover.catalog.version == 0
    turnover.pass_time(0.0)
    now = set(turnover.catalog.live_items)
    assert (len(before), len(now), len(now - before)) == (30, 30, 6)


def test_watched_items_are_counted_while_users_play(spec: RunSpec, tiny_bundle: Bundle) -> None:
    """All items watched: all slots and all clicks of the sessions. Some: those of popularity's only slate."""
    envs = make_eval_envs(spec, "item", 20, catalog=Catalog(tiny_bundle.codebook, tiny_bundle.slate_size))
    agent: Any = resolve("popularity").make(make_train_envs(spec, "item"), 0)
    agent.learn(1)
    everything = np.ones(tiny_bundle.n_items + 1, dtype=bool)
    scores = evaluate(agent, envs, 20, spec.eval_seed, everything)
    assert (scores.watched_shown, scores.watched_clicks) == (scores.shown.sum(), scores.clicks.sum())
    first = np.zeros_like(everything)
    first[agent.predict(envs.reset(seed=0)[0])[0][0][0] + 1] = True
    assert evaluate(agent, envs, 20, spec.eval_seed, first).watched_shown == scores.depth.sum()
    assert evaluate(agent, envs, 20, spec.eval_seed).watched_shown == 0


def test_methods_that_cannot_follow_a_catalog() -> None:
    assert {name for name, method in METHODS.items() if not can_follow(method)} == {"ddpg", "td3"}


@pytest.mark.slow
def test_the_table_as_it_is_called(
    tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second call finds the runs, and the results know what they are."""
    call = ["compare", "--table", "churn", "--envs", "HSRL-RL4RS-v0", f"--bundle=HSRL-RL4RS-v0={tiny_bundle_folder}"]
    call += ["--methods=oracle,popularity", "--seeds=0", "--episodes=20", "--jobs=1", "--out", str(tmp_path / "out")]
    assert main(call) == 0
    assert "2 runs: 2 to do" in capsys.readouterr().out
    assert main(call) == 0
    assert "2 found finished" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "out"), "--out", str(tmp_path / "again")]) == 0
    for name in ("churn.md", "churn.csv", "report.html"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
