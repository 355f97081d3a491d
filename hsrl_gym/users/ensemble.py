"""Several fits of one user that answer as one.

A small log leaves much open: two users fitted to it from different seeds agree on what was logged, and not on where a
policy takes them, and what is learned of the one is worth little to the other. What they share is what the log says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hsrl_gym.errors import HsrlError
from hsrl_gym.users.click_model import PreparedUsers, SimulatorConfig, UserResponseModel


class UserEnsemble(nn.Module):
    """A user whose click probability is the mean of its members'; a `ClickModel`."""

    def __init__(self, members: Sequence[UserResponseModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def config(self) -> SimulatorConfig:
        """Sizes of each member."""
        return self._models()[0].config

    def forward(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K); see `ClickModel`."""
        logits = torch.stack([model(profile, history, slate) for model in self._models()])
        return logits.sigmoid().mean(0).logit(eps=1e-6)

    def appeal(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return the members' mean `UserResponseModel.appeal`, (B, K)."""
        return torch.stack([model.appeal(profile, history, slate) for model in self._models()]).mean(0)

    def prepared(self, profiles: Tensor) -> PreparedEnsemble:
        """Return the users of `profiles` (M, P), ready to be played on their device."""
        return PreparedEnsemble([model.prepared(profiles) for model in self._models()])

    def _models(self) -> list[UserResponseModel]:
        return list(self.members)  # type: ignore[arg-type]  # ModuleList has forgotten what it holds


class PreparedEnsemble:
    """Prepared users of each member; a step takes as long as that of all of them."""

    def __init__(self, members: Sequence[PreparedUsers]) -> None:
        self.members = members

    def __call__(self, user: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click probabilities (B, K); see `PreparedUsers`."""
        first, *others = (respond(user, history, slate) for respond in self.members)
        return sum(others, first) / len(self.members)


LearnedUser = UserResponseModel | UserEnsemble


def as_one(members: Sequence[UserResponseModel]) -> LearnedUser:
    """Return the user that these fits make: the only one, or their ensemble.

    Raises:
        HsrlError: if there is none.
    """
    if not members:
        raise HsrlError("got a user of 0 fits, expected at least 1.")
    return members[0] if len(members) == 1 else UserEnsemble(members)


def ensemble_size_of(user: LearnedUser) -> int:
    """Return how many fits a user is made of."""
    return len(user.members) if isinstance(user, UserEnsemble) else 1
