"""The HSRL agent and its baselines, on Stable-Baselines3."""

from hsrl_agent.hsrl import HSRL
from hsrl_agent.policies import HSRLPolicy, ItemPolicy
from hsrl_agent.vec_env import SlateVecEnv, make_vec_env

__all__ = ["HSRL", "HSRLPolicy", "ItemPolicy", "SlateVecEnv", "make_vec_env"]
