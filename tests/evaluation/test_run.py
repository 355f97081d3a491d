"""A run: the same spec gives the same result, scored on the right users by the right judges."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_agent import make_vec_env
from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.run import make_eval_envs, run
from hsrl_agent.evaluation.scoring import Scores, describe_codebook, evaluate
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld
from hsrl_gym.users.true_user import TrueUsers

ENV = "HSRL-RL4RS-v0"
REMEMBERS = """
SEEN = []

class Remembers:
    action_mode = 'item'
    def __init__(self, env, seed): self.env, self.seed = env, seed
    def learn(self, n): self.first = self.env.reset()['profile']; SEEN.append((self.seed, self.first, n))
    def predict(self, o, deterministic=True): return [[0, 1, 2, 3]] * len(o['profile'])
"""
EDITS = """
class Edits:
    action_mode = 'item'
    def __init__(self, env, seed): ...
    def learn(self, n):
        with open(__file__, 'a') as file: file.write('# changed')
    def predict(self, o, deterministic=True): return [[0, 1, 2, 3]] * len(o['profile'])
"""
PROTOCOL = """
import torch
from hsrl_agent.evaluation.run import learn_and_score
from dataclasses import replace

def halve(spec, progress):
    result = learn_and_score(spec, progress)
    share = spec.protocol_kwargs["share"]
    return replace(result, extra={"half": share * result.score.depth, "threads": torch.get_num_threads()})
"""


@pytest.fixture
def quick(spec: RunSpec) -> RunSpec:
    """A run that does not pretrain."""
    return replace(spec, settings={"pretrain_epochs": 0})


def scores_of_popularity(spec: RunSpec, **users: Any) -> Scores:
    agent = resolve("popularity").make(make_vec_env(ENV, 2, bundle=spec.bundle, action_mode="item"), 0)
    agent.learn(1)
    return evaluate(agent, make_eval_envs(spec, "item", 20, **users), 20, spec.eval_seed)


def test_same_spec_gives_the_same_result(quick: RunSpec) -> None:
    def comparable(result: RunResult) -> dict[str, Any]:
        row = result.to_dict()
        row["curve"] = [[point[0], *point[2:]] for point in row["curve"]]
        row["provenance"] = {**row["provenance"], "started_at": ""}
        return {name: value for name, value in row.items() if "seconds" not in name}

    first = run(quick)
    torch.rand(3), np.random.rand(3)  # noqa: NPY002  (what the process did before must not matter)
    second = run(quick)
    assert comparable(first) == comparable(second)
    assert run(replace(quick, seed=1)).score != first.score


def test_result_says_what_was_run_and_how_it_went(quick: RunSpec) -> None:
    result = run(quick)
    assert RunResult.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result
    assert result.spec == quick
    assert result.key == quick.key()
    assert [point.steps for point in result.curve] == [0, 64, 128]
    last = result.curve[-1]
    assert (last.total_reward, last.depth) == (result.score.total_reward, result.score.depth)
    assert last.seconds == pytest.approx(result.train_seconds)
    assert result.session["reward"] == "sweet_point"
    assert result.data.source.startswith("SyntheticWorld")
    assert (result.data.name, result.data.packaged) == ("tiny", None)
    assert result.provenance.versions["torch"] == torch.__version__
    assert result.learns_online is True


def test_scores_are_those_of_the_held_out_users(spec: RunSpec, tiny_bundle: Bundle) -> None:
    result = run(replace(spec, method="popularity"))
    assert result.score == scores_of_popularity(spec).summary()
    assert result.codebook == describe_codebook(tiny_bundle.codebook)
    reward, playing = result.step_profile["reward"], result.step_profile["playing"]
    assert len(reward) == len(playing) == 20
    assert sum(share for share in playing if share) == pytest.approx(result.score.depth)
    gained = [mean * share for mean, share in zip(reward, playing, strict=True) if mean is not None and share]
    assert sum(gained) == pytest.approx(result.score.total_reward)


def test_a_run_has_one_thread(spec: RunSpec, plugins: Path) -> None:
    """However many the process has; they are restored."""
    plugins.write_text(PROTOCOL)
    sys.modules.pop("plugins_for_tests", None)
    own = replace(
        spec, method="popularity", protocol="plugins_for_tests:halve", protocol_kwargs={"share": 0.5}, settings={}
    )
    torch.set_num_threads(2)
    try:
        result = run(own)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert result.extra == {"half": result.score.depth / 2, "threads": 1}


def test_the_true_user_scores_the_same_agent(
    spec: RunSpec, tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(replace(spec, method="popularity")).true_score is None  # nobody knows the world "tiny"
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)
    result = run(replace(spec, method="popularity"))
    assert isinstance(make_eval_envs(spec, "item", 20, "true").sessions.core.respond, TrueUsers)
    assert result.true_score == scores_of_popularity(spec, simulator="true").summary() != result.score
    assert result.train_score is None


def test_where_nobody_knows_the_true_user_the_train_user_scores_as_well(spec: RunSpec, tiny_bundle: Bundle) -> None:
    """The same users and the same noise, another model of their clicks."""
    result = run(replace(spec, method="popularity"))
    models = {"train": tiny_bundle.simulators["train"], "eval": tiny_bundle.simulators["train"]}
    swapped = replace(tiny_bundle, simulators=models)
    assert result.train_score == scores_of_popularity(spec, bundle=swapped).summary() != result.score


def test_the_oracle_asks_the_users_who_score(
    spec: RunSpec, tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the true user it is the greedy policy of the true probabilities, so that nobody beats it there at once."""
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)
    result = run(replace(spec, method="oracle"))
    envs = make_eval_envs(spec, "item", 20, "true")
    agent: Any = resolve("oracle").make(make_vec_env(ENV, 2, bundle=spec.bundle, action_mode="item"), 0)
    observation, _ = envs.reset(seed=spec.eval_seed)
    live = torch.as_tensor(envs.catalog.live_items)
    probability = envs.sessions.core.respond(envs.state.user, envs.state.history, live.expand(20, -1))
    best = live[probability.topk(envs.bundle.slate_size).indices].numpy() - 1
    np.testing.assert_array_equal(agent.bind(envs).predict(observation)[0], best)
    assert evaluate(agent, envs, 20, spec.eval_seed).summary() == result.true_score


