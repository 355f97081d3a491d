"""`SlateVectorEnv` as an SB3 VecEnv: every SB3 algorithm runs on the batched environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

import hsrl_gym  # noqa: F401  (registers the environments)
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError

# What SB3 gets of the infos; the last three are of HSRL-Ads-v0.
INFO = (
    "slate",
    "clicks",
    "patience",
    "patience_before",
    "user",
    "explored",
    "day",
    "arrived",
    "retired",
    "conversions",
    "cost",
    "spent",
)


class SlateVecEnv(VecEnv):
    """Adapter of a `SlateVectorEnv` with SB3's `done`, `terminal_observation` and `TimeLimit.truncated`.

    Infos hold `slate` (K,), `clicks` (K,), `patience`, `patience_before` and `user`, and what came and went, as in
    `SlateEnv`; with onboarding also `explored` (K,) bool, the slots that it gave to a new item.
    """

    def __init__(self, envs: SlateVectorEnv) -> None:
        """Take the batch.

        Raises:
            HsrlError: for an autoreset mode other than SB3's own, which is SAME_STEP.
        """
        if envs.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise HsrlError(
                f'got environments with autoreset_mode="{envs.autoreset_mode.value}", expected "SameStep": SB3 takes '
                "the first observation of the next session from the step that ends the last one."
            )
        self.envs = envs
        self._actions: NDArray[Any] | None = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> VecEnvObs:
        """Start new sessions and return their observations; seed and options are used once.

        Raises:
            HsrlError: for options that say for some environments who comes, and not for the others.
        """
        seeds = [seed for seed in self._seeds if seed is not None]
        observation, columns = self.envs.reset(seed=seeds[0] if seeds else None, options=self._one_option())
        self.reset_infos = _rows(columns)
        self._reset_seeds()
        self._reset_options()
        return observation

    def _one_option(self) -> dict[str, Any]:
        """Return the options of SB3, which has one dict for each environment, as one of the batch."""
        names = sorted({name for options in self._options for name in options})
        if not all(set(options) == set(names) for options in self._options):
            raise HsrlError(f"got {', '.join(names)} in the reset options of some environments, expected it in all.")
        return {name: np.array([options[name] for options in self._options]) for name in names}

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (B, n) for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step."""
        assert self._actions is not None
        observation, reward, terminated, truncated, columns = self.envs.step(self._actions)
        done = terminated | truncated
        infos = _rows(columns)
        for info, cut in zip(infos, truncated.tolist(), strict=True):
            info["TimeLimit.truncated"] = cut
        for index in np.flatnonzero(done):
            infos[index]["terminal_observation"] = columns["final_obs"][index]
        return observation, reward.astype(np.float32), done, infos  # SB3 computes with float32 rewards

    def close(self) -> None:
        """Close the environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the batched environment once for each index."""
        return [getattr(self.envs, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: the environments are one batch."""
        raise HsrlError("the environments of a SlateVecEnv are one batch; make a new one with other arguments.")

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method of the batched environment once and return its result for each index."""
        result = getattr(self.envs, method_name)(*args, **kwargs)
        chosen = list(self._get_indices(indices))
        if method_name == "action_masks":
            return [result[index] for index in chosen]
        return [result] * len(chosen)

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return False for each index: the environments of a batch have no wrappers of their own."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[Any]:
        """Refuse: sessions are rendered as text."""
        raise HsrlError("sessions have no images; use render_mode='ansi' and envs.render().")


def _rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the infos of each environment out of the columns (B, ..) of all."""
    names = [name for name in INFO if name in columns]
    rows = zip(*(columns[name] for name in names), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def make_vec_env(env_id: str, num_envs: int = 32, seed: int | None = None, **kwargs: Any) -> VecMonitor:
    """Return the batched environment `env_id` for SB3, with episode statistics.

    Args:
        env_id: a registered id, for instance "HSRL-RL4RS-v0".
        num_envs: users at once, B.
        seed: environment i starts from seed + i.
        kwargs: of the environment (`bundle`, `simulator`, `action_mode`, ..).
    """
    kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP.value, **kwargs}
    envs = gymnasium.make_vec(env_id, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)
    vec_env = SlateVecEnv(slate_vector_env(envs))
    if seed is not None:
        vec_env.seed(seed)
    return VecMonitor(vec_env)


def slate_vector_env(envs: gymnasium.vector.VectorEnv[Any, Any, Any]) -> SlateVectorEnv:
    """Return the `SlateVectorEnv` itself.

    Raises:
        HsrlError: if it is another kind of vector environment.
    """
    inner = envs.unwrapped
    if not isinstance(inner, SlateVectorEnv):
        raise HsrlError(f"got a {type(inner).__name__}, expected the SlateVectorEnv of gymnasium.make_vec(..).")
    return inner


def bundle_of(env: VecEnv | None) -> Bundle:
    """Return the bundle that the environments of `env` play in.

    Raises:
        HsrlError: if there is no environment.
    """
    if env is None:
        raise HsrlError("got an agent without an environment, expected one; call set_env(env) first.")
    bundle: Bundle = env.get_attr("bundle")[0]
    return bundle


def train_pool(env: VecEnv | None) -> LoggedSlates[NDArray[Any]]:
    """Return the logged slates of the train pool of the bundle that `env` plays in."""
    return bundle_of(env).users["train"]


def as_sb3(env: Any) -> Any:
    """Return a form of `env` that SB3 takes: a `SlateVectorEnv` is adapted, anything else is returned as it is."""
    if isinstance(env, gymnasium.vector.VectorEnv):
        return VecMonitor(SlateVecEnv(slate_vector_env(env)))
    return env
