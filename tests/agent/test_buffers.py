"""The replay buffer keeps what was shown and clicked, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_agent import HSRL, make_vec_env
from hsrl_agent.buffers import SlateReplayBuffer
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError


def fill(bundle: Bundle, n_steps: int = 7, n_envs: int = 3, **settings: Any) -> tuple[SlateReplayBuffer, list[Any]]:
    """Return a buffer after random steps, and those steps as (obs, next obs, reward, done, infos)."""
    env = make_vec_env("HSRL-ML1M-v0", n_envs, seed=0, bundle=bundle, **settings)
    buffer = SlateReplayBuffer(
        100 * n_envs, env.observation_space, env.action_space, seed=0, device="cpu", n_envs=n_envs
    )
    env.action_space.seed(0)
    observation, steps = env.reset(), []
    for _ in range(n_steps):
        action = np.stack([env.action_space.sample() for _ in range(n_envs)])
        after, reward, done, infos = env.step(action)
        last = {name: values.copy() for name, values in after.items()}
        for index in np.flatnonzero(done):
            for name in last:
                last[name][index] = infos[index]["terminal_observation"][name]
        buffer.add(observation, last, action, reward, done, infos)
        steps.append((observation, last, reward, done, infos))
        observation = after
    return buffer, steps


def test_samples_are_rows_that_were_added(toy_world: Bundle) -> None:
    buffer, steps = fill(toy_world)
    known = {
        (
            observation["profile"][i].tobytes(),
            observation["history"][i].tobytes(),
            after["history"][i].tobytes(),
            tuple(infos[i]["slate"].tolist()),
            tuple(infos[i]["clicks"].tolist()),
            float(np.float32(reward[i])),
        )
        for observation, after, reward, _, infos in steps
        for i in range(3)
    }
    batch = buffer.sample(200)
    seen = {
        (
            batch.observations["profile"][i].numpy().tobytes(),
            batch.observations["history"][i].numpy().tobytes(),
            batch.next_observations["history"][i].numpy().tobytes(),
            tuple(batch.slates[i].tolist()),
            tuple(int(click) for click in batch.clicks[i]),
            float(batch.rewards[i]),
        )
        for i in range(200)
    }
    assert seen == known  # nothing mixed between rows, and everything can be drawn


def test_a_session_cut_at_the_horizon_is_not_terminated(toy_world: Bundle) -> None:
    buffer, steps = fill(toy_world, n_steps=8, max_steps=3, initial_patience=1000.0)
    assert sum(done.sum() for *_, done, _ in steps) == 6
    assert buffer.sample(200).terminated.sum() == 0
    buffer, steps = fill(toy_world, n_steps=8, initial_patience=1.5)  # everybody leaves at once
    assert buffer.sample(200).terminated.mean() == 1


def test_ids_are_kept_small(toy_world: Bundle) -> None:
    """100,000 transitions of the paper's shape (H 50, P 42, K 9, L 3) stay below 100 MB."""
    env = make_vec_env("HSRL-ML1M-v0", 2, bundle=toy_world)
    buffer = SlateReplayBuffer(2000, env.observation_space, env.action_space, device="cpu", n_envs=2)
    assert buffer.columns["history"].dtype == torch.int32
    paper = {"history": 50, "next_history": 50, "profile": 42, "next_profile": 42, "slate": 9, "clicks": 9}
    n_bytes = sum(column.element_size() * paper.get(name, 1) for name, column in buffer.columns.items())
    assert 100_000 * n_bytes < 100e6


def test_the_oldest_steps_are_overwritten(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 2, seed=0, bundle=toy_world)
    buffer = SlateReplayBuffer(6, env.observation_space, env.action_space, device="cpu", n_envs=2)
    observation = env.reset()
    info = {"slate": np.array([1, 2]), "clicks": np.array([1, 0]), "patience": 9.0, "patience_before": 11.0}
    for step in range(5):
        buffer.add(observation, observation, np.zeros((2, 4)), np.full(2, float(step)), np.zeros(2), [info, info])
        assert buffer.size() == min(step + 1, 3)
    drawn = buffer.sample(200)
    assert sorted(drawn.rewards.unique().tolist()) == [2.0, 3.0, 4.0]
    assert (drawn.patience.unique().tolist(), drawn.next_patience.unique().tolist()) == ([11.0], [9.0])


def test_same_seed_same_samples(toy_world: Bundle) -> None:
    one, _ = fill(toy_world)
    other, _ = fill(toy_world)
    assert torch.equal(one.sample(20).slates, other.sample(20).slates)


def test_an_environment_without_clicks_is_refused(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 2, bundle=toy_world)
    model = HSRL("HSRLPolicy", env, device="cpu")
    observation = env.reset()
    with pytest.raises(HsrlError, match="expected slate, clicks, patience, patience_before as well"):
        model.replay_buffer.add(observation, observation, np.zeros((2, 4)), np.zeros(2), np.zeros(2), [{}, {}])


def test_a_saved_buffer_is_read_again(toy_world: Bundle, tmp_path: Path) -> None:
    model = HSRL("HSRLPolicy", make_vec_env("HSRL-ML1M-v0", 4, seed=0, bundle=toy_world), device="cpu", seed=0)
    model.learn(4 * 5)
    model.save_replay_buffer(tmp_path / "buffer")
    kept = {name: column.clone() for name, column in model.replay_buffer.columns.items()}
    model.learn(4 * 5)
    model.load_replay_buffer(tmp_path / "buffer")
    assert all(torch.equal(model.replay_buffer.columns[name], column) for name, column in kept.items())
    assert model.replay_buffer.size() == 5
    model.replay_buffer.device = torch.device("meta")  # what SB3 does for another device
    assert {column.device.type for column in model.replay_buffer.columns.values()} == {"meta"}
