"""The link between an algorithm's policy and the catalog of its environment, which SB3's files cannot hold."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.type_aliases import GymEnv

from hsrl_agent.policies import SlatePolicy
from hsrl_agent.resuming import Resumable


class FollowsCatalog(Resumable):
    """Mixin: the policy follows the catalog of the environment that the algorithm has now.

    A new algorithm shares the catalog with its environment. A loaded one has a copy of it, as it was when saved.
    """

    policy: SlatePolicy

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """See SB3; the policy follows the catalog of `env` from now on."""
        super().set_env(env, force_reset)
        self._follow_env()

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> Any:
        """See SB3; the policy follows the catalog of `env`, if it is given."""
        algorithm = super().load(*args, **kwargs)
        algorithm._follow_env()
        return algorithm

    def _follow_env(self) -> None:
        if self.env is not None:
            self.policy.follow(self.env.action_space.catalog)  # type: ignore[attr-defined]  # a SlateSpace
