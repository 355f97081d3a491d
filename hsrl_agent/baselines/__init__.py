"""What HSRL is compared with."""

from hsrl_agent.baselines.a2c import make_a2c
from hsrl_agent.baselines.simple import Popularity, RandomSlates
from hsrl_agent.baselines.supervised import Supervised

__all__ = ["Popularity", "RandomSlates", "Supervised", "make_a2c"]
