"""What follows the end of a session in a vector environment: Gymnasium's three autoreset modes.

Letters: B environments, P of them that play.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hsrl_gym.envs import infos
from hsrl_gym.envs.core import Outcome, SessionState
from hsrl_gym.envs.sessions import SlateSessions
from hsrl_gym.errors import HsrlError, unknown_name


def open_autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """Return the mode of that name: Gymnasium's value ("NextStep"), or the name of the enum ("NEXT_STEP").

    Raises:
        HsrlError: for an unknown one.
    """
    for known in AutoresetMode:
        if mode in (known, known.value, known.name):
            return known
    raise unknown_name("autoreset_mode", mode, [known.value for known in AutoresetMode])


class Played(NamedTuple):
    """What a step brought: the state after it, (B,) results, and the infos of all environments."""

    state: SessionState
    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    columns: infos.Columns
    info: dict[str, Any]


def play_all(sessions: SlateSessions, state: SessionState, actions: Any) -> Played:
    """Take a step in all environments."""
    after, outcome, columns = sessions.play(state, actions)
    present = np.ones(len(outcome.reward), dtype=bool)
    return Played(after, *_results(outcome), columns, infos.with_masks(columns, present))


def play_some(sessions: SlateSessions, state: SessionState, actions: Any, ended: NDArray[np.bool_]) -> Played:
    """Take a step in the environments that have not `ended` (B,); the others begin their next session.

    The actions of the others are ignored, their rewards are 0. The catalog's days and the onboarding see those that
    play alone.
    """
    n_envs, playing = len(ended), ~ended
    if np.shape(actions)[:1] != (n_envs,):
        raise HsrlError(
            f"got actions of shape {np.shape(actions)}, expected one for each of the {n_envs} environments."
        )
    reward = np.zeros(n_envs)
    terminated, truncated = np.zeros(n_envs, dtype=bool), np.zeros(n_envs, dtype=bool)
    after = sessions.core.replace_finished(state, torch.as_tensor(ended, device=sessions.device))
    columns: infos.Columns = {}
    if playing.any():
        rows = torch.as_tensor(np.flatnonzero(playing), device=sessions.device)
        part, outcome, columns = sessions.play(state.take(rows), np.asarray(actions)[playing], n_envs)
        after = after.put(rows, part)
        reward[playing], terminated[playing], truncated[playing] = _results(outcome)
    info = infos.merged(columns, playing, sessions.greet(after))  # greeted after the step: a day may have passed
    told = {name: values for name, values in info.items() if not name.startswith("_")}
    return Played(after, reward, terminated, truncated, told, info)


def _results(outcome: Outcome) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return reward, terminated and truncated (B,) of an outcome."""
    return outcome.reward.double().cpu().numpy(), outcome.terminated.cpu().numpy(), outcome.truncated.cpu().numpy()
