"""The base of PG-RA and HAC: an actor that outputs a point in R^d, and item kernels that score items at that point.

Letters: B users, H history length, P profile width, K slate size, N items, F item features, d width of a point.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from hsrl_agent.distributions import SlateDistribution
from hsrl_agent.encoder import SASRec
from hsrl_agent.item_policy import ItemPolicy


class LatentNetwork(nn.Module):
    """SASRec and a map from its state to a point. An item's score is the inner product of its kernel and the point.

    The kernels share no weights with the encoder's item table, so a loss can move one without the other.
    """

    is_live: Tensor

    def __init__(self, encoder: SASRec, is_live: Tensor, width: int, point_width: int) -> None:
        """Take the encoder, a mask (N,) bool of the live items, the encoder's width, and d."""
        super().__init__()
        self.encoder = encoder
        self.actor = nn.Linear(width, point_width)
        self.kernel_map = nn.Linear(encoder.get_buffer("item_features").shape[1], point_width)
        # What is known of an item apart from its features begins with its arrival.
        self.kernel_free = nn.Parameter(0.02 * torch.randn(len(is_live), point_width) * is_live.unsqueeze(1))
        self.register_buffer("is_live", is_live)

    def refresh(self, items: Tensor, inputs: Tensor, codes: Tensor) -> None:
        """See `HSRLNetwork.refresh`."""
        self.encoder.refresh(items, inputs, codes[:, 0] >= 0)
        self.is_live[items - 1] = codes[:, 0] >= 0

    def kernels(self) -> Tensor:
        """Return the kernels of items 1..N, (N, d)."""
        return self.kernel_map(self.encoder.get_buffer("item_features")[1:]) + self.kernel_free

    def scores(self, points: Tensor) -> Tensor:
        """Return <point, kernel_i> of points (B, d), (B, N); -inf where an item is not live."""
        return (points @ self.kernels().T).masked_fill(~self.is_live, -torch.inf)

    def forward(self, profile: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (B, N) of the actor's own points, and the values (B,) of the states."""
        state = self.encoder(profile, history)
        points = self.actor(state)
        return self.scores(points), self.value_of(state, points)

    def value_of(self, state: Tensor, points: Tensor) -> Tensor:
        """Return the value (B,) of points (B, d) in the encoder's states."""
        raise NotImplementedError  # abstract


class LatentPolicy(ItemPolicy):
    """Item space through a point: the point scores the items, and the scores determine the slate.

    Args:
        args, kwargs: see `SlatePolicy`.
        point_width: d.
    """

    keeps_target, accepts_candidates = True, False
    samples_items: ClassVar[bool]  # while exploring, sample the slate instead of taking the K highest scores
    sampling_inverse_temperature = 1.0  # factor of the scores for that sample
    network: LatentNetwork  # type: ignore[assignment]  # returns scores and values, as `ItemNetwork` does
    target_network: LatentNetwork

    def __init__(self, *args: Any, point_width: int = 32, **kwargs: Any) -> None:
        self.point_width = point_width
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "point_width": self.point_width}

    def state(self, obs: PyTorchObs, target: bool = False) -> Tensor:
        """Return the encoder's states of observations, (B, width); those of the target network if `target`."""
        assert isinstance(obs, dict)
        self.follow()
        network = self.target_network if target else self.network
        return network.encoder(obs["profile"].float(), obs["history"].long())

    def explore(self, obs: PyTorchObs) -> tuple[Tensor, Tensor]:
        """Return actions (B, K) for points drawn around the actor's output, and the points (B, d)."""
        center = self.network.actor(self.state(obs))
        points = center + self.spread() * torch.randn_like(center)
        scores = self.sampling_inverse_temperature * self.network.scores(points)
        distribution = SlateDistribution(scores, self.likelihood)
        return self.to_actions(self._draw(distribution, not self.samples_items)), points

    def spread(self) -> Tensor | float:
        """Return the standard deviation of exploration, (d,) or one number."""
        raise NotImplementedError  # abstract

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        return super()._predict(observation, True) if deterministic else self.explore(observation)[0]
