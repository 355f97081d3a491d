"""A run: scored on the right users, undisturbed by its checkpoints, known again by its key."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from hsrl_agent import HSRL, make_vec_env
from hsrl_agent.baselines import Oracle
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld
from hsrl_gym.users.true_user import TrueUsers
from plugins import resolve
from runner import RunSpec, evaluate, learn, make_eval_envs, run, undisturbed
from scoring import Scores, describe_codebook
from spec import eval_seed, train_seed

ENV = "HSRL-RL4RS-v0"


class Greedy:
    """Shows items that depend on the latest click, so that the sessions are worth comparing."""

    def __init__(self, as_pair: bool = True) -> None:
        self.as_pair = as_pair

    def learn(self, total_timesteps: int) -> None: ...

    def predict(self, observation: dict[str, Any], deterministic: bool = True) -> Any:
        assert deterministic
        actions = (observation["history"][:, -1:] + np.arange(4)) % 60
        return (actions, None) if self.as_pair else actions


@pytest.mark.parametrize("as_pair", [True, False])
def test_scores_are_those_of_single_sessions(spec: RunSpec, as_pair: bool) -> None:
    agent, n, seed = Greedy(as_pair), 12, eval_seed(spec)
    scores = evaluate(agent, make_eval_envs(spec, "item", n), n, seed)  # type: ignore[arg-type]
    env = gymnasium.make(ENV, bundle=spec.bundle, simulator="eval", action_mode="item")
    for index in range(n):
        observation, _ = env.reset(seed=seed + index)
        reward, depth, clicks, over = 0.0, 0, 0, False
        while not over:
            action = (observation["history"][-1] + np.arange(4)) % 60
            observation, gained, terminated, truncated, info = env.step(action)
            reward, depth, clicks = reward + float(gained), depth + 1, clicks + int(info["clicks"].sum())
            over = terminated or truncated
        assert scores.reward[index] == pytest.approx(reward)
        assert (scores.depth[index], scores.clicks[index], scores.shown[index]) == (depth, clicks, 4 * depth)
    assert len(set(scores.depth)) > 1  # or the test would not see a session counted on


def test_scores_want_one_user_a_session(spec: RunSpec) -> None:
    with pytest.raises(HsrlError, match="vector of 5 users for 6 sessions"):
        evaluate(Greedy(), make_eval_envs(spec, "item", 5), 6, 0)  # type: ignore[arg-type]


def test_same_spec_gives_the_same_row(spec: RunSpec) -> None:
    def comparable(row: dict[str, Any]) -> dict[str, Any]:
        row["curve"] = [[point[0], *point[2:]] for point in row["curve"]]
        return {name: value for name, value in row.items() if "seconds" not in name and name != "started_at"}

    first = run(spec)
    torch.rand(3), np.random.rand(3)  # noqa: NPY002  (what the process did before must not matter)
    second = run(spec)
    assert comparable(first) == comparable(second)
    third = run(replace(spec, seed=1))
    assert third["total_reward"] != first["total_reward"]


def test_row_says_what_was_run_and_how_it_went(spec: RunSpec) -> None:
    steps: list[int] = []
    row = run(spec, steps.append)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert (row["env"], row["method"], row["seed"], row["steps"]) == (ENV, "hsrl", 0, 128)
    assert [point[0] for point in row["curve"]] == [0, 64, 128]
    assert row["curve"][-1][2:] == [row["total_reward"], row["depth"]]
    # A curve begins when the agent does, so that a start from the log counts.
    assert 0.0 <= row["curve"][0][1] < row["curve"][1][1] < row["curve"][2][1] == pytest.approx(row["train_seconds"])
    assert steps[0] == 0
    assert steps[-1] == 128
    assert steps == sorted(steps)
    assert len(steps) == 1 + 128 // 8 + 1
    assert row["session"]["reward"] == "sweet_point"
    assert row["bundle"]["source"].startswith("SyntheticWorld")
    assert row["bundle"]["packaged"] is False
    assert row["total_reward_se"] > 0
    assert 0 < row["click_rate"] < 1
    assert row["versions"]["torch"] == torch.__version__


def test_a_start_from_the_log_takes_time(spec: RunSpec) -> None:
    cold, warm = (run(replace(spec, settings={"warm_start": epochs})) for epochs in (0, 8))
    assert warm["curve"][0][1] > 10 * cold["curve"][0][1]


def test_profile_over_the_steps_by_hand() -> None:
    """Three sessions of 1, 3 and 3 steps; the first step brought 0.9 in all, the third 0.5."""
    depth, zeros = np.array([1.0, 3.0, 3.0]), np.zeros(3)
    profile = Scores(zeros, depth, zeros, zeros + 1, np.array([0.9, 0.4, 0.5])).step_profile(5)
    assert profile["playing"] == pytest.approx([1.0, 2 / 3, 2 / 3, 0.0, 0.0])
    assert profile["reward"][:3] == pytest.approx([0.3, 0.2, 0.25])
    assert profile["reward"][3:] == [None, None]


def test_profile_over_the_steps_adds_up_to_the_score(spec: RunSpec) -> None:
    row = run(replace(spec, method="popularity"))
    reward, playing = row["step_profile"]["reward"], row["step_profile"]["playing"]
    assert len(reward) == len(playing) == 20
    assert playing[0] == 1.0
    assert playing == sorted(playing, reverse=True)
    assert sum(playing) == pytest.approx(row["depth"])
    gained = [mean * share for mean, share in zip(reward, playing, strict=True) if mean is not None]
    assert sum(gained) == pytest.approx(row["total_reward"])
    assert [mean is None for mean in reward] == [share == 0.0 for share in playing]


def test_the_true_user_scores_the_same_agent(
    spec: RunSpec, tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(replace(spec, method="popularity"))["true_user"] is None  # nobody knows the world "tiny"
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)
    row = run(replace(spec, method="popularity"))
    agent = resolve("popularity").make(make_vec_env(ENV, 2, bundle=spec.bundle, action_mode="item"), 0, "cpu", {})
    agent.learn(1)
    envs = make_eval_envs(spec, "item", 20, "true")
    assert isinstance(envs.sessions.core.respond, TrueUsers)
    scores = evaluate(agent, envs, 20, eval_seed(spec))
    names = ("total_reward", "total_reward_se", "depth", "depth_se", "click_rate")
    assert row["true_user"] == pytest.approx({name: scores.summary()[name] for name in names})
    assert row["true_user"]["total_reward"] != row["total_reward"]
    assert row["train_user"] is None


def test_the_oracle_asks_the_users_who_score(
    spec: RunSpec, tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the true user it is the greedy policy of the true probabilities, not of the `eval` user's."""
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)
    row = run(replace(spec, method="oracle"))
    envs = make_eval_envs(spec, "item", 20, "true")
    agent = Oracle(make_vec_env(ENV, 2, bundle=spec.bundle, action_mode="item"))
    observation, _ = envs.reset(seed=eval_seed(spec))
    first = envs.sessions.core.respond(envs.state.user, envs.state.history, agent.live.expand(20, -1))
    assert evaluate(agent, envs, 20, eval_seed(spec)).summary()["total_reward"] == row["true_user"]["total_reward"]
    envs.reset(seed=eval_seed(spec))
    best = agent.live[first.topk(envs.bundle.slate_size).indices].numpy() - 1
    np.testing.assert_array_equal(agent.asking(envs).predict(observation)[0], best)
    assert (agent.predict(observation)[0] != best).any()