def test_the_world_as_an_environment_of_its_own(
    spec: RunSpec, tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the true user is the one that everybody learns from and is scored by."""
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)
    learned = run(replace(spec, method="popularity"))
    world = run(replace(spec, env="HSRL-World-v0", method="popularity"))
    assert world.score == learned.true_score
    assert world.true_score is None


def test_the_true_user_comes_after_all_else(
    spec: RunSpec, tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that draws random numbers has the same score whether or not the true user is known."""
    before = run(replace(spec, method="random"))
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)
    assert run(replace(spec, method="random")).score == before.score


def test_reward_rule_reaches_the_users(spec: RunSpec) -> None:
    plain = run(replace(spec, method="random", env_kwargs={"reward": "mean_with_cost"}))
    assert plain.session["reward"] == "mean_with_cost"
    assert plain.score != run(replace(spec, method="random")).score


def test_learning_users_are_those_of_the_seed(spec: RunSpec, plugins: Path) -> None:
    """An agent that does not seed its environment gets other users with another seed, and the same with the same."""
    plugins.write_text(REMEMBERS)
    sys.modules.pop("plugins_for_tests", None)
    for seed in (0, 1, 0):
        run(replace(spec, method="plugins_for_tests:Remembers", seed=seed))
    seen = sys.modules["plugins_for_tests"].SEEN
    assert [(seed, n) for seed, _, n in seen] == [(0, 128), (100_000, 128), (0, 128)]
    assert np.array_equal(seen[0][1], seen[2][1])
    assert not np.array_equal(seen[0][1], seen[1][1])


def test_refuses_unknown_names(spec: RunSpec, tmp_path: Path) -> None:
    for change, message in (
        ({"method": "hrsl"}, "unknown method 'hrsl'; did you mean hsrl"),
        ({"env": "HSRL-RL4R-v0"}, "unknown environment 'HSRL-RL4R-v0'; did you mean HSRL-RL4RS-v0"),
        ({"protocol": "nowhere_at_all:f"}, "protocol 'nowhere_at_all:f': no module 'nowhere_at_all'"),
        ({"settings": {"gama": 0.9}}, "unknown setting of 'hsrl' 'gama'; did you mean gamma"),
    ):
        with pytest.raises(HsrlError, match=message):
            run(replace(spec, **change))
    with pytest.raises(HsrlError, match=r"no bundle\.yaml here"):
        replace(spec, bundle=str(tmp_path)).key()


def test_a_file_edited_during_the_run_spoils_it(spec: RunSpec, plugins: Path) -> None:
    """The key would be that of a source which nobody ran."""
    plugins.write_text(EDITS)
    sys.modules.pop("plugins_for_tests", None)
    own = replace(spec, method="plugins_for_tests:Edits", settings={})
    with pytest.raises(HsrlError, match="source changed during the run or since it was planned"):
        run(own)


def test_a_file_edited_after_its_import_cannot_be_run(spec: RunSpec, plugins: Path) -> None:
    own = replace(spec, method="plugins_for_tests:Items", settings={})
    planned = own.key()
    plugins.write_text(plugins.read_text() + "# changed\n")
    for key in (None, planned, own.key()):
        with pytest.raises(HsrlError, match="source changed"):
            run(own, key=key)


def test_the_code_edited_during_the_run_spoils_it(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["before", "after"])
    monkeypatch.setattr("hsrl_agent.evaluation.provenance.code_digest", lambda: "before")
    monkeypatch.setattr("hsrl_agent.evaluation.provenance.digest_on_disk", lambda: next(states))
    with pytest.raises(HsrlError, match="source changed"):
        run(replace(spec, method="popularity"))


def test_a_run_keeps_the_key_it_was_planned_with(spec: RunSpec) -> None:
    own = replace(spec, method="popularity")
    assert run(own, key=own.key()).key == own.key()
    with pytest.raises(HsrlError, match="source or bundle changed"):
        run(own, key="another")
