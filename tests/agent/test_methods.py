"""The registry: what the modules declare is found, in order, and every method can be made, run and told apart."""

from __future__ import annotations

from typing import Any

import pytest
from agents import ENV

from hsrl_agent import make_vec_env
from hsrl_agent.baselines import td3
from hsrl_agent.method import Look, Method, merged
from hsrl_agent.methods import METHODS, find_method
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.errors import HsrlError


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_made_and_predicts(name: str, toy_world: Bundle) -> None:
    method = find_method(name)
    env = make_vec_env(ENV, 4, seed=0, bundle=toy_world, action_mode=method.action_mode)
    agent = method.make(env, 0)
    agent.learn(total_timesteps=8)
    actions = agent.predict(env.reset(), deterministic=True)[0]
    assert all(env.action_space.contains(action) for action in actions)


def test_the_records_of_the_modules_are_collected_in_order() -> None:
    assert METHODS["td3"] is td3.METHODS[0]
    ranks = [method.rank for method in METHODS.values()]
    assert ranks == sorted(set(ranks))
    assert all(name == method.name for name, method in METHODS.items())


def test_no_two_methods_look_or_read_alike() -> None:
    assert len({method.label for method in METHODS.values()}) == len(METHODS)
    assert len({method.look.colour for method in METHODS.values()}) == len(METHODS)
    assert len({method.look.marker for method in METHODS.values()}) == len(METHODS)


def test_unknown_methods() -> None:
    with pytest.raises(HsrlError, match=r"unknown method 'hsrl-papr'; did you mean hsrl-paper"):
        find_method("hsrl-papr")


def test_settings_win_over_defaults_entry_by_entry() -> None:
    """An agent gets policy, env, seed, device and the settings; a plug-in gets no device."""
    calls: list[Any] = []

    class Agent:
        def __init__(self, *given: Any, **settings: Any) -> None:
            calls.append((given, settings))

    defaults = {"tau": 0.1, "policy_kwargs": {"width": 8, "heads": "free"}}
    settings = {"policy_kwargs": {"width": 4}}
    together = {"tau": 0.1, "policy_kwargs": {"width": 4, "heads": "free"}}
    assert merged(defaults, settings) == together
    look = Look("#000000", "o")
    own = Method("own", "Own", Agent, "sid", 0, look, policy="Policy", defaults=defaults)
    own.make("env", 7, settings=settings)  # type: ignore[arg-type]
    Method("plug", "Plug", Agent, "sid", 0, look, passes_device=False).make("env", 7)  # type: ignore[arg-type]
    assert calls == [(("Policy", "env"), {"seed": 7, "device": "cpu", **together}), (("env",), {"seed": 7})]
