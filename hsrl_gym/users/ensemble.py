"""An ensemble of user models: the mean of several fits to one log.

A small log leaves much open. Two fits from different seeds agree on the logged states, but not on the states that a new
policy visits, and a policy learned on one of them may fail on the other. Their mean keeps what they agree on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hsrl_gym.errors import HsrlError
from hsrl_gym.users.click_model import PreparedUsers, SimulatorConfig, UserResponseModel


class UserEnsemble(nn.Module):
    """A user model whose click probability is the mean of its members' probabilities; a `ClickModel`."""

    def __init__(self, members: Sequence[UserResponseModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def config(self) -> SimulatorConfig:
        """Sizes of each member."""
        return self.models()[0].config

    def forward(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K); see `ClickModel`."""
        logits = torch.stack([model(profile, history, slate) for model in self.models()])
        return logits.sigmoid().mean(0).logit(eps=1e-6)

    def appeal(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return the members' mean `UserResponseModel.appeal`, (B, K)."""
        return torch.stack([model.appeal(profile, history, slate) for model in self.models()]).mean(0)

    def prepared(self, profiles: Tensor) -> PreparedEnsemble:
        """Return the users with `profiles` (M, P), on the device of `profiles`."""
        return PreparedEnsemble([model.prepared(profiles) for model in self.models()])

    def models(self) -> list[UserResponseModel]:
        """Return the members."""
        return list(self.members)  # type: ignore[arg-type]  # ModuleList does not know its element type


class PreparedEnsemble:
    """Prepared users of each member; a `Respond`. A step costs the sum of the members' steps."""

    def __init__(self, members: Sequence[PreparedUsers]) -> None:
        self.members = members

    def __call__(self, user: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click probabilities (B, K); see `PreparedUsers`."""
        first, *others = (respond(user, history, slate) for respond in self.members)
        return sum(others, first) / len(self.members)


LearnedUser = UserResponseModel | UserEnsemble


def as_one(members: Sequence[UserResponseModel]) -> LearnedUser:
    """Return the only member, or the ensemble of several.

    Raises:
        HsrlError: for no member.
    """
    if not members:
        raise HsrlError("got an ensemble of 0 user models, expected at least 1.")
    return members[0] if len(members) == 1 else UserEnsemble(members)


def members_of(user: LearnedUser) -> list[UserResponseModel]:
    """Return the members: a single user model is its only one."""
    return user.models() if isinstance(user, UserEnsemble) else [user]


def ensemble_size_of(user: LearnedUser) -> int:
    """Return the number of members: 1 for a single user model."""
    return len(user.members) if isinstance(user, UserEnsemble) else 1
