"""`HSRLPolicy` in SB3's own on-policy algorithms: HPN is their actor and MLC their critic."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from agents import ENV, SMALL, make
from stable_baselines3 import A2C, PPO

from hsrl_agent import make_vec_env
from hsrl_gym.bundle.folder import Bundle


@pytest.mark.parametrize("algorithm", [A2C, PPO])
def test_moves_every_part_of_the_policy_by_its_name(algorithm: Any, toy_world: Bundle) -> None:
    """`PPO("HSRLPolicy", env)` trains heads, token vectors, value and level weights; the target stays, unused."""
    batch = {"batch_size": 16} if algorithm is PPO else {}
    env = make_vec_env(ENV, 8, seed=0, bundle=toy_world)
    model = algorithm("HSRLPolicy", env, n_steps=4, seed=0, device="cpu", policy_kwargs=dict(SMALL), **batch)
    before = {name: weight.clone() for name, weight in model.policy.named_parameters()}
    model.learn(8 * 4 * 5)
    moved = {name for name, weight in model.policy.named_parameters() if not torch.equal(weight, before[name])}
    assert {name.split(".")[0] for name in moved} == {"network"}
    parts = {".".join(name.split(".")[1:3]) for name in moved}
    assert {"policy.heads", "policy.tokens", "critic.value", "critic.level_logits"} <= parts


def test_likelihood_entropy_and_value_are_those_of_hpn_and_mlc(toy_world: Bundle) -> None:
    """Item by item from the token distributions (eq. 14, 22), and level by level from the values (eq. 17)."""
    model = make("ppo", toy_world, 4, policy_kwargs=SMALL | {"item_residual": False}).learn(4 * 16)
    policy = model.policy
    observation, _ = policy.obs_to_tensor(model.env.reset())  # type: ignore[union-attr]
    with torch.no_grad():
        actions, values, log_prob = policy(observation)
        again, _, entropy = policy.evaluate_actions(observation, actions)
        tokens, contexts = policy.network.policy(policy.network.encoder(observation["profile"], observation["history"]))
        level_values = policy.network.critic.value(contexts).squeeze(-1)
        weights = policy.network.critic.level_logits.softmax(0)
    codes = toy_world.codebook.codes[1:]
    for user in range(4):
        score = [sum(tokens[level][user, code[level]].item() for level in range(2)) for code in codes]
        normaliser = math.log(sum(math.exp(s) for s in score))
        likelihood = [s - normaliser for s in score]  # of each item as the first
        shown = [codes.tolist().index(sid) for sid in actions[user].view(2, 2).tolist()]
        first, second = (likelihood[item] for item in shown)
        drawn = first + second - math.log1p(-math.exp(first))  # the second out of what the first leaves
        assert log_prob[user].item() == pytest.approx(drawn / 2, rel=1e-4)
        assert entropy[user].item() == pytest.approx(-sum(math.exp(p) * p for p in likelihood), rel=1e-4)
        assert values[user].item() == pytest.approx((weights * level_values[user]).sum().item(), rel=1e-4)
    torch.testing.assert_close(again, values)
