"""The policies as SB3 sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO

from hsrl_agent import HSRLPolicy, ItemPolicy, make_vec_env
from hsrl_agent.policies import SlatePolicy
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.actions import SlateSpace
from hsrl_gym.items.catalog import Catalog

MODES: list[tuple[type[SlatePolicy], str]] = [(HSRLPolicy, "sid"), (ItemPolicy, "item")]


def make(policy_class: type[SlatePolicy], mode: str, bundle: Bundle) -> tuple[SlatePolicy, Any]:
    torch.manual_seed(0)
    env = make_vec_env("HSRL-ML1M-v0", 6, seed=0, bundle=bundle, action_mode=mode)
    return policy_class(env.observation_space, env.action_space, lambda _: 1e-3), env


@pytest.mark.parametrize(("policy_class", "mode"), MODES)
def test_actions_show_the_items_that_were_meant(policy_class: type[SlatePolicy], mode: str, toy_world: Bundle) -> None:
    policy, env = make(policy_class, mode, toy_world)
    items = torch.tensor([[1, 12], [5, 6], [12, 3], [7, 2], [8, 4], [9, 11]])
    actions = policy.to_actions(items)
    torch.testing.assert_close(policy.to_items(actions), items)
    env.reset()
    *_, infos = env.step(actions.numpy())
    np.testing.assert_array_equal([info["slate"] for info in infos], items.numpy())


@pytest.mark.parametrize(("policy_class", "mode"), MODES)
def test_likelihood_of_what_was_sampled_is_what_evaluate_says(
    policy_class: type[SlatePolicy], mode: str, toy_world: Bundle
) -> None:
    policy, env = make(policy_class, mode, toy_world)
    observation, _ = policy.obs_to_tensor(env.reset())
    actions, values, log_prob = policy(observation)
    again_values, again, entropy = policy.evaluate_actions(observation, actions.float())  # rollout buffers keep floats
    torch.testing.assert_close(again, log_prob)
    torch.testing.assert_close(again_values, values)
    torch.testing.assert_close(policy.predict_values(observation).squeeze(1), values)
    assert entropy is not None
    assert ((entropy > 0) & (entropy <= np.log(12) + 1e-5)).all()


@pytest.mark.parametrize(("policy_class", "mode"), MODES)
def test_greedy_is_repeatable_and_sampling_is_not(
    policy_class: type[SlatePolicy], mode: str, toy_world: Bundle
) -> None:
    policy, env = make(policy_class, mode, toy_world)
    observation = env.reset()
    greedy = [policy.predict(observation, deterministic=True)[0] for _ in range(2)]
    np.testing.assert_array_equal(*greedy)
    sampled = [policy.predict(observation)[0] for _ in range(5)]
    assert any(not np.array_equal(sampled[0], other) for other in sampled[1:])
    for action in (*greedy, *sampled):
        assert all(env.action_space.contains(row) for row in action)


@pytest.mark.parametrize("algorithm", [A2C, PPO])
@pytest.mark.parametrize(("policy_class", "mode"), MODES)
def test_runs_in_sb3s_own_algorithms(
    algorithm: Any, policy_class: type[SlatePolicy], mode: str, toy_world: Bundle
) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 4, seed=0, bundle=toy_world, action_mode=mode)
    batch = {"batch_size": 8} if algorithm is PPO else {}
    model = algorithm(policy_class, env, n_steps=4, seed=0, device="cpu", **batch)
    before = [value.clone() for value in model.policy.network.parameters()]
    model.learn(32)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.network.parameters(), strict=True))


def test_retired_items_are_not_shown(toy_world: Bundle) -> None:
    from dataclasses import replace

    smaller = replace(toy_world, codebook=toy_world.codebook.deactivate([3, 7]))
    for policy_class, mode in MODES:
        policy, env = make(policy_class, mode, smaller)
        env.reset()
        for _ in range(20):
            actions = policy.predict(env.reset())[0]
            items = policy.to_items(torch.as_tensor(actions))
            assert not torch.isin(items, torch.tensor([3, 7])).any()


def test_a_policy_saved_alone_comes_back_as_it_was(toy_world: Bundle, tmp_path: Path) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 3, seed=0, bundle=toy_world)
    settings: dict[str, Any] = {"width": 16, "n_heads": 2, "likelihood": "independent", "hierarchical": False}
    policy = HSRLPolicy(env.observation_space, env.action_space, lambda _: 1e-3, **settings)
    policy.save(str(tmp_path / "policy"))
    loaded = HSRLPolicy.load(str(tmp_path / "policy"), device="cpu")
    assert {name: getattr(loaded, name) for name in settings} == settings
    observation = env.reset()
    np.testing.assert_array_equal(*(p.predict(observation, deterministic=True)[0] for p in (policy, loaded)))


def test_the_target_never_drops_and_a_subclass_may(toy_world: Bundle) -> None:
    """Dropout is switched wherever it is, but in the target network."""
    env = make_vec_env("HSRL-ML1M-v0", 2, bundle=toy_world)
    policy = HSRLPolicy(env.observation_space, env.action_space, lambda _: 1e-3, dropout=0.1)
    for mode in (True, False):
        policy.set_training_mode(mode)
        assert policy.network.encoder.dropout.training == mode
        assert not policy.target_network.encoder.dropout.training

    class Dropping(HSRLPolicy):
        def _build_network(self) -> None:
            super()._build_network()
            self.network.critic.value.append(torch.nn.Dropout(0.5))

    other = Dropping(env.observation_space, env.action_space, lambda _: 1e-3)
    other.set_training_mode(False)
    assert not other.network.critic.value[-1].training


def test_the_target_follows_weights_that_were_replaced(toy_world: Bundle) -> None:
    env = make_vec_env("HSRL-ML1M-v0", 2, bundle=toy_world)
    policy = HSRLPolicy(env.observation_space, env.action_space, lambda _: 1e-3)
    policy.load_state_dict({name: value + 1 for name, value in policy.state_dict().items()}, assign=True)
    expected = [
        0.5 * t + 0.5 * w for t, w in zip(policy.target_network.parameters(), policy.network.parameters(), strict=True)
    ]
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.add_(2.0)
    policy.polyak_update(0.5)
    for target, before in zip(policy.target_network.parameters(), expected, strict=True):
        torch.testing.assert_close(target.detach(), before.detach() + 1.0)


@pytest.mark.parametrize(("policy_class", "mode"), MODES)
def test_what_was_learned_holds_in_another_catalog(
    policy_class: type[SlatePolicy], mode: str, toy_world: Bundle
) -> None:
    """Items that were hidden come back with their own codes and inputs; the weights are those that were learned."""
    book = toy_world.codebook
    learned, _ = make(policy_class, mode, replace(toy_world, codebook=book.deactivate([3, 4])))
    torch.manual_seed(1)
    env = make_vec_env("HSRL-ML1M-v0", 6, seed=0, bundle=toy_world, action_mode=mode)
    policy = policy_class(env.observation_space, env.action_space, lambda _: 1e-3)
    policy.transfer_from(learned)
    for network in (policy.network, *([policy.target_network] if policy.keeps_target else [])):
        for (name, weight), known in zip(network.named_parameters(), learned.network.parameters(), strict=True):
            torch.testing.assert_close(weight, known, msg=name)
    observation, _ = policy.obs_to_tensor(env.reset())
    scores, known_scores = (one.score(observation)[0].scores for one in (policy, learned))
    assert scores.isfinite().all()
    assert (known_scores[:, 2:4] == -torch.inf).all()
    # (the inputs of items are scaled by those of all live items, which moves them a little)
    torch.testing.assert_close(scores[:, 4:], known_scores[:, 4:], atol=0.05, rtol=0.0)


def test_items_behind_the_last_id_have_no_part_of_their_own_yet(toy_world: Bundle) -> None:
    learned, _ = make(ItemPolicy, "item", toy_world)
    book = toy_world.codebook
    larger = book.with_items(book.features[1:2] * book.scale + book.mean)  # one that is like item 1
    env = make_vec_env("HSRL-ML1M-v0", 6, bundle=toy_world, action_mode="item")
    actions = SlateSpace(np.full(2, len(larger.codes) - 1), Catalog(larger, 2), slate_size=2)
    policy = ItemPolicy(env.observation_space, actions, lambda _: 1e-3)
    policy.transfer_from(learned)
    free = policy.network.encoder.item_free.weight
    assert torch.equal(free[:-1], learned.network.encoder.item_free.weight)  # type: ignore[union-attr]
    assert (free[-1] == 0).all()
