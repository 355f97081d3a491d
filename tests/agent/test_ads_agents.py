"""HSRL and PPO on its policy in HSRL-Ads-v0: they show candidates only, through days, and learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hsrl_agent import HSRL, HSRLPolicy, ItemPolicy
from hsrl_agent.baselines.ppo import SlatePPO
from hsrl_agent.vec_env import make_vec_env
from hsrl_gym.errors import HsrlError

SMALL = {
    "n_ads": 600, "n_campaigns": 80, "n_categories": 6, "n_users": 100, "n_candidates": 32, "n_days": 7,
    "n_segments": 4, "n_latent": 3, "n_features": 6, "n_profile": 5, "base": 0.0,
}  # fmt: skip


def small(**settings: Any) -> Any:
    return make_vec_env("HSRL-Ads-v0", 8, seed=0, market=SMALL, **settings)


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_policy_shows_the_candidate_that_it_means(deterministic: bool) -> None:
    env = small(steps_per_day=3)
    agent = HSRL("HSRLPolicy", env, pretrain_epochs=0, seed=0)
    observation = env.reset()
    for _ in range(10):
        with torch.no_grad():
            scores = agent.policy.score({name: torch.as_tensor(part) for name, part in observation.items()})[0].scores
        actions, _ = agent.predict(observation, deterministic=deterministic)
        before, tokens = observation["candidates"], agent.policy.catalog.codes.copy()  # the step may end the day
        observation, _, _, infos = env.step(actions)
        shown = np.array([info["slate"][0] for info in infos])
        assert (shown[:, None] == before).any(1).all()
        if deterministic:
            np.testing.assert_array_equal(shown, before[np.arange(8), scores.argmax(1).numpy()])
        np.testing.assert_array_equal(tokens[shown], actions)
    assert infos[0]["day"] == 3


def test_hsrl_learns_through_days_with_a_start_from_the_log() -> None:
    env = small(steps_per_day=4)
    agent = HSRL("HSRLPolicy", env, pretrain_epochs=1, critic_warmup_steps=1, seed=0)
    agent.learn(8 * 10)
    before = [weight.detach().clone() for weight in agent.policy.network.parameters()]
    agent.learn(8 * 10)
    after = list(agent.policy.network.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(torch.isfinite(weight).all() for weight in after)
    assert env.get_attr("sessions")[0].days.day == 5


def test_ppo_learns_with_its_policy() -> None:
    SlatePPO(HSRLPolicy, small(steps_per_day=4), n_steps=8, seed=0).learn(8 * 16)


def test_item_policy_is_refused_in_one_line() -> None:
    with pytest.raises(HsrlError, match="ItemPolicy got the action space"):
        SlatePPO(ItemPolicy, small(action_mode="item"), n_steps=8)
