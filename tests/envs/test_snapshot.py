"""A snapshot goes on in another environment, step for step, with churn, onboarding and the days of a market."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.ads.env import AdsEnv, AdsVectorEnv
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.envs.vector_env import SlateVectorEnv
from hsrl_gym.errors import HsrlError

MARKET = {
    "n_ads": 600, "n_campaigns": 80, "n_categories": 6, "n_users": 100, "n_candidates": 32, "n_days": 7,
    "n_segments": 4, "n_latent": 3, "n_features": 6, "n_profile": 5, "base": 0.0, "sale": -1.0,
}  # fmt: skip
CHURN = {"every": 3, "arrive": 0.1, "cooldown": 2}
# Name of the case: what makes the environment of a bundle.
MAKE: dict[str, Callable[[Bundle], Any]] = {
    "single": lambda bundle: SlateEnv(bundle),
    "vector": lambda bundle: SlateVectorEnv(3, bundle, action_mode="hyper"),
    "vector, next step": lambda bundle: SlateVectorEnv(3, bundle, autoreset_mode="NextStep", max_steps=2),
    "churn": lambda bundle: SlateVectorEnv(3, bundle, churn=CHURN),
    "churn, single": lambda bundle: SlateEnv(bundle, churn={**CHURN, "unit": "sessions", "every": 1}),
    "onboarding": lambda bundle: SlateVectorEnv(
        3, bundle, action_mode="item", churn=CHURN, onboarding={"explore": 0.3, "move_every": 2}
    ),
    "market": lambda _: AdsEnv(market=MARKET, steps_per_day=4),
    "market, vector": lambda _: AdsVectorEnv(3, market=MARKET, steps_per_day=4, action_mode="item"),
}


def play(env: Any, actions: list[NDArray[Any]]) -> list[Any]:
    """Return what each step brought; a single environment is reset when a session ends."""
    steps = []
    for action in actions:
        result = env.step(action)
        if "final_obs" in result[4]:
            result[4]["final_obs"] = list(result[4]["final_obs"])  # NumPy compares no arrays of dicts
        steps.append(result)
        if isinstance(env, SlateEnv) and (result[2] or result[3]):
            steps.append(env.reset())
    return steps


@pytest.mark.parametrize("case", MAKE)
def test_another_environment_goes_on_where_it_was_taken(case: str, tiny_bundle: Bundle) -> None:
    env, other = MAKE[case](tiny_bundle), MAKE[case](tiny_bundle)
    env.reset(seed=4)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(60)]
    play(env, actions[:25])
    snapshot = env.snapshot()
    kept = {name: values.copy() for name, values in snapshot.items()}
    goes_on = play(env, actions[25:])
    other.reset(seed=5)
    play(other, actions[:7])  # it has a history of its own
    observation = other.restore(snapshot)
    np.testing.assert_equal(play(other, actions[25:]), goes_on)
    np.testing.assert_array_equal(other.catalog.codes, env.catalog.codes)
    np.testing.assert_array_equal(other.catalog.vectors, env.catalog.vectors)
    np.testing.assert_equal(env.restore(snapshot), observation)  # back in the same environment
    np.testing.assert_equal(play(env, actions[25:]), goes_on)
    np.testing.assert_equal(snapshot, kept)
    assert all(values.dtype.kind in "bifu" for values in snapshot.values())


def test_a_reader_of_the_catalog_takes_over_what_a_restore_changes(tiny_bundle: Bundle) -> None:
    env = SlateVectorEnv(2, tiny_bundle, churn=CHURN)
    env.reset(seed=0)
    before, seen = env.snapshot(), env.catalog.version
    play(env, [env.action_space.sample() for _ in range(3)])
    changed = env.catalog.changed_since(seen)
    assert len(changed) > 0
    seen = env.catalog.version
    env.restore(before)
    np.testing.assert_array_equal(env.catalog.changed_since(seen), changed)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simulator": "eval"}, "got a snapshot of an environment with users"),
        ({"max_steps": 7}, "with rules SessionParams.*max_steps=20.*, expected SessionParams.*max_steps=7"),
        ({"churn": CHURN}, "with items"),
        ({"churn": {**CHURN, "held_back": 0.0}}, "with churn None, expected {'every': 3"),
    ],
)
def test_an_environment_with_other_arguments_refuses(
    settings: dict[str, Any], message: str, tiny_bundle: Bundle
) -> None:
    env = SlateVectorEnv(2, tiny_bundle)
    env.reset(seed=0)
    with pytest.raises(HsrlError, match=message):
        SlateVectorEnv(2, tiny_bundle, **settings).restore(env.snapshot())


def test_what_is_no_snapshot_is_refused(tiny_bundle: Bundle) -> None:
    envs = SlateVectorEnv(2, tiny_bundle)
    with pytest.raises(HsrlError, match=r"state was read before reset\(\); call reset"):
        envs.snapshot()
    with pytest.raises(HsrlError, match=r"snapshot\(\) came before reset\(\); call reset\(\) first"):
        SlateEnv(tiny_bundle).snapshot()
    envs.reset(seed=0)
    snapshot = envs.snapshot()
    with pytest.raises(HsrlError, match="got a snapshot of 2 sessions, expected 3"):
        SlateVectorEnv(3, tiny_bundle).restore(snapshot)
    with pytest.raises(HsrlError, match=r"got arrays that are no snapshot, expected what snapshot\(\)"):
        envs.restore({"origin": np.zeros(3, dtype=np.uint8)})
    with pytest.raises(HsrlError, match="got a snapshot with codes"):
        envs.catalog.restore({**envs.catalog.snapshot(), "codes": np.zeros((2, 2))})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"session/history": None}, "with session/history missing, expected int64 with 2 axes"),
        ({"session/history": np.zeros((2, 3), dtype=np.int64)}, r"with session/history int64 with 2 axes \(2, 3\)"),
        ({"session/history": 10**6}, "with a session/history outside of 0 to"),
        ({"session/user": 10**6}, "with a session/user outside of 0 to"),
        ({"session/user": -1}, "with a session/user outside of 0 to"),
        ({"session/step": -1}, "with a session/step outside of 0 to"),
        ({"session/user": None}, "got a snapshot of 0 sessions, expected 2"),
        ({"session/patience": np.zeros(2)}, "with session/patience float64 .*, expected float32"),
        ({"catalog/codes": None}, "with catalog/codes missing"),
        ({"turnover/waiting": None}, "with turnover/waiting missing"),
        ({"turnover/day": np.array(np.nan)}, "with turnover/day float64"),
        (
            {"catalog/codes": np.zeros((2, 3), dtype=np.int32)},
            "whose parts do not fit together .got a snapshot with codes",
        ),
        ({"catalog/cooling_until": np.zeros(2, dtype=np.int64)}, "whose parts do not fit together"),
        ({"ended": None}, "without ended, expected that of a vector of 2"),
        ({"ended": np.zeros(3, dtype=bool)}, "without ended, expected that of a vector of 2"),
        ({"ended": np.ones(2, dtype=bool)}, 'sessions that are over, which autoreset_mode "SameStep" never leaves'),
    ],
)
def test_a_damaged_snapshot_changes_nothing(changes: dict[str, Any], message: str, tiny_bundle: Bundle) -> None:
    """An array is taken out, replaced, or filled with one number."""
    envs = SlateVectorEnv(2, tiny_bundle, churn=CHURN, render_mode="ansi")
    envs.reset(seed=0)
    damaged = envs.snapshot()
    for name, change in changes.items():
        if change is None:
            del damaged[name]
        else:
            damaged[name] = np.full_like(damaged[name], change) if isinstance(change, int) else change
    play(envs, [envs.action_space.sample() for _ in range(5)])
    before = envs.snapshot()
    with pytest.raises(HsrlError, match=message):
        envs.restore(damaged)
    np.testing.assert_equal(envs.snapshot(), before)
    envs.step(envs.action_space.sample())


def test_a_single_environment_and_a_vector_of_one_differ(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle)
    env.reset(seed=0)
    with pytest.raises(HsrlError, match="without ended"):
        SlateVectorEnv(1, tiny_bundle).restore(env.snapshot())


class Never:
    """A user model who seldom clicks."""

    def __call__(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        return torch.full(slate.shape, -5.0)


def test_another_user_model_refuses(tiny_bundle: Bundle) -> None:
    """The users are the same, but they answer otherwise."""
    env = SlateEnv(tiny_bundle, simulator="eval")
    env.reset(seed=0)
    with pytest.raises(HsrlError, match="with simulator eval, expected Never"):
        SlateEnv(tiny_bundle, simulator=Never()).restore(env.snapshot())
