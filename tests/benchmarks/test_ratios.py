"""Fast paths against plain ones in one run: ratios, with half of what was measured as margin, never absolute times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from hsrl_agent.encoder import SASRec
from hsrl_gym.bundle.folder import Bundle, load_bundle
from hsrl_gym.bundle.store import PACKAGED
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.vector_env import SlateVectorEnv

ROUNDS = 12
pytestmark = pytest.mark.speed


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(PACKAGED / "rl4rs")


def times_faster(benchmark: BenchmarkFixture, fast: Callable[[], Any], plain: Callable[[], Any]) -> float:
    """Return how many of `fast` fit into one of `plain`, taken in turn, each at its best of some rounds."""
    taken = []

    def plain_first() -> None:
        before = time.perf_counter()
        plain()
        taken.append(time.perf_counter() - before)

    plain()
    fast()
    benchmark.pedantic(fast, setup=plain_first, rounds=ROUNDS)
    ratio = min(taken) / benchmark.stats.stats.min
    benchmark.extra_info["times_faster"] = round(ratio, 2)
    return ratio


@torch.no_grad()
def test_prepared_users_against_the_model(benchmark: BenchmarkFixture, bundle: Bundle) -> None:
    """Tables made once, and padding skipped."""
    users, model = bundle.users["train"], bundle.simulators["train"]
    profile, history, slate = (torch.as_tensor(x[:1024]) for x in (users.profile, users.history, users.slate))
    history, slate, rows = history.long(), slate.long(), torch.arange(1024)
    prepared = model.prepared(profile)
    assert times_faster(benchmark, lambda: prepared(rows, history, slate), lambda: model(profile, history, slate)) > 2


def test_an_encoder_that_skips_padding(
    benchmark: BenchmarkFixture, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of like length against one group, as wide as the history: forward and backward."""
    encoder = SASRec(torch.as_tensor(bundle.codebook.features), 16, 50)
    users = bundle.users["train"]
    profile, history = torch.as_tensor(users.profile[:64]), torch.as_tensor(users.history[:64]).long()

    def plain() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(SASRec, "_bounds", staticmethod(lambda length, width, on_cpu: [(0, len(length), width)]))
            encoder(profile, history).sum().backward()

    assert times_faster(benchmark, lambda: encoder(profile, history).sum().backward(), plain) > 1.3


def test_a_vector_against_single_environments(benchmark: BenchmarkFixture, bundle: Bundle) -> None:
    vector, single = SlateVectorEnv(64, bundle), SlateEnv(bundle)
    vector.action_space.seed(0)
    vector.reset(seed=0)
    single.reset(seed=0)
    actions = vector.action_space.sample()

    def plain() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = single.step(action)
            if terminated or truncated:
                single.reset()

    assert times_faster(benchmark, lambda: vector.step(actions), plain) > 4
