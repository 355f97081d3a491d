"""Scoring: n sessions at once are n single sessions, and what goes into a result beside the scores."""

from __future__ import annotations

from collections import Counter
from typing import Any

import gymnasium
import numpy as np
import pytest

from hsrl_agent import HSRL, make_vec_env
from hsrl_agent.baselines import GreedyOracle
from hsrl_agent.evaluation.run import make_eval_envs
from hsrl_agent.evaluation.scoring import Scores, describe_codebook, evaluate, undisturbed
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError

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
    n = 12
    scores = evaluate(Greedy(as_pair), make_eval_envs(spec, "item", n), n, spec.eval_seed)  # type: ignore[arg-type]
    env = gymnasium.make(ENV, bundle=spec.bundle, simulator="eval", action_mode="item")
    for index in range(n):
        observation, _ = env.reset(seed=spec.eval_seed + index)
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


def test_summary_by_hand() -> None:
    """Two sessions: 4 clicks on 8 items for 2 in 2 steps, 3 clicks on 4 items for 4 in 1 step."""
    scores = Scores(*(np.array(pair) for pair in ([2.0, 4.0], [2.0, 1.0], [4.0, 3.0], [8.0, 4.0], [3.0, 3.0])))
    summary = scores.summary()
    assert (summary.total_reward, summary.depth) == (3.0, 1.5)
    assert summary.total_reward_se == pytest.approx(np.sqrt(2.0) / np.sqrt(2.0))
    assert summary.depth_se == pytest.approx(np.sqrt(0.5) / np.sqrt(2.0))
    assert summary.click_rate == pytest.approx(7 / 12)
    alone = Scores(*(array[:1] for array in (scores.reward, scores.depth, scores.clicks, scores.shown)), scores.reward)
    assert alone.summary().total_reward_se is None


def test_profile_over_the_steps_by_hand() -> None:
    """Three sessions of 1, 3 and 3 steps; the first step brought 0.9 in all, the third 0.5."""
    depth, zeros = np.array([1.0, 3.0, 3.0]), np.zeros(3)
    profile = Scores(zeros, depth, zeros, zeros + 1, np.array([0.9, 0.4, 0.5])).step_profile(5)
    assert profile["playing"] == pytest.approx([1.0, 2 / 3, 2 / 3, 0.0, 0.0])
    assert profile["reward"][:3] == pytest.approx([0.3, 0.2, 0.25])
    assert profile["reward"][3:] == [None, None]


def test_the_oracle_is_bound_to_the_users_who_score(spec: RunSpec) -> None:
    """Of the `train` users it is another policy than of the `eval` users, on the same users and noise."""
    agent = GreedyOracle(make_vec_env(ENV, 2, bundle=spec.bundle, action_mode="item"))
    train, held_out = (make_eval_envs(spec, "item", 20, simulator) for simulator in ("train", "eval"))
    scores = evaluate(agent, train, 20, spec.eval_seed)
    assert (scores.reward == evaluate(agent.bind(train), train, 20, spec.eval_seed).reward).all()
    observation, _ = train.reset(seed=spec.eval_seed)
    held_out.reset(seed=spec.eval_seed)
    assert (agent.bind(train).predict(observation)[0] != agent.predict(observation)[0]).any()


def test_scoring_leaves_the_training_mode(spec: RunSpec) -> None:
    agent = HSRL("HSRLPolicy", make_vec_env(ENV, 8, bundle=spec.bundle), seed=0)
    for mode in (True, False):
        agent.policy.set_training_mode(mode)
        with undisturbed(agent):
            agent.policy.set_training_mode(not mode)
        assert agent.policy.training is mode
        assert agent.policy.network.training is mode


def test_codebook_of_a_result(tiny_bundle: Bundle) -> None:
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
