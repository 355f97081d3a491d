"""What clicks do to users, by hand."""

from __future__ import annotations

import pytest
import torch

from hsrl_gym.envs.ads.config import AdsConfig
from hsrl_gym.users.clicked import Items, effects_of_clicks
from hsrl_gym.users.synthetic import WORLDS


@pytest.mark.parametrize("habits", [AdsConfig(), WORLDS["rl4rs"]])
def test_effects_by_hand(habits: AdsConfig) -> None:
    """Two clicks in a window of four, both on topic 1; the second user has clicked on nothing."""
    items = Items(
        content=torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]]),
        sweet=torch.tensor([0.0, 0.5, 1.5]),
        topic=torch.tensor([0, 1, 1]),
        n_topics=2,
    )
    history = torch.tensor([[0, 0, 1, 2], [0, 0, 0, 0]])
    effects = effects_of_clicks(habits, items, history, slate=torch.tensor([[2], [2]]))
    memory = 2 / 12
    torch.testing.assert_close(effects.drift, memory * habits.drift * torch.tensor([[0.5, 1.5], [0.0, 0.0]]))
    torch.testing.assert_close(effects.mood, -memory * habits.weariness * torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(effects.fatigue, habits.satiation * torch.tensor([[0.5 - habits.tolerated], [0.0]]))
