"""The true user behind a bundle that a `SyntheticWorld` wrote the log of: what a learned user is to be held against.

Letters as in `core.py`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld, shape_named, world_of

TRUE_USER = "true"  # beside the names of the learned ones
_SAME = 0.01  # bundles keep profiles as float16, whose steps are 0.004 near 5; strangers differ by 0.7 somewhere


def knows_world(bundle: Bundle) -> bool:
    """Return whether the bundle says which world of the package its log came from."""
    named = _named(bundle)
    return named is not None and shape_named(named[0]) is not None


def open_world(bundle: Bundle) -> SyntheticWorld:
    """Return the world that wrote the log of a bundle.

    Raises:
        HsrlError: if the bundle names none that is known here.
    """
    named = _named(bundle)
    if named is None or shape_named(named[0]) is None:
        found = f"the world {named[0]!r}" if named else bundle.source
        raise HsrlError(
            f"bundle {bundle.name} was made from {found}, expected a SyntheticWorld of the package "
            f"({', '.join(WORLDS)}): nobody else's true user is known; use simulator='eval'."
        )
    return SyntheticWorld(*named)


def raw_profiles(bundle: Bundle, world: SyntheticWorld, profile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the world's own profiles (M, P_raw) of encoded ones (M, P), to the last bit.

    They are looked up among the world's users instead of computed back: an encoded profile is rounded in the bundle,
    and what the encoder clipped or left out cannot be computed back at all.

    Raises:
        HsrlError: for a profile of nobody in this world, or of more than one user.
    """
    known = torch.as_tensor(bundle.profile_encoder(world.profiles))
    distinct, row = np.unique(profile, axis=0, return_inverse=True)
    gap = torch.cdist(torch.as_tensor(distinct), known, p=float("inf"))  # (distinct users, users of the world)
    near = (gap <= _SAME).sum(1)
    if not bool((near == 1).all()):
        wrong = int((near[torch.as_tensor(row.ravel())] != 1).sum())
        raise HsrlError(
            f"bundle {bundle.name}: {wrong} of {len(profile)} profiles are not those of exactly one user of "
            f"SyntheticWorld('{world.config.name}', seed={world.seed}); build the bundle again with this version."
        )
    return world.profiles[gap.argmin(1).numpy()[row.ravel()]]


class TrueUsers:
    """How the users of a pool respond, by the world's own formula; see `core.Respond`."""

    def __init__(self, bundle: Bundle, users: LoggedSlates, device: torch.device) -> None:
        """Find the users of the pool in the bundle's world.

        Raises:
            HsrlError: if the bundle knows no world, or has users of another one.
        """
        world = open_world(bundle)
        self.profiles = torch.as_tensor(raw_profiles(bundle, world, users.profile), device=device)  # (M, P_raw)
        self.world = world.to(device)

    def __call__(self, user: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click probabilities (B, K) of rows `user` (B,) of the pool, histories (B, H) and slates (B, K)."""
        return torch.sigmoid(self.world(self.profiles[user], history, slate))


def _named(bundle: Bundle) -> tuple[str, int] | None:
    """Return shape and seed of the bundle's world; bundles from before `provenance["world"]` say it in `source`."""
    named = bundle.provenance.get("world") or world_of(bundle.source)
    match named:
        case None:
            return None
        case {"shape": str(shape), "seed": int(seed)} if seed >= 0:
            return shape, seed
    raise HsrlError(f"bundle {bundle.name}: its world is {named!r}, expected a shape and a seed of 0 or more.")
