"""The fast encoder and the fast users change no result: plain forms learn the same with the same seed."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from plain import plain_encoder, plain_logits

from hsrl_agent import HSRL, make_vec_env
from hsrl_agent.encoder import SASRec
from hsrl_agent.vec_env import slate_vector_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.users.responses import by_profile

N_ENVS, N_STEPS = 32, 8


def learn(bundle: Bundle, plain: bool, monkeypatch: pytest.MonkeyPatch) -> HSRL:
    """Return HSRL after a few updates; `plain`: textbook encoder and textbook users, without precomputed tables."""
    env = make_vec_env("HSRL-ML1M-v0", N_ENVS, seed=0, bundle=bundle)
    with monkeypatch.context() as patch:
        if plain:
            patch.setattr(SASRec, "forward", plain_encoder)
            core = slate_vector_env(env.venv.envs).sessions.core  # type: ignore[attr-defined]
            core.respond = by_profile(partial(plain_logits, bundle.simulators["train"]), core.profiles)
        return HSRL("HSRLPolicy", env, learning_rate=1e-3, seed=0, device="cpu", pretrain_epochs=0).learn(
            N_ENVS * N_STEPS
        )


def test_the_same_seed_learns_the_same(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, plain = (learn(tiny_bundle, is_plain, monkeypatch) for is_plain in (False, True))
    mine, theirs = fast.replay_buffer.columns, plain.replay_buffer.columns
    for name in ("slate", "clicks", "reward", "history"):
        assert torch.equal(mine[name], theirs[name]), name
    assert mine["clicks"].sum() > 0
    for (name, one), other in zip(
        fast.policy.network.named_parameters(), plain.policy.network.parameters(), strict=True
    ):
        if not name.endswith("key_value.bias"):  # the bias of the keys changes nothing, so its noise is its own
            torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3, msg=name)
