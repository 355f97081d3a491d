"""A world where the most clicked items spoil later clicks: counterfactual credit finds out."""

from __future__ import annotations

from dataclasses import replace

import torch
import toy
from torch import Tensor, nn

from hsrl_agent import HSRL, make_vec_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.users.responses import Respond, by_profile

SWEET, WHOLESOME = (2, 7), toy.LIKED  # clicked with probability 0.98 and 0.80


class SpoiltUser(nn.Module):
    """Hardly clicks on anything while one of the sweet items is in the history."""

    def __init__(self) -> None:
        super().__init__()
        logits = torch.full((toy.N_ITEMS + 1,), -4.0)
        logits[list(SWEET)], logits[list(WHOLESOME)] = 4.0, 1.4
        self.register_buffer("logits", logits)
        self.register_buffer("is_sweet", torch.isin(torch.arange(toy.N_ITEMS + 1), torch.tensor(SWEET)))

    def forward(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K)."""
        return self.logits[slate] - 6.0 * self.is_sweet[history.long()].any(1, keepdim=True)

    def prepared(self, profiles: Tensor) -> Respond:
        """Return how the users of a pool respond."""
        return by_profile(self, profiles)


def test_counterfactual_credit_avoids_what_spoils_the_session(toy_world: Bundle) -> None:
    """The wholesome pair brings 10.8 a session, the sweet one 1.2, though it is clicked more often at first."""
    user = SpoiltUser()
    bundle = replace(toy_world, simulators={"train": user, "eval": user})  # type: ignore[dict-item]
    env = make_vec_env("HSRL-ML1M-v0", 16, seed=0, bundle=bundle)
    network = {"width": 16, "n_heads": 2, "n_layers": 1, "critic_hidden": (32,)}
    settings = {"learning_rate": 3e-3, "entropy_weight": 0.05, "batch_size": 64, "pretrain_epochs": 0}
    model = HSRL("HSRLPolicy", env, seed=0, device="cpu", policy_kwargs=network, **settings)
    model.learn(16 * 250)
    actions, _ = model.predict(env.reset(), deterministic=True)
    shown = model.policy.to_items(torch.as_tensor(actions)).sort(1).values
    assert (shown == torch.tensor(sorted(WHOLESOME))).all()
