"""The HSRL agent and its baselines, on Stable-Baselines3.

Importing it registers the policy names "HSRLPolicy" and "ItemPolicy" with SB3's A2C and PPO, and with no other
algorithm. SB3's own policies take the encoder as `features_extractor_class=SASRecExtractor`.
"""

from stable_baselines3 import A2C, PPO

from hsrl_agent.features import SASRecExtractor
from hsrl_agent.hsrl import HSRL
from hsrl_agent.hsrl_policy import HSRLPolicy
from hsrl_agent.item_policy import ItemPolicy
from hsrl_agent.paper_hsrl import PaperHSRL
from hsrl_agent.vec_env import SlateVecEnv, make_vec_env

for _algorithm in (A2C, PPO):
    _algorithm.policy_aliases.update({"HSRLPolicy": HSRLPolicy, "ItemPolicy": ItemPolicy})

__all__ = ["HSRL", "HSRLPolicy", "ItemPolicy", "PaperHSRL", "SASRecExtractor", "SlateVecEnv", "make_vec_env"]
