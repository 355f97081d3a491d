"""One checker for all algorithms that learn by acting: learning, saving, seeds, target networks, termination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from agents import ENV, SMALL, WITH_TARGET, learnt, make, mean_reward
from toy import OPTIMUM

from hsrl_agent import make_vec_env
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError

N_ENVS = 16
ONLINE = [name for name, method in METHODS.items() if method.learns_online]
# Those that differ from `hsrl` in more than a setting.
DISTINCT = [name for name in ONLINE if name not in ("hsrl-scratch", "hsrl-paper")]
# Vector steps and settings that each needs for the toy world.
EARLY = {"learning_starts": 200}
SHORT_START = {"pretrain_epochs": 1, "critic_warmup_steps": 20}  # too short to know the world from the log alone
LEARNING: dict[str, tuple[int, dict[str, Any]]] = {
    "a2c": (400, {}),
    "a2c-pretrained": (120, SHORT_START),
    "ddpg": (250, EARLY),
    "td3": (250, EARLY),
    "pgra": (300, {}),
    "hac": (250, EARLY),
    "hac-pretrained": (120, SHORT_START),
    "ppo": (250, {}),
    "hsrl-items": (120, SHORT_START),
    "hsrl-two-tower": (120, SHORT_START),
    "hsrl": (120, SHORT_START),
    "hsrl-scratch": (300, {"entropy_weight": 0.1}),
}
# (network, target network) by method; (name, name_target) in SB3's own.
TARGETS = {
    name: (("actor", "actor_target"), ("critic", "critic_target"))
    if name in ("ddpg", "td3")
    else (("network", "target_network"),)
    for name in WITH_TARGET
}


def test_all_are_checked() -> None:
    assert set(LEARNING) == set(ONLINE) - {"hsrl-paper"}


@pytest.mark.parametrize("name", LEARNING)
def test_learns_the_toy_world(name: str, toy_world: Bundle) -> None:
    n_steps, settings = LEARNING[name]
    model = make(name, toy_world, **settings)
    mode = METHODS[name].action_mode
    if settings is SHORT_START:
        model.learn(N_ENVS)  # what follows is due to acting
    before = mean_reward(model, toy_world, mode)
    model.learn(N_ENVS * n_steps, reset_num_timesteps=False)
    assert mean_reward(model, toy_world, mode) > 0.95 * OPTIMUM > before


@pytest.mark.parametrize("name", ONLINE)
def test_save_and_load_predict_the_same(name: str, toy_world: Bundle, tmp_path: Path) -> None:
    model = learnt(name, toy_world)
    model.save(tmp_path / "agent")
    env = make_vec_env(ENV, 8, bundle=toy_world, action_mode=METHODS[name].action_mode)
    loaded = METHODS[name].agent_class.load(tmp_path / "agent", env, device="cpu")
    assert type(loaded) is METHODS[name].agent_class
    observation = model.env.reset()
    actions = [one.predict(observation, deterministic=True)[0] for one in (model, loaded)]
    np.testing.assert_array_equal(*actions)
    for ours, theirs in zip(model.policy.parameters(), loaded.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    loaded.learn(8 * 5, reset_num_timesteps=False)
    assert loaded.num_timesteps >= 8 * 25


@pytest.mark.parametrize("name", ["ddpg", "pgra", "hac"])
def test_a_policy_saved_alone_comes_back_as_it_was(name: str, toy_world: Bundle, tmp_path: Path) -> None:
    others = {} if name == "ddpg" else {"point_width": 8}
    policy = learnt(name, toy_world, policy_kwargs={**SMALL, **others}).policy
    policy.save(tmp_path / "policy")
    loaded = type(policy).load(tmp_path / "policy", device="cpu")
    observation = make_vec_env(ENV, 4, bundle=toy_world).reset()
    np.testing.assert_array_equal(*(one.predict(observation, deterministic=True)[0] for one in (policy, loaded)))
    assert loaded._get_constructor_parameters().keys() == policy._get_constructor_parameters().keys()


@pytest.mark.parametrize("name", DISTINCT)
def test_same_seed_same_agent(name: str, toy_world: Bundle) -> None:
    one, same, other = (learnt(name, toy_world, seed=seed) for seed in (3, 3, 4))
    first = [torch.cat([weight.flatten() for weight in model.policy.parameters()]) for model in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


@pytest.mark.parametrize("name", DISTINCT)
def test_learning_moves_the_weights_and_nothing_else(name: str, toy_world: Bundle) -> None:
    """Codes, centroids, features and masks stay; without a learning rate the weights do, too."""
    log = (
        {"critic_warmup_steps": 0}
        if name in ("a2c-pretrained", "hac-pretrained", "hsrl-items", "hsrl-two-tower", "hsrl")
        else {}
    )
    for settings in ({}, {"learning_rate": 0.0}):
        model = learnt(name, toy_world, **settings, **log)
        fixed = {key: buffer.clone() for key, buffer in model.policy.named_buffers()}
        trained = [
            key for key, weight in model.policy.named_parameters() if weight.requires_grad and "_target" not in key
        ]
        weights = dict(model.policy.named_parameters())
        before = {key: weights[key].clone() for key in trained}
        model.learn(8 * 40, reset_num_timesteps=False)
        assert all(torch.equal(buffer, fixed[key]) for key, buffer in model.policy.named_buffers())
        still = {key for key, weight in before.items() if torch.equal(weights[key], weight)}
        assert still == (set(before) if settings else set())


@pytest.mark.parametrize("name", TARGETS)
def test_targets_move_as_polyak_says(name: str, toy_world: Bundle) -> None:
    model = learnt(name, toy_world, tau=0.25, **({"policy_delay": 1} if name == "td3" else {}))
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    model.train(1, 32)
    after = model.policy.state_dict()
    for online, target in TARGETS[name]:
        names = [key.removeprefix(f"{online}.") for key in after if key.startswith(f"{online}.")]
        assert any(not torch.equal(after[f"{online}.{key}"], before[f"{online}.{key}"]) for key in names)
        for key in names:
            if after[f"{online}.{key}"].is_floating_point():
                expected = 0.75 * before[f"{target}.{key}"] + 0.25 * after[f"{online}.{key}"]
                torch.testing.assert_close(after[f"{target}.{key}"], expected)


@pytest.mark.parametrize("name", TARGETS)
def test_only_users_who_left_end_the_return(name: str, toy_world: Bundle) -> None:
    """A session cut at the horizon bootstraps; one that ends because patience is used up does not."""
    for settings, ends in (({"max_steps": 1}, 0.0), ({"initial_patience": 1.0}, 1.0)):
        method = METHODS[name]
        env = make_vec_env(ENV, 4, seed=0, bundle=toy_world, action_mode=method.action_mode, **settings)
        model = method.make(env, 0, "cpu", {"policy_kwargs": dict(SMALL), "learning_starts": 1000})
        model.learn(4 * 8)
        batch = model.replay_buffer.sample(16)
        terminated = batch.terminated if hasattr(batch, "terminated") else batch.dones
        assert (terminated == ends).all()


@pytest.mark.parametrize("name", DISTINCT)
def test_refuses_another_action_mode(name: str, toy_world: Bundle) -> None:
    method = METHODS[name]
    other = "item" if method.action_mode != "item" else "sid"
    with pytest.raises(HsrlError, match=f'environment with action_mode="{method.action_mode}"'):
        method.make(make_vec_env(ENV, 2, bundle=toy_world, action_mode=other), 0, "cpu", {})
