"""The methods that HSRL is compared with."""

from hsrl_agent.baselines.a2c import PretrainedA2C
from hsrl_agent.baselines.ddpg import HyperDDPG, HyperPolicy
from hsrl_agent.baselines.hac import HAC, HACPolicy
from hsrl_agent.baselines.item_agent import ItemAgent
from hsrl_agent.baselines.oracle import GreedyOracle
from hsrl_agent.baselines.pgra import PGRA, PGRAPolicy
from hsrl_agent.baselines.ppo import SlatePPO
from hsrl_agent.baselines.simple import Popularity, RandomSlates
from hsrl_agent.baselines.supervised import Supervised
from hsrl_agent.baselines.td3 import HyperTD3

__all__ = [
    "HAC",
    "PGRA",
    "GreedyOracle",
    "HACPolicy",
    "HyperDDPG",
    "HyperPolicy",
    "HyperTD3",
    "ItemAgent",
    "PGRAPolicy",
    "Popularity",
    "PretrainedA2C",
    "RandomSlates",
    "SlatePPO",
    "Supervised",
]
