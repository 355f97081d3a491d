"""HSRL-Ads-v0 on CUDA: the same candidates, slates and days as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hsrl_gym.envs.ads.env import AdsVectorEnv

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
SMALL = {"n_ads": 2_000, "n_campaigns": 250, "n_users": 500, "n_candidates": 50, "n_days": 7}


@pytest.mark.parametrize("mode", ["sid", "item"])
def test_steps_equal_those_on_the_cpu(mode: str) -> None:
    """Only a probability within rounding of its noise may turn out otherwise."""
    on_cpu, on_gpu = (
        AdsVectorEnv(64, market=SMALL, action_mode=mode, steps_per_day=2, device=device) for device in ("cpu", "cuda")
    )
    first, second = on_cpu.reset(seed=3)[0], on_gpu.reset(seed=3)[0]
    on_cpu.action_space.seed(0)
    for _ in range(5):
        same = np.ones(64, dtype=bool)
        for name in ("profile", "history", "candidates"):
            same &= (first[name] == second[name]).all(1)
        assert same.mean() > 0.9
        actions = on_cpu.action_space.sample()
        first, _, _, _, info = on_cpu.step(actions)
        second, _, _, _, info_gpu = on_gpu.step(actions)
        assert (info["slate"] == info_gpu["slate"])[same].mean() > 0.98  # equal distances may round apart
        np.testing.assert_array_equal(info["day"], info_gpu["day"])
    np.testing.assert_array_equal(on_cpu.action_masks()[same], on_gpu.action_masks()[same])