def test_where_nobody_knows_the_true_user_the_train_user_scores_as_well(spec: RunSpec, tiny_bundle: Bundle) -> None:
    """The same users and the same noise, another model of their clicks."""
    row = run(replace(spec, method="popularity"))
    assert row["train_user"]["total_reward"] != row["total_reward"]
    models = {"train": tiny_bundle.simulators["train"], "eval": tiny_bundle.simulators["train"]}
    agent = resolve("popularity").make(make_vec_env(ENV, 2, bundle=spec.bundle, action_mode="item"), 0, "cpu", {})
    agent.learn(1)
    swapped = replace(tiny_bundle, simulators=models)
    scores = evaluate(agent, make_eval_envs(spec, "item", 20, bundle=swapped), 20, eval_seed(spec))
    assert row["train_user"] == pytest.approx({name: scores.summary()[name] for name in row["train_user"]})


def test_the_world_as_an_environment_of_its_own(
    spec: RunSpec, tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the true user is the one that everybody learns from and is scored by."""
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)
    learned = run(replace(spec, method="popularity"))
    row = run(replace(spec, env="HSRL-World-v0", method="popularity"))
    assert {name: row[name] for name in learned["true_user"]} == learned["true_user"]
    assert row["true_user"] is None


def test_the_true_user_comes_after_all_else(
    spec: RunSpec, tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that draws random numbers has the same score whether or not the true user is known."""
    before = run(replace(spec, method="random"))
    monkeypatch.setitem(WORLDS, "tiny", tiny_world.config)
    assert run(replace(spec, method="random"))["total_reward"] == before["total_reward"]


def test_what_the_agent_says_of_itself_is_noted(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsrl_agent.algorithm.LOG_EVERY", 5)
    said: list[dict[str, float]] = []

    def facts(self: HSRL, batch: Any) -> dict[str, torch.Tensor]:
        said.append({"updates": float(self._n_updates), "nothing": float("nan")})
        return {name: torch.tensor(value) for name, value in said[-1].items()}

    monkeypatch.setattr(HSRL, "facts", facts)
    row = run(spec)  # 16 vector steps of 8 users, an update after each
    noted = row["diagnostics"]
    assert noted["updates"] == [one["updates"] for one in said] == [5.0, 10.0, 15.0]
    assert noted["nothing"] == [None] * 3
    assert noted["steps"] == [48, 88, 128]  # seen at the step after the update
    assert set(noted) == {"steps", "updates", "nothing", "click_rate"}
    assert run(replace(spec, method="popularity"))["diagnostics"] == {}


def test_the_last_update_is_noted_too(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsrl_agent.algorithm.LOG_EVERY", 16)
    assert run(spec)["diagnostics"]["steps"] == [128]


def test_codebook_of_the_row(spec: RunSpec, tiny_bundle: Bundle) -> None:
    row = describe_codebook(tiny_bundle.codebook)
    codes = tiny_bundle.codebook.codes[1:]
    assert row["vocabulary"] == [8, 8, 8]
    for level, counts in enumerate(row["use"]):
        used = Counter(codes[:, level].tolist())
        assert counts == sorted([used[token] for token in range(8)], reverse=True)
        assert row["used_tokens"][level] == len(used)
        share = np.array(list(used.values())) / 60
        assert row["perplexity"][level] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert row["n_collisions"] == 60 - len({tuple(code) for code in codes.tolist()})
    assert run(replace(spec, method="random"))["codebook"] == row


def test_standard_error_and_click_rate_are_those_of_the_sessions(spec: RunSpec) -> None:
    chosen = replace(spec, method="popularity")
    row = run(chosen)
    method = resolve("popularity")
    agent = method.make(make_vec_env(ENV, 2, bundle=spec.bundle, action_mode="item"), 0, "cpu", {})
    agent.learn(1)
    scores = evaluate(agent, make_eval_envs(spec, "item", 20), 20, eval_seed(spec))
    assert row["total_reward"] == pytest.approx(scores.reward.mean())
    assert row["total_reward_se"] == pytest.approx(
        np.sqrt(((scores.reward - scores.reward.mean()) ** 2).sum() / 19 / 20)
    )
    assert row["click_rate"] == pytest.approx(scores.clicks.sum() / (4 * scores.depth.sum()))
    assert row["curve"] == [[128, row["train_seconds"], row["total_reward"], row["depth"]]]
    assert row["learns_online"] is False


def test_reward_rule_reaches_both_environments(spec: RunSpec) -> None:
    plain = run(replace(spec, method="random", env_kwargs={"reward": "mean_with_cost"}))
    assert plain["session"]["reward"] == "mean_with_cost"
    assert plain["total_reward"] != run(replace(spec, method="random"))["total_reward"]


class Noisy(HSRL):
    """Draws random numbers whenever it is asked for a greedy action."""

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("deterministic"):
            torch.rand(5), np.random.rand(5), random.random()  # noqa: NPY002
            self.policy.set_training_mode(False)
        return super().predict(*args, **kwargs)

    def train(self, *args: Any, **kwargs: Any) -> None:
        super().train(*args, **kwargs)
        # What another algorithm might draw while it learns:
        noise = torch.rand(1).item() + np.random.rand() + random.random()  # noqa: NPY002
        with torch.no_grad():
            next(self.policy.network.parameters()).add_(1e-3 * noise)


@pytest.mark.parametrize("agent_class", [HSRL, Noisy])
def test_checkpoints_do_not_disturb_learning(spec: RunSpec, agent_class: type[HSRL]) -> None:
    weights = []
    for n_checkpoints in (1, 4):
        chosen = replace(spec, n_checkpoints=n_checkpoints)
        agent = agent_class("HSRLPolicy", make_vec_env(ENV, 8, bundle=spec.bundle), seed=train_seed(chosen))
        learning = learn(chosen, agent, "sid", lambda steps: None)
        assert [point[0] for point in learning.curve] == [0, 32, 64, 96][:n_checkpoints]
        weights.append(torch.cat([weight.flatten() for weight in agent.policy.parameters()]))
    assert torch.equal(*weights)


def test_checkpoints_leave_the_training_mode(spec: RunSpec) -> None:
    agent = HSRL("HSRLPolicy", make_vec_env(ENV, 8, bundle=spec.bundle), seed=0)
    for mode in (True, False):
        agent.policy.set_training_mode(mode)
        with undisturbed(agent):
            agent.policy.set_training_mode(not mode)
        assert agent.policy.training is mode
        assert agent.policy.network.training is mode


def test_learning_users_are_those_of_the_seed(spec: RunSpec, plugins: Path) -> None:
    """An agent that does not seed its environment gets other users with another seed, and the same with the same."""
    plugins.write_text(
        "class Remembers:\n"
        "    action_mode = 'item'\n"
        "    def __init__(self, env, seed): self.env, self.seed = env, seed\n"
        "    def learn(self, n): self.first = self.env.reset()['profile']; SEEN.append((self.seed, self.first, n))\n"
        "    def predict(self, o, deterministic=True): return [[0, 1, 2, 3]] * len(o['profile'])\n"
        "SEEN = []\n"
    )
    rows = [run(replace(spec, method="plugins_for_tests:Remembers", seed=seed)) for seed in (0, 1, 0)]
    seen = sys.modules["plugins_for_tests"].SEEN
    assert [(seed, n) for seed, _, n in seen] == [(0, 128), (100_000, 128), (0, 128)]
    assert np.array_equal(seen[0][1], seen[2][1])
    assert not np.array_equal(seen[0][1], seen[1][1])
    assert [len(row["curve"]) for row in rows] == [1, 1, 1]
    assert rows[0]["learns_online"] is True


def test_refuses_unknown_names(spec: RunSpec, tmp_path: Path) -> None:
    with pytest.raises(HsrlError, match="unknown method 'hrsl'; did you mean hsrl"):
        run(replace(spec, method="hrsl"))
    with pytest.raises(HsrlError, match="unknown environment 'HSRL-RL4R-v0'; did you mean HSRL-RL4RS-v0"):
        run(replace(spec, env="HSRL-RL4R-v0"))
    with pytest.raises(HsrlError, match=r"no bundle\.yaml here"):
        replace(spec, bundle=str(tmp_path)).key()
    with pytest.raises(HsrlError, match="unknown setting of 'hsrl' 'gama'; did you mean gamma"):
        run(replace(spec, settings={"gama": 0.9}))
    with pytest.raises(HsrlError, match="got the setting 'temperature' for 'random', which takes none"):
        run(replace(spec, method="random", settings={"temperature": 2}))
