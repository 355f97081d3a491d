"""Agents in a catalog that changes: nobody shows what is gone, everybody can show what is new, weights stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from torch import Tensor

from hsrl_agent import HSRL, make_vec_env
from hsrl_agent.hsrl_policy import HSRLPolicy
from hsrl_agent.item_policy import ItemPolicy
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog

CHURN = {"every": 2, "held_back": 0.3, "arrive": 0.2}


def vec_env(bundle: Bundle, mode: str = "sid", **settings: Any) -> Any:
    return make_vec_env("HSRL-Bundle-v0", 8, seed=0, bundle=bundle, action_mode=mode, **settings)


def of_env(env: Any) -> SlateVectorEnv:
    inner: SlateVectorEnv = env.venv.envs
    return inner


@pytest.mark.parametrize("name", METHODS)
def test_every_method_plays_and_learns_through_changes(tiny_bundle: Bundle, name: str) -> None:
    method = METHODS[name]
    env = vec_env(tiny_bundle, method.action_mode, churn=CHURN)
    quick = {"pretrain_epochs": 0} if hasattr(method.agent_class, "pretrain") else {}
    quick |= {"learning_starts": 8} if "learning_starts" in method.defaults else {}
    agent = method.make(env, seed=0, settings=quick)
    agent.learn(total_timesteps=8 * 12)
    observation = env.reset()
    for _ in range(6):
        live = of_env(env).catalog.live_items
        actions = np.asarray(agent.predict(observation, deterministic=True)[0])
        observation, _, _, infos = env.step(actions)
        for info in infos:
            assert set(info["slate"]) <= set(live)


@pytest.mark.parametrize(("policy_class", "mode"), [(HSRLPolicy, "sid"), (ItemPolicy, "item")])
def test_a_policy_scores_the_items_on_sale(tiny_bundle: Bundle, policy_class: Any, mode: str) -> None:
    env = vec_env(tiny_bundle, mode, churn={**CHURN, "arrive": 0.0})
    policy = policy_class(env.observation_space, env.action_space, lambda _: 1e-3)
    catalog, observation = of_env(env).catalog, {k: torch.as_tensor(v) for k, v in env.reset().items()}
    waiting = np.flatnonzero(~catalog.is_live)[1:]
    before = policy.score(observation)[0].scores
    assert (before.isfinite().all(0).nonzero().squeeze(1) + 1).tolist() == catalog.live_items.tolist()
    catalog.change(retire=catalog.live_items[:5], arrive=waiting[:3])
    after = policy.score(observation)[0].scores
    assert (after.isfinite().all(0).nonzero().squeeze(1) + 1).tolist() == catalog.live_items.tolist()
    stayed = [item for item in catalog.live_items if item not in waiting]
    torch.testing.assert_close(after[:, np.array(stayed) - 1], before[:, np.array(stayed) - 1])
    encoder = policy.network.encoder
    assert (encoder.free_vectors()[waiting] == 0).all()  # nothing is known of them but their inputs
    # What is learned of an item reaches the network.
    catalog.move(waiting[:1], catalog.vectors[stayed[0]][None])
    policy.follow()
    np.testing.assert_allclose(encoder.item_features[waiting[0]], catalog.inputs(waiting[:1])[0])


def test_without_semantic_ids_tokens_take_the_new_vectors(tiny_bundle: Bundle) -> None:
    env = vec_env(tiny_bundle, churn={**CHURN, "arrive": 0.0})
    policy = HSRLPolicy(env.observation_space, env.action_space, lambda _: 1e-3, semantic_ids=False)
    catalog = of_env(env).catalog
    item = int(np.flatnonzero(~catalog.is_live)[1])
    catalog.move([item], catalog.vectors[7][None])
    catalog.change(arrive=[item])
    policy.follow()
    np.testing.assert_array_equal(policy.network.policy.heads[0].centroids[item - 1], catalog.vectors[7])
    assert bool(policy.network.is_live[item - 1])
    assert policy.network.codes[item - 1].tolist() == [item - 1]


@pytest.mark.filterwarnings("ignore:the ids of `history`")
@pytest.mark.parametrize(("agent_class", "policy"), [(PPO, "MultiInputPolicy"), (A2C, HSRLPolicy), (PPO, HSRLPolicy)])
def test_sb3s_own_algorithms_go_on(tiny_bundle: Bundle, agent_class: Any, policy: Any) -> None:
    env = vec_env(tiny_bundle, churn=CHURN)
    sizes = {"n_steps": 6} | ({"batch_size": 24} if agent_class is PPO else {})
    agent_class(policy, env, seed=0, **sizes).learn(8 * 18)
    assert of_env(env).catalog.version >= 8


def test_to_items_knows_the_sids_of_today(tiny_bundle: Bundle) -> None:
    env = vec_env(tiny_bundle, churn={**CHURN, "arrive": 0.0})
    policy = HSRLPolicy(env.observation_space, env.action_space, lambda _: 1e-3)
    catalog = of_env(env).catalog
    for _ in range(2):
        items = torch.as_tensor(catalog.live_items[-4:]).unsqueeze(0)
        assert policy.to_items(policy.to_actions(items)).tolist() == items.tolist()
        catalog.change(retire=catalog.live_items[:9], arrive=np.flatnonzero(~catalog.is_live)[1:6])
        policy.follow()


def test_a_loaded_agent_follows_the_catalog_of_its_environment(tiny_bundle: Bundle, tmp_path: Path) -> None:
    env = vec_env(tiny_bundle, churn=CHURN)
    HSRL("HSRLPolicy", env, seed=0, pretrain_epochs=0).learn(8 * 4).save(tmp_path / "agent")
    other = vec_env(tiny_bundle, churn=CHURN)
    loaded = HSRL.load(tmp_path / "agent", other)
    assert loaded.policy.catalog is of_env(other).catalog
    third = vec_env(tiny_bundle, churn=CHURN)
    loaded.set_env(third)
    assert loaded.policy.catalog is of_env(third).catalog
    live = of_env(third).catalog.is_live
    assert loaded.policy.network.is_live.tolist() == live[1:].tolist()


def test_a_catalog_with_other_tokens_is_refused(tiny_bundle: Bundle) -> None:
    env = vec_env(tiny_bundle)
    policy = HSRLPolicy(env.observation_space, env.action_space, lambda _: 1e-3)
    book = tiny_bundle.codebook
    other = replace(book, centroids=(book.centroids[0] + 1.0, *book.centroids[1:]))
    with pytest.raises(HsrlError, match="got a catalog with other centroids"):
        policy.follow(Catalog(other, 4))


UPDATES, PRETRAINING = {"pretrain_epochs": 0, "learning_starts": 8}, {"pretrain_epochs": 1}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sl", {"max_epochs": 1}),
        ("a2c", {}),
        ("a2c-pretrained", PRETRAINING),
        *((name, how) for name in ("hac", "hsrl-items", "hsrl-two-tower", "hsrl") for how in (UPDATES, PRETRAINING)),
    ],
)
def test_items_learn_nothing_before_they_are_on_sale(tiny_bundle: Bundle, name: str, settings: dict[str, Any]) -> None:
    """The weights that an item has of its own get no gradient, in updates as in pretraining."""
    method = METHODS[name]
    env = vec_env(tiny_bundle, method.action_mode, churn={**CHURN, "arrive": 0.0})
    agent: Any = method.make(env, seed=0, settings=settings)
    network = getattr(agent, "policy", agent).network
    is_live = torch.as_tensor(of_env(env).catalog.is_live)  # (N + 1,)
    gradients: list[Tensor] = []  # (N, ..), or (N + 1, ..) with padding

    def listen(_module: Any, _features: Any, found: Tensor) -> None:
        if found.requires_grad:
            found.register_hook(gradients.append)

    own = {key: weight for key, weight in network.named_parameters() if len(weight) in (len(is_live), len(is_live) - 1)}
    for weight in own.values():
        weight.register_hook(gradients.append)
    if name == "hsrl-two-tower":  # has none; what its item tower says of items has a gradient instead
        assert not own
        network.policy.content.register_forward_hook(listen)
    observation = env.reset()
    agent.learn(8 * 6)
    by_sale = {sale: [bool(one[is_live[-len(one) :] == sale].any()) for one in gradients] for sale in (True, False)}
    assert any(by_sale[True])
    assert not any(by_sale[False])
    if name == "hsrl-two-tower":
        return
    waiting = (~is_live).nonzero().squeeze(1)[1:]
    if name == "hsrl-items":
        head = network.policy.heads[0]
        assert {id(head.free), id(head.bias)} <= set(map(id, own.values()))
        assert head.free[is_live[1:]].any()
        assert not head.free[waiting - 1].any()
        assert not head.bias[waiting - 1].any()
    assert not network.encoder.free_vectors()[waiting].any()
    of_env(env).catalog.change(arrive=waiting.numpy())
    agent.predict(observation)
    assert network.encoder.has_arrived.all()
    assert not network.encoder.free_vectors()[waiting].any()  # nobody knows anything of them yet


@pytest.mark.parametrize("name", ["hsrl-items", "hsrl-two-tower"])
def test_critic_warmup_leaves_out_what_is_not_on_sale(tiny_bundle: Bundle, name: str) -> None:
    """The contexts, and so the values and their loss, are those of the policy."""
    env = vec_env(tiny_bundle, churn={**CHURN, "arrive": 0.0})
    agent: Any = METHODS[name].make(env, seed=0, settings={**UPDATES, "policy_kwargs": {"dropout": 0.0}}).learn(8 * 6)
    batch = agent.replay_buffer.sample(32)
    torch.testing.assert_close(agent.critic_warmup_loss(batch), agent.losses(batch).critic, rtol=1e-5, atol=0.0)


def test_sb3_is_told_what_onboarding_showed(tiny_bundle: Bundle) -> None:
    """`explored` marks the slots that did not come from the action."""
    env = vec_env(tiny_bundle, "item", churn={**CHURN, "arrive": 0.0}, onboarding={"explore": 0.25})
    env.reset()
    catalog = of_env(env).catalog
    actions = np.tile(catalog.live_items[:4] - 1, (8, 1))
    waiting = np.flatnonzero(~catalog.is_live)[1:]
    catalog.change(arrive=waiting)
    _, _, _, infos = env.step(actions)
    explored, slates = (np.stack([info[name] for info in infos]) for name in ("explored", "slate"))
    assert explored.sum(1).tolist() == [1] * 8
    assert set(slates[explored]) <= set(waiting)
    np.testing.assert_array_equal(slates[~explored], (actions + 1)[~explored])
    without = vec_env(tiny_bundle, "item")
    without.reset()
    assert "explored" not in without.step(actions)[3][0]
