"""Churn protocols: what they score, what a new item's SID may know, and that scoring teaches nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from churn_runs import a_spec, at_home
from torch import Tensor

from hsrl_agent.evaluation.churn import (
    CLICKS,
    REWARD,
    SHARE,
    TRUE_REWARD,
    Resident,
    can_follow,
    entry,
    open_catalog,
    still,
    twin,
)
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
    states = []
    for is_scored in (False, True):
        torch.manual_seed(0)
        resident, judges = at_home(spec, tiny_bundle)
        held_back = still(judges.spec).first_waiting(tiny_bundle)
        resident.catalog.change(arrive=held_back)
        resident.live(64)
        if is_scored:
            before = what_is_known(resident)
            judges.score("here", resident)
            less = Replacement(resident.catalog, held_back[:0], 0).applied(twin(resident.catalog), 30)
            judges.score("there", resident, less)
            for one, other in zip(before, what_is_known(resident), strict=True):
                assert torch.equal(one, other)
            assert int(before[1].sum()) > 0  # impressions
        resident.live(64)
        agent: Any = resident.agent
        states.append(agent.policy.network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def what_is_known(resident: Resident) -> list[Tensor]:
    """Return the version of the catalog, the impressions, and what is believed of items."""
    onboarder = resident.envs.get_attr("sessions")[0].onboarder
    beliefs = onboarder.beliefs.posterior(torch.arange(1, resident.catalog.n_items + 1))
    return [torch.tensor(resident.catalog.version), *(one.clone() for one in (onboarder.impressions, *beliefs))]


def draw() -> tuple[float, float, float]:
    """Return a number from each global generator; SB3's replay buffers draw from NumPy's."""
    return float(torch.rand(1)), np.random.rand(), random.random()  # noqa: NPY002


def test_scoring_takes_no_draw_and_no_dropout_from_learning(spec: RunSpec, tiny_bundle: Bundle) -> None:
    """Even where who acts draws from the global generators, and switches dropout off."""
    resident, judges = at_home(spec, tiny_bundle)
    agent: Any = resident.agent
    greedy = agent.predict

    def careless(*args: Any, **settings: Any) -> Any:
        draw()
        agent.policy.train(False)
        return greedy(*args, **settings)

    agent.predict = careless
    agent.policy.train()
    drawn = []
    for stage in (None, "here", "there"):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        if stage is not None:
            judges.score(stage, resident)
        assert agent.policy.training
        drawn.append(draw())
    assert drawn[0] == drawn[1] == drawn[2]


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
