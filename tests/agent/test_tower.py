"""The two-tower policy: scores by hand, and nothing that is learned per item."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from agents import make_hsrl
from catalogs import as_tensors, make_policy, observations, random_codebook

from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError

TOWER = {"semantic_ids": False, "heads": "tower"}


def test_scores_by_hand(toy_world: Bundle) -> None:
    bundle = replace(toy_world, codebook=toy_world.codebook.deactivate([3]))
    policy = make_hsrl(bundle, num_envs=4, network=TOWER).policy
    seen = {"profile": torch.rand(5, 2), "history": torch.randint(0, 13, (5, 5))}
    plan = policy.plan(seen)
    content = policy.network.policy.content(torch.as_tensor(bundle.codebook.item_inputs[1:]))
    expected = plan.contexts[:, 0] @ content[:, :-1].T + content[:, -1]
    scores = policy.distribution_of(plan).scores
    assert scores[:, 2].isneginf().all()
    others = [0, 1, *range(3, 12)]
    torch.testing.assert_close(scores[:, others], expected[:, others].log_softmax(1))  # of the items on sale
    assert scores[:, others].std() < 0.2  # it starts near uniform


def test_nothing_is_learned_per_item() -> None:
    """The weights do not depend on the number of items, and an item that is like another one has its score."""
    small, large = (make_policy(random_codebook(n, (8, 8, 8)), **TOWER) for n in (40, 90))
    shapes = [[weight.shape for weight in policy.network.parameters()] for policy in (small, large)]
    assert shapes[0] == shapes[1]
    book = random_codebook(40, (8, 8, 8))
    book.features[7] = book.features[5]
    scores = (
        make_policy(replace(book, vectors=None), spread=0.3, **TOWER).score(as_tensors(observations(9, 40)))[0].scores
    )  # type: ignore[arg-type]
    torch.testing.assert_close(scores[:, 6], scores[:, 4])
    assert not torch.allclose(scores[:, 6], scores[:, 7])


def test_it_scores_items_as_they_are_now() -> None:
    policy = make_policy(random_codebook(40, (8, 8, 8)), spread=0.3, **TOWER)
    before = policy.score(as_tensors(observations(4, 40)))[0].scores
    policy.catalog.move([6], np.ones((1, 4), np.float32))
    policy.catalog.change(retire=[9])
    after = policy.score(as_tensors(observations(4, 40)))[0].scores
    assert after[:, 8].isneginf().all()
    assert before[:, 8].isfinite().all()
    for network in (policy.network, policy.target_network):
        assert network.policy._encoder[0] is network.encoder


def test_what_cannot_be() -> None:
    book = random_codebook(40, (8, 8, 8))
    for settings in ({"heads": "tower"}, {**TOWER, "item_residual": True}):
        with pytest.raises(HsrlError, match='got heads="tower" with weights per token or item, expected semantic_ids'):
            make_policy(book, **settings)


def test_it_is_a_method_of_the_comparison() -> None:
    method = METHODS["hsrl-two-tower"]
    assert method.label == "Two-tower"
    assert METHODS["hsrl-items"].rank < method.rank < METHODS["hsrl"].rank
