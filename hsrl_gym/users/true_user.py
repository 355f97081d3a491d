"""The true user behind a log that a `SyntheticWorld` wrote: the reference that learned users are compared with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.errors import HsrlError
from hsrl_gym.users.profile import ProfileEncoder
from hsrl_gym.users.synthetic import SyntheticWorld

TRUE_USER = "true"  # its name beside those of the learned users
_SAME = 0.01  # bundles keep profiles as float16, in steps of 0.004 near 5; two users differ by 0.7 in some column


def raw_profiles(world: SyntheticWorld, encoder: ProfileEncoder, profile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the world's own profiles (M, P_raw) of encoded profiles (M, P), to the last bit.

    The profiles are looked up among the world's users. They cannot be computed back: a bundle rounds encoded profiles,
    and the encoder clips values.

    Raises:
        HsrlError: for a profile that belongs to no user of this world, or to more than one.
    """
    known = torch.as_tensor(encoder(world.profiles))
    distinct, row = np.unique(profile, axis=0, return_inverse=True)
    gap = torch.cdist(torch.as_tensor(distinct), known, p=float("inf"))  # (distinct users, users of the world)
    near = (gap <= _SAME).sum(1)
    if not bool((near == 1).all()):
        wrong = int((near[torch.as_tensor(row.ravel())] != 1).sum())
        raise HsrlError(
            f"{wrong} of {len(profile)} profiles do not belong to exactly one user of {world.source}; expected each "
            "to. Build the bundle again with this version."
        )
    return world.profiles[gap.argmin(1).numpy()[row.ravel()]]


class TrueUsers:
    """How the users of a pool respond by the world's own formula; a `Respond`."""

    def __init__(
        self, world: SyntheticWorld, encoder: ProfileEncoder, profile: NDArray[np.float32], device: torch.device
    ) -> None:
        """Find the users with encoded profiles (M, P) in the world.

        Raises:
            HsrlError: if the profiles are not those of the world's users.
        """
        self.profiles = torch.as_tensor(raw_profiles(world, encoder, profile), device=device)  # (M, P_raw)
        self.world = world.to(device)

    def __call__(self, user: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click probabilities (B, K) of rows `user` (B,) of the pool, histories (B, H) and slates (B, K)."""
        return torch.sigmoid(self.world(self.profiles[user], history, slate))
