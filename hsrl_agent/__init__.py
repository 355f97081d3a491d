"""The HSRL agent and its baselines, on Stable-Baselines3.

Importing it registers the policy names "HSRLPolicy" and "ItemPolicy" with SB3's A2C and PPO. TRPO and RecurrentPPO of
sb3-contrib know them too, and say why they do not fit. SB3's own policies take the encoder as
`features_extractor_class=SASRecExtractor`.
"""

from contextlib import suppress

from stable_baselines3 import A2C, PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from hsrl_agent.checkpoint import Checkpoint
from hsrl_agent.features import SASRecExtractor
from hsrl_agent.hsrl import HSRL
from hsrl_agent.hsrl_policy import HSRLPolicy
from hsrl_agent.item_policy import ItemPolicy
from hsrl_agent.paper_hsrl import PaperHSRL
from hsrl_agent.vec_env import SlateVecEnv, make_vec_env

_algorithms: list[type[OnPolicyAlgorithm]] = [A2C, PPO]
with suppress(ImportError):
    from sb3_contrib import TRPO, RecurrentPPO

    _algorithms += [TRPO, RecurrentPPO]  # where the policies say in one line why they do not fit

for _algorithm in _algorithms:
    _algorithm.policy_aliases.update({"HSRLPolicy": HSRLPolicy, "ItemPolicy": ItemPolicy})

__all__ = [
    "HSRL",
    "Checkpoint",
    "HSRLPolicy",
    "ItemPolicy",
    "PaperHSRL",
    "SASRecExtractor",
    "SlateVecEnv",
    "make_vec_env",
]
