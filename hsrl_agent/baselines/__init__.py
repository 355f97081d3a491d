"""What HSRL is compared with."""

from hsrl_agent.baselines.a2c import A2CFromLog, make_a2c
from hsrl_agent.baselines.ddpg import HyperPolicy, make_ddpg
from hsrl_agent.baselines.hac import HAC, HACPolicy, make_hac_from_log
from hsrl_agent.baselines.oracle import Oracle
from hsrl_agent.baselines.pgra import PGRA, PGRAPolicy
from hsrl_agent.baselines.ppo import make_ppo
from hsrl_agent.baselines.simple import Popularity, RandomSlates
from hsrl_agent.baselines.supervised import Supervised
from hsrl_agent.baselines.td3 import make_td3

__all__ = [
    "HAC",
    "PGRA",
    "A2CFromLog",
    "HACPolicy",
    "HyperPolicy",
    "Oracle",
    "PGRAPolicy",
    "Popularity",
    "RandomSlates",
    "Supervised",
    "make_a2c",
    "make_ddpg",
    "make_hac_from_log",
    "make_ppo",
    "make_td3",
]
