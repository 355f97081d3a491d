"""The common base of the SB3 policies for slates."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.encoder import SASRec
from hsrl_agent.networks import copy_shared_weights
from hsrl_agent.unfit import NotForEveryAlgorithm
from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.items.codebook import Codebook


class SlatePolicy(NotForEveryAlgorithm, ActorCriticPolicy):
    """An actor-critic whose actions are slates of K different live items.

    A subclass defines how a state is scored and how a slate is encoded as an action. Sampling without replacement,
    likelihood, entropy and values follow from that. The catalog comes with the action space, so a policy needs only
    what SB3 passes to every policy.

    Args:
        observation_space, action_space, lr_schedule: from the algorithm.
        width, n_layers, n_heads, dropout: of the encoder, see `SASRec`.
        critic_hidden: widths of the critic's hidden layers.
        likelihood: "plackett_luce", "independent" or "unnormalised"; see `SlateDistribution`.
        kwargs: of SB3's `ActorCriticPolicy`.

    Raises:
        HsrlError: for spaces that are not those of an hsrl_gym environment in this policy's action mode.
    """

    action_mode: str
    accepts_candidates: ClassVar[bool] = False  # whether it shows only the "candidates" of an observation that has them
    keeps_target: ClassVar[bool] = False  # whether there is a target network to bootstrap from
    network: nn.Module
    target_network: nn.Module

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        width: int = 32,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.0,
        critic_hidden: Sequence[int] = (256, 64),
        likelihood: str = "plackett_luce",
        **kwargs: Any,
    ) -> None:
        self.check_spaces(observation_space, action_space)
        assert isinstance(action_space, SlateSpace)
        self.width, self.n_layers, self.n_heads, self.dropout = width, n_layers, n_heads, dropout
        self.critic_hidden, self.likelihood = tuple(critic_hidden), likelihood
        self.slate_size = action_space.slate_size
        self._catalog, self._seen_version = action_space.catalog, 0
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    @classmethod
    def check_spaces(cls, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        """Raise HsrlError unless the spaces are those of an hsrl_gym environment in this policy's action mode."""
        if not isinstance(action_space, SlateSpace) or not cls._fits(action_space):
            raise HsrlError(
                f"{cls.__name__} got the action space {action_space}, expected the one of an hsrl_gym "
                f'environment with action_mode="{cls.action_mode}".'
            )
        known = {"profile", "history"} | ({"candidates"} if cls.accepts_candidates else set())
        keys = set(observation_space) if isinstance(observation_space, spaces.Dict) else set()
        if not {"profile", "history"} <= keys <= known:
            raise HsrlError(
                f"{cls.__name__} got the observation space {observation_space}, expected Dict(profile, history)"
                f"{', perhaps with candidates' if cls.accepts_candidates else ''}."
            )

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Return one that does nothing: the encoder stands in the network."""
        return BaseFeaturesExtractor(self.observation_space, features_dim=1)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """Return the constructor arguments that `BasePolicy.load` needs."""
        names = ("width", "n_layers", "n_heads", "dropout", "critic_hidden", "likelihood")
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            **{name: getattr(self, name) for name in names},
        }

    @staticmethod
    def _fits(action_space: SlateSpace) -> bool:
        raise NotImplementedError  # abstract

    @property
    def codebook(self) -> Codebook:
        """The items at the start, as they came with the action space."""
        return self._catalog.codebook

    @property
    def catalog(self) -> Catalog:
        """The items as they are now. An environment in the same process shares it with the policy."""
        return self._catalog

    def follow(self, catalog: Catalog | None = None) -> None:
        """Take over what has changed in the catalog; it happens by itself before each score.

        Args:
            catalog: to follow from now on; None for the present one. A loaded policy has a copy, as it was when saved.

        Raises:
            HsrlError: for a catalog of another codebook: tokens would not mean the same.
        """
        if catalog is not None and catalog is not self._catalog:
            if not catalog.codebook.has_space_of(self.codebook):
                raise HsrlError("got a catalog with other centroids or another number of items, expected the same.")
            self._catalog, changed = catalog, np.arange(1, catalog.n_items + 1)
        elif self._catalog.version == self._seen_version:
            return
        else:
            changed = self._catalog.changed_since(self._seen_version)
        self._seen_version = self._catalog.version
        if len(changed):
            self._refresh(changed)

    def _refresh(self, items: NDArray[np.integer]) -> None:
        """Take over the present inputs and tokens of items (M,)."""
        rows = torch.as_tensor(items, device=self.device)
        inputs = torch.as_tensor(self.catalog.inputs(items), device=self.device)
        sids = torch.as_tensor(self.catalog.codes[items], device=self.device).long()
        for network in self._networks():
            network.refresh(rows, inputs, self._tokens_of(rows, sids))  # type: ignore[operator]

    def _networks(self) -> list[nn.Module]:
        return [self.network, self.target_network] if self.keeps_target else [self.network]

    def _tokens_of(self, items: Tensor, sids: Tensor) -> Tensor:
        """Return the network's tokens (M, ..) of items (M,) with SIDs (M, L); the first is -1 where not live."""
        return sids

    def _is_live(self) -> Tensor:
        """Return which of the items are live at the start, (N,) bool."""
        return torch.as_tensor(self.codebook.codes[1:, 0] >= 0)

    def _build(self, lr_schedule: Schedule) -> None:
        self._build_network()
        if self.keeps_target:
            self.target_network = copy.deepcopy(self.network).requires_grad_(False).eval()
            self._list_weights()
        # SB3 switches the mode twice per step; without dropout that is wasted time.
        self._has_modes = any(_depends_on_mode(module) for module in self.modules())
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if issubclass(self.optimizer_class, torch.optim.Adam):
            self.optimizer_kwargs = {"fused": True, **self.optimizer_kwargs}  # one kernel, not four a parameter
        settings: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(trained, **settings)

    def _build_network(self) -> None:
        raise NotImplementedError  # abstract

    def _encoder(self, per_item: bool = True) -> SASRec:
        assert isinstance(self.observation_space, spaces.Dict)
        n_profile, history_length = (self.observation_space[name].shape for name in ("profile", "history"))
        assert n_profile is not None
        assert history_length is not None
        encoder = SASRec(
            torch.as_tensor(self.codebook.item_inputs),
            n_profile[0],
            history_length[0],
            self.width,
            self.n_layers,
            self.n_heads,
            self.dropout,
            per_item,
        )
        encoder.hold_back((~self._is_live()).nonzero().squeeze(1) + 1)
        return encoder

    def score(self, obs: PyTorchObs) -> tuple[SlateDistribution, Tensor]:
        """Return the distribution over slates and the values (B,) of observations."""
        raise NotImplementedError  # abstract

    def scores_above_mean(self, obs: PyTorchObs, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much items (B, K) score above the mean of all live items, (B, K), and the values (B,)."""
        distribution, value = self.score(obs)
        live = distribution.scores.isfinite()
        average = distribution.scores.masked_fill(~live, 0.0).sum(1, keepdim=True) / live.sum(1, keepdim=True)
        return distribution.scores_at(items) - average, value

    @property
    def critic(self) -> nn.Module:
        """The value head: the part of the network that only values depend on."""
        raise NotImplementedError  # abstract

    def to_actions(self, items: Tensor) -> Tensor:
        """Return actions (B, n) that show the items (B, K)."""
        raise NotImplementedError  # abstract

    def to_items(self, actions: Tensor) -> Tensor:
        """Return the items (B, K) that actions (B, n) of this policy stand for."""
        raise NotImplementedError  # abstract

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions (B, n), values (B,) and log-likelihoods (B,)."""
        distribution, values = self.score(obs)
        items = self._draw(distribution, deterministic)
        return self.to_actions(items), values, distribution.log_prob(items)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values (B,), log-likelihoods (B,) and entropies (B,) of actions (B, n)."""
        distribution, values = self.score(obs)
        return values, distribution.log_prob(self.to_items(actions.long())), distribution.entropy()

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Return values (B, 1)."""
        return self.score(obs)[1].unsqueeze(1)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        return self.to_actions(self._draw(self.score(observation)[0], deterministic))

    def _draw(self, distribution: SlateDistribution, deterministic: bool) -> Tensor:
        return distribution.mode(self.slate_size) if deterministic else distribution.sample(self.slate_size)

    def set_training_mode(self, mode: bool) -> None:
        """Switch dropout on or off."""
        if self._has_modes:
            super().set_training_mode(mode)
        else:
            self.training = mode

    def train(self, mode: bool = True) -> SlatePolicy:
        """Switch dropout on or off; the target network never uses it."""
        super().train(mode)
        if self.keeps_target:
            self.target_network.eval()
        return self

    def transfer_from(self, learned: SlatePolicy) -> None:
        """Copy the weights of a policy that learned on another state of the catalog; see `copy_shared_weights`.

        Raises:
            HsrlError: if the networks differ in more than the items.
        """
        copy_shared_weights(self.network, learned.network)
        if self.keeps_target:
            self.polyak_update(1.0)

    def _list_weights(self) -> None:
        self._weights: list[Tensor] = list(self.network.parameters())
        self._target_weights: list[Tensor] = list(self.target_network.parameters())

    @torch.no_grad()
    def polyak_update(self, tau: float) -> None:
        """Move the target network towards the network: target = (1 - tau) target + tau network."""
        # The lists are cached: traversing modules costs more than the update. They are rebuilt if parameters were
        # replaced (`load_state_dict(.., assign=True)`).
        if self._weights[0] is not next(self.network.parameters()):
            self._list_weights()
        torch._foreach_mul_(self._target_weights, 1.0 - tau)
        torch._foreach_add_(self._target_weights, self._weights, alpha=tau)


def _depends_on_mode(module: torch.nn.Module) -> bool:
    if isinstance(module, torch.nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, torch.nn.modules.batchnorm._NormBase)
