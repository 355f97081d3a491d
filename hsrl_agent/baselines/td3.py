"""TD3: DDPG with two critics, a delayed actor and smoothed target actions; SB3's own algorithm (4.1.3)."""

from __future__ import annotations

from stable_baselines3 import TD3

from hsrl_agent.baselines.ddpg import DEFAULTS, HyperActions, HyperPolicy
from hsrl_agent.method import Look, Method


class HyperTD3(HyperActions, TD3):
    """SB3's TD3 on hyper-actions; see `HyperActions` for `action_noise`."""


METHODS = [
    Method(
        name="td3",
        label="TD3",
        agent_class=HyperTD3,
        action_mode="hyper",
        rank=70,
        look=Look("#8C6D31", "P"),
        policy=HyperPolicy,
        defaults=DEFAULTS,
        cost=0.4,
        paper={"rl4rs": (8.553, 9.791), "ml1m": (17.465, 17.677)},
    )
]
