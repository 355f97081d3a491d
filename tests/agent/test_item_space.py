"""HSRL without semantic IDs: the same algorithm in item space, with one token per item."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import toy
from agents import ENV, SMALL, make_hsrl

from hsrl_agent import HSRL, make_vec_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.codebook import fit_codebook


class MoreItems(toy.ToyUser):
    """A user whose table has a row for the new item."""

    def __init__(self) -> None:
        super().__init__()
        self.liked = torch.cat([self.liked, torch.tensor([False])])


def test_scores_and_actions_by_hand(toy_world: Bundle) -> None:
    """A token an item: the score of item i is c . (M x_i + free_i) + b_i, the actions are SIDs as before."""
    bundle = replace(toy_world, codebook=toy_world.codebook.deactivate([3]))
    policy = make_hsrl(bundle, num_envs=4, network={"semantic_ids": False}).policy
    assert policy.network.residual is None  # which would be the same thing twice
    head = policy.network.policy.heads[0]
    torch.nn.init.normal_(head.free)
    torch.nn.init.normal_(head.bias)
    observation = {"profile": torch.rand(5, 2), "history": torch.zeros(5, 5).long()}
    plan = policy.plan(observation)
    vectors = torch.as_tensor(bundle.codebook.vectors[1:])
    expected = plan.contexts[:, 0] @ (vectors @ head.projection.weight.T + head.free).T + head.bias
    scores = policy.distribution_of(plan).scores
    assert scores[:, 2].isneginf().all()
    others = [0, 1, *range(3, 12)]
    torch.testing.assert_close(scores[:, others], expected[:, others].log_softmax(1))  # of the items on sale
    items = torch.tensor([[1, 4], [12, 5]])
    assert policy.to_actions(items).tolist() == bundle.codebook.codes[items.numpy()].reshape(2, -1).tolist()
    assert torch.equal(policy.to_items(policy.to_actions(items)), items)


def test_goes_on_with_more_items(toy_world: Bundle) -> None:
    """What was learned of the items of before stays; the free part of the new one is 0."""
    roomy = replace(toy_world, codebook=fit_codebook(toy_world.codebook.features, n_levels=2, vocabulary=5))
    old = make_hsrl(roomy, num_envs=4, network={"semantic_ids": False}).learn(8)
    features = np.ones((1, 3), np.float32)
    more = replace(roomy, codebook=roomy.codebook.with_items(features), item_labels=(*roomy.item_labels, "new"))
    env = make_vec_env(ENV, 4, bundle=replace(more, simulators=dict.fromkeys(("train", "eval"), MoreItems())))
    new = HSRL("HSRLPolicy", env, seed=1, device="cpu", policy_kwargs={**SMALL, "semantic_ids": False})
    new.transfer_from(old)
    observation = {"profile": torch.rand(5, 2), "history": torch.zeros(5, 5).long()}
    scores = [model.policy.network.policy.heads[0](torch.ones(1, 16)) for model in (old, new)]
    torch.testing.assert_close(scores[1][:, :12], scores[0])
    assert new.policy.network.policy.heads[0].free[12].abs().sum() == 0.0
    assert new.policy.distribution_of(new.policy.plan(observation)).scores.shape == (5, 13)


def test_needs_a_sid_for_each_item(toy_world: Bundle) -> None:
    shared = fit_codebook(toy_world.codebook.features, n_levels=1, vocabulary=4)
    with pytest.raises(HsrlError, match="got 12 items on 4 SIDs without semantic_ids, expected a SID for each item"):
        make_hsrl(replace(toy_world, codebook=shared), num_envs=4, network={"semantic_ids": False})
