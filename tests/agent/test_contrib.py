"""sb3-contrib: what its algorithms take of ours, and what they are told where it does not fit."""

from __future__ import annotations

from typing import Any

import pytest
from agents import ENV
from sb3_contrib import TRPO, MaskablePPO, RecurrentPPO

from hsrl_agent import HSRLPolicy, ItemPolicy, SASRecExtractor, make_vec_env
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError

SMALL: dict[str, Any] = {"n_steps": 4, "batch_size": 8, "seed": 0}
OURS = [(HSRLPolicy, "sid"), (ItemPolicy, "item"), ("HSRLPolicy", "sid")]


@pytest.mark.parametrize("mode", ["sid", "item"])
@pytest.mark.parametrize(
    ("algorithm", "policy"),
    [(TRPO, "MultiInputPolicy"), (MaskablePPO, "MultiInputPolicy"), (RecurrentPPO, "MultiInputLstmPolicy")],
)
def test_their_own_policies_learn_with_the_encoder(algorithm: Any, policy: str, mode: str, toy_world: Bundle) -> None:
    env = make_vec_env(ENV, 2, seed=0, bundle=toy_world, action_mode=mode)
    model = algorithm(policy, env, policy_kwargs={"features_extractor_class": SASRecExtractor}, **SMALL)
    before = [weight.detach().clone() for weight in model.policy.features_extractor.parameters()]
    model.learn(16)
    after = list(model.policy.features_extractor.parameters())
    assert any(not one.equal(other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize(("policy", "mode"), OURS)
def test_trpo_is_told_that_slates_have_no_divergence(policy: Any, mode: str, toy_world: Bundle) -> None:
    model = TRPO(policy, make_vec_env(ENV, 2, bundle=toy_world, action_mode=mode), **SMALL)
    with pytest.raises(HsrlError, match=r"\(TRPO\): the KL divergence of slates .* Use HSRL, A2C or PPO") as error:
        model.learn(8)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("policy", "mode"), OURS)
def test_recurrent_ppo_is_told_that_there_is_no_lstm(policy: Any, mode: str, toy_world: Bundle) -> None:
    with pytest.raises(HsrlError, match="in RecurrentPPO, expected a policy with an LSTM") as error:
        RecurrentPPO(policy, make_vec_env(ENV, 2, bundle=toy_world, action_mode=mode), **SMALL)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("policy", "mode"), OURS[:2])
def test_maskable_ppo_says_so_itself(policy: Any, mode: str, toy_world: Bundle) -> None:
    with pytest.raises(ValueError, match="Policy must subclass MaskableActorCriticPolicy"):
        MaskablePPO(policy, make_vec_env(ENV, 2, bundle=toy_world, action_mode=mode), **SMALL)
