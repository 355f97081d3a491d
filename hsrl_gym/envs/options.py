"""What may be given to `reset(options=..)`.

Letters: B environments, M users in the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.errors import HsrlError, unknown_name

SINGLE = ("user",)
VECTOR = ("user", "reset_mask")
_OF_OTHERS = ("minari_autoseed",)  # Minari reads its own option and passes it on


class ResetOptions(NamedTuple):
    """The options of a reset.

    Attributes:
        users: (B,) int64, rows of the user pool; None where seed and episode choose them.
        mask: (B,) bool, environments to reset; None for all of them.
    """

    users: NDArray[np.int64] | None = None
    mask: NDArray[np.bool_] | None = None


def read_options(options: Mapping[str, Any] | None, n_users: int, n_envs: int | None = None) -> ResetOptions:
    """Return the options of a single environment, or of a vector of `n_envs`.

    Args:
        options: `user`, a row of the pool, or in a vector one for each environment; `reset_mask` of a vector.
        n_users: M.
        n_envs: B; None for a single environment.

    Raises:
        HsrlError: for an unknown option, a user that is not in the pool, or a mask that is none.
    """
    known = SINGLE if n_envs is None else VECTOR
    if options is None:
        return ResetOptions()
    if not isinstance(options, Mapping):
        raise HsrlError(f"got the reset options {options!r}, expected a dict with any of {', '.join(known)}.")
    for name in options:
        if name not in known and name not in _OF_OTHERS:
            raise unknown_name("reset option", name, known)
    users = _users(options["user"], n_users, n_envs) if options.get("user") is not None else None
    mask = _mask(options["reset_mask"], n_envs) if n_envs is not None and "reset_mask" in options else None
    return ResetOptions(users, mask)


def _users(given: Any, n_users: int, n_envs: int | None) -> NDArray[np.int64]:
    users = np.asarray(given)
    if users.ndim and users.shape != (n_envs,):
        many = "" if n_envs is None else f", or one for each of the {n_envs} environments"
        raise HsrlError(f"got users of shape {users.shape} in reset's options, expected one row of the pool{many}.")
    wrong = users if users.dtype.kind not in "iu" else users[(users < 0) | (users >= n_users)]
    if wrong.size:
        raise HsrlError(
            f"got user {wrong.ravel()[0]!s} in reset's options, expected a row of the pool, a whole number in "
            f"0..{n_users - 1}."
        )
    return np.full(n_envs or 1, users, dtype=np.int64)


def _mask(given: Any, n_envs: int) -> NDArray[np.bool_]:
    mask = np.asarray(given)
    if mask.shape != (n_envs,) or mask.dtype != np.bool_ or not mask.any():
        raise HsrlError(
            f"got a reset_mask of shape {mask.shape} and type {mask.dtype} with {np.count_nonzero(mask)} true values, "
            f"expected a bool array ({n_envs},) with at least one."
        )
    return mask
