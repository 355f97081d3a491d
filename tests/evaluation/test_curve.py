"""The learning curve: the same for SB3's algorithms and for anyone's agent, and no part of the learning."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from hsrl_agent import HSRL, make_vec_env
from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.run import learn, make_eval_envs, run
from hsrl_agent.evaluation.scoring import evaluate
from hsrl_agent.evaluation.spec import RunSpec

ENV = "HSRL-RL4RS-v0"
COUNTER = '''
import numpy as np

class Counter:
    """Shows random items and counts clicks, then shows the most clicked ones; answers from the first step on or not."""
    action_mode = "item"
    answers_at_once = True

    def __init__(self, env, seed=0):
        self.env, self.generator = env, np.random.default_rng(seed)
        self.clicks = np.zeros(env.action_space.nvec[0])
        if self.answers_at_once: self.best = np.arange(4)

    def learn(self, total_timesteps):
        self.env.reset()
        for _ in range(total_timesteps // self.env.num_envs):
            items = self.generator.random((self.env.num_envs, 60)).argsort(1)[:, :4]
            _, _, _, infos = self.env.step(items)
            for shown, info in zip(items, infos): self.clicks[shown] += info["clicks"]
            if self.answers_at_once: self.best = (-self.clicks).argsort()[:4]
        self.best = (-self.clicks).argsort()[:4]

    def predict(self, observation, deterministic=True):
        return np.tile(self.best, (len(observation["profile"]), 1))

class Late(Counter): answers_at_once = False
'''


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
    method = replace(resolve("hsrl"), agent_class=agent_class, defaults={"pretrain_epochs": 0})
    for n_checkpoints in (1, 4):
        learned = learn(replace(spec, n_checkpoints=n_checkpoints), method)
        assert [point.steps for point in learned.curve] == [0, 32, 64, 96][:n_checkpoints]
        agent: Any = learned.agent
        weights.append(torch.cat([weight.flatten() for weight in agent.policy.parameters()]))
    alone = agent_class("HSRLPolicy", make_vec_env(ENV, 8, bundle=spec.bundle), seed=spec.train_seed, pretrain_epochs=0)
    alone.learn(spec.steps)
    weights.append(torch.cat([weight.flatten() for weight in alone.policy.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


def test_points_are_those_that_a_callback_of_sb3_would_have(spec: RunSpec) -> None:
    """A callback after each step of SB3's loop sees the weights that the wrapper scores."""
    players = make_eval_envs(spec, "sid")

    class Callback(BaseCallback):
        points: list[tuple[int, float]] = []  # noqa: RUF012

        def _on_training_start(self) -> None:
            self._score()

        def _on_step(self) -> bool:
            if self.num_timesteps == 64:
                self._score()
            return True

        def _score(self) -> None:
            scores = evaluate(self.model, players, spec.n_eval_episodes, spec.eval_seed)
            self.points.append((self.num_timesteps, scores.reward.mean()))

    alone = HSRL("HSRLPolicy", make_vec_env(ENV, 8, bundle=spec.bundle), seed=spec.train_seed, pretrain_epochs=1)
    callback = Callback()
    alone.learn(spec.steps, callback=callback)
    learned = learn(replace(spec, settings={"pretrain_epochs": 1}), resolve("hsrl"))
    assert [(point.steps, point.total_reward) for point in learned.curve] == callback.points


def test_someones_own_agent_has_a_curve(spec: RunSpec, plugins: Path) -> None:
    plugins.write_text(COUNTER)
    sys.modules.pop("plugins_for_tests", None)
    result = run(replace(spec, method="plugins_for_tests:Counter", n_checkpoints=4))
    assert [point.steps for point in result.curve] == [0, 32, 64, 96, 128]
    assert len({point.total_reward for point in result.curve}) > 1
    assert result.curve[-1].total_reward == result.score.total_reward
    late = run(replace(spec, method="plugins_for_tests:Late", n_checkpoints=4))  # cannot answer before it has learned
    assert [point.steps for point in late.curve] == [128]
    assert late.score == result.score


def test_an_agent_that_never_steps_has_the_last_point_alone(spec: RunSpec) -> None:
    result = run(replace(spec, method="popularity"))
    assert [point.steps for point in result.curve] == [128]
    assert result.learns_online is False
    assert result.metrics == {}


def test_progress_is_told_after_every_step(spec: RunSpec) -> None:
    steps: list[int] = []
    learn(replace(spec, settings={"pretrain_epochs": 0}), resolve("hsrl"), steps.append, with_curve=False)
    assert steps == [0, *range(8, 129, 8), 128]


def test_pretraining_counts_as_learning(spec: RunSpec) -> None:
    pretrained = run(replace(spec, settings={"pretrain_epochs": 1}))
    assert pretrained.curve[0].steps == 0
    assert 0.0 < pretrained.curve[0].seconds < pretrained.curve[1].seconds < pretrained.train_seconds


def test_what_the_agent_says_of_itself_is_noted(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsrl_agent.algorithm.LOG_EVERY", 5)
    said: list[dict[str, float]] = []

    def metrics(self: HSRL, batch: Any) -> dict[str, torch.Tensor]:
        said.append({"updates": float(self._n_updates), "nothing": float("nan")})
        return {name: torch.tensor(value) for name, value in said[-1].items()}

    monkeypatch.setattr(HSRL, "metrics", metrics)
    noted = run(replace(spec, settings={"pretrain_epochs": 0})).metrics  # 16 vector steps of 8 users, an update each
    assert noted["updates"] == [one["updates"] for one in said] == [5.0, 10.0, 15.0]
    assert noted["nothing"] == [None] * 3
    assert noted["steps"] == [48, 88, 128]  # seen at the step after the update
    assert set(noted) == {"steps", "updates", "nothing", "click_rate"}


def test_the_last_update_is_noted_too(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsrl_agent.algorithm.LOG_EVERY", 16)
    assert run(replace(spec, settings={"pretrain_epochs": 0})).metrics["steps"] == [128]


def test_the_agent_of_the_examples_has_a_curve(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    result = run(replace(spec, method="examples.my_agent:MyAgent", n_checkpoints=4))
    assert [point.steps for point in result.curve] == [0, 32, 64, 96, 128]
