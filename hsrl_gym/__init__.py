"""Slate recommendation environments on users learned from logs.

`import hsrl_gym` registers `HSRL-RL4RS-v0`, `HSRL-ML1M-v0`, `HSRL-ML100K-v0`, `HSRL-World-v0`,
`HSRL-Bundle-v0` and `HSRL-Ads-v0` with Gymnasium.
"""

from gymnasium.envs.registration import register

from hsrl_gym.errors import HsrlError

__version__ = "0.2.0"
__all__ = ["HsrlError", "__version__"]

# The reference code uses `sweet_point` on RL4RS and `mean_with_cost` on MovieLens.
_DEFAULTS: dict[str, dict[str, str | None]] = {
    "HSRL-RL4RS-v0": {"default_bundle": "rl4rs", "reward": "sweet_point"},
    "HSRL-ML1M-v0": {"default_bundle": "ml1m", "reward": "mean_with_cost"},
    "HSRL-ML100K-v0": {"default_bundle": "ml100k", "reward": "mean_with_cost"},
    # The true users of the synthetic log, not models of them; an agent of HSRL-RL4RS-v0 acts there unchanged.
    "HSRL-World-v0": {"default_bundle": "rl4rs", "reward": "sweet_point", "simulator": "true"},
    # For a bundle of your own, which has to be named: bundle=DIR.
    "HSRL-Bundle-v0": {"default_bundle": None, "reward": "mean_with_cost"},
}

for _id, _kwargs in _DEFAULTS.items():
    # No max_episode_steps: the environments truncate themselves after `max_steps`.
    register(
        id=_id,
        entry_point="hsrl_gym.envs.env:SlateEnv",
        vector_entry_point="hsrl_gym.envs.vector_env:SlateVectorEnv",
        kwargs=_kwargs,
    )

# One ad a request, out of recalled candidates, in a market that turns over daily.
register(
    id="HSRL-Ads-v0",
    entry_point="hsrl_gym.envs.ads.env:AdsEnv",
    vector_entry_point="hsrl_gym.envs.ads.env:AdsVectorEnv",
)
