"""The single environment: Gymnasium's and Stable-Baselines3's own checkers, seeds, ends, names, text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import hsrl_gym
from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.env import SlateEnv
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.click_model import PreparedUsers

MODES = ["sid", "item", "hyper"]
IDS = ["HSRL-RL4RS-v0", "HSRL-ML1M-v0", "HSRL-ML100K-v0"]


def rollout(env: SlateEnv, n_steps: int, actions_seed: int = 0) -> list[tuple[Any, ...]]:
    """Return what each step of random actions brought, new sessions included."""
    env.action_space.seed(actions_seed)
    steps: list[tuple[Any, ...]] = []
    for _ in range(n_steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        steps.append((observation, reward, terminated, truncated, info))
        if terminated or truncated:
            observation, info = env.reset()
            steps.append((observation, info))
    return steps


def assert_same(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for name in left:
            assert_same(left[name], right[name])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("mode", MODES)
def test_gymnasiums_checker(tiny_bundle_folder: Path, mode: str) -> None:
    """Made by id, so that the checker also makes it anew for rendering and for closing."""
    env = gymnasium.make("HSRL-RL4RS-v0", bundle=str(tiny_bundle_folder), action_mode=mode)
    gymnasium_check_env(env.unwrapped)


@pytest.mark.parametrize("mode", MODES)
def test_stable_baselines_checker(tiny_bundle: Bundle, mode: str) -> None:
    sb3_check_env(SlateEnv(tiny_bundle, action_mode=mode, render_mode="ansi"), skip_render_check=False)


@pytest.mark.parametrize("env_id", IDS)
def test_made_by_id_through_gymnasiums_passive_checks(tiny_bundle_folder: Path, env_id: str) -> None:
    env = gymnasium.make(env_id, bundle=tiny_bundle_folder, max_steps=3)
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(10):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert isinstance(reward, float)
        if terminated or truncated:
            env.reset()


@pytest.mark.parametrize(
    ("env_id", "reward"),
    [("HSRL-RL4RS-v0", "sweet_point"), ("HSRL-ML1M-v0", "mean_with_cost"), ("HSRL-ML100K-v0", "mean_with_cost")],
)
def test_default_reward_of_each_id(tiny_bundle: Bundle, env_id: str, reward: str) -> None:
    params = gymnasium.make(env_id, bundle=tiny_bundle).unwrapped.sessions.params  # type: ignore[attr-defined]
    assert params.reward == reward
    assert (params.slate_size, params.max_steps, params.initial_patience, params.miss_cost) == (4, 20, 20.0, 0.1)
    assert params.patience == "reference"


def test_the_spec_can_be_written_as_json(tiny_bundle_folder: Path) -> None:
    env = gymnasium.make("HSRL-ML1M-v0", bundle=str(tiny_bundle_folder), action_mode="item", max_steps=7)
    assert env.spec is not None
    text = env.spec.to_json()
    assert json.loads(text)["kwargs"]["bundle"] == str(tiny_bundle_folder)
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(text))
    assert again.action_space == env.action_space
    assert again.unwrapped.sessions.params == env.unwrapped.sessions.params  # type: ignore[attr-defined]
    assert again.reset(seed=3)[0]["history"].tolist() == env.reset(seed=3)[0]["history"].tolist()
    for env_id in IDS:
        assert json.loads(gymnasium.spec(env_id).to_json())["id"] == env_id


def test_a_bundle_may_be_given_as_itself_or_as_a_folder(tiny_bundle: Bundle, tiny_bundle_folder: Path) -> None:
    assert SlateEnv(tiny_bundle).bundle is tiny_bundle
    for folder in (tiny_bundle_folder, str(tiny_bundle_folder)):
        assert SlateEnv(folder).bundle.source == tiny_bundle.source


def test_spaces(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle)
    assert env.observation_space["profile"].shape == (6,)  # type: ignore[index]
    history = env.observation_space["history"]  # type: ignore[index]
    assert (history.shape, history.dtype, history.high.max()) == ((50,), np.int32, 60)
    assert env.action_space.nvec.tolist() == [8] * 12  # type: ignore[attr-defined]
    assert SlateEnv(tiny_bundle, action_mode="item").action_space.nvec.tolist() == [60] * 4  # type: ignore[attr-defined]
    assert SlateEnv(tiny_bundle, action_mode="hyper").action_space.shape == (32,)
    assert SlateEnv(tiny_bundle, slate_size=2).action_space.nvec.tolist() == [8] * 6  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", MODES)
def test_a_step_says_what_happened(tiny_bundle: Bundle, mode: str) -> None:
    env = SlateEnv(tiny_bundle, action_mode=mode, initial_patience=100.0)
    before, info = env.reset(seed=5)
    assert info["patience"] == info["patience_before"] == 100.0
    env.action_space.seed(5)
    history, patience = before["history"].tolist(), 100.0
    for _ in range(8):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        slate, clicks = info["slate"].tolist(), info["clicks"].tolist()
        assert reward == pytest.approx(sum(1.0 if click else -0.1 for click in clicks) / 4, abs=1e-6)
        assert info["patience_before"] == pytest.approx(patience, abs=1e-3)
        patience -= (1 - reward) * 4 + 1
        assert info["patience"] == pytest.approx(patience, abs=1e-3)
        history = (history + [item for item, click in zip(slate, clicks, strict=True) if click])[-50:]
        assert observation["history"].tolist() == history
        np.testing.assert_array_equal(observation["profile"], before["profile"])
        np.testing.assert_array_equal(info["slate_tokens"], tiny_bundle.codebook.encode(slate))
        assert not terminated
        assert not truncated


def test_an_item_action_shows_those_items(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle, action_mode="item")
    env.reset(seed=0)
    assert env.step(np.array([9, 19, 29, 59]))[4]["slate"].tolist() == [10, 20, 30, 60]


def test_a_sid_action_shows_those_items(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle)
    env.reset(seed=0)
    action = tiny_bundle.codebook.encode([7, 60, 1, 33]).ravel()
    assert env.step(action)[4]["slate"].tolist() == [7, 60, 1, 33]


def test_the_seed_decides_everything(tiny_bundle: Bundle) -> None:
    runs = []
    for seed in (1, 1, 2):
        env = SlateEnv(tiny_bundle)
        first = env.reset(seed=seed)
        runs.append([first, *rollout(env, 30)])
    assert_same(runs[0], runs[1])
    assert str(runs[0]) != str(runs[2])


def test_resetting_with_the_seed_starts_over(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle)
    first = env.reset(seed=1)
    steps = rollout(env, 20)
    assert_same(first, env.reset(seed=1))
    assert_same(steps, rollout(env, 20))


def test_resetting_without_a_seed_goes_on_to_the_next_session(tiny_bundle: Bundle) -> None:
    """The n-th session is the n-th whether the ones before were played or not."""
    env = SlateEnv(tiny_bundle)
    env.reset(seed=1)
    skipped = [env.reset()[0] for _ in range(30)]
    profiles = {observation["profile"].tobytes() for observation in skipped}
    assert len(profiles) > 20
    env.reset(seed=1)
    env.step(env.action_space.sample())
    assert_same([env.reset()[0] for _ in range(30)], skipped)


def test_unseeded_environments_differ(tiny_bundle: Bundle) -> None:
    first = [SlateEnv(tiny_bundle).reset()[0]["profile"].tobytes() for _ in range(5)]
    assert len(set(first)) > 1


def test_no_global_generator_is_touched(tiny_bundle: Bundle) -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (the legacy global state is what must stay untouched)
    before = torch.get_rng_state().clone(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    env = SlateEnv(tiny_bundle)
    env.reset(seed=1)
    first = rollout(env, 10)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # noqa: NPY002
    torch.manual_seed(99)
    env.reset(seed=1)
    assert_same(first, rollout(env, 10))


def test_sessions_end_by_the_horizon(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle, max_steps=3, initial_patience=1000.0)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_sessions_end_by_patience(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle, max_steps=1000)
    env.action_space.seed(0)
    for seed in range(20):
        env.reset(seed=seed)
        terminated, patience = False, 20.0
        while not terminated:
            assert patience >= 1.0
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
            patience = info["patience"]
            assert not truncated
        assert patience < 1.0


def test_the_eval_simulator_has_other_users_and_another_model(tiny_bundle: Bundle) -> None:
    train, score = (SlateEnv(tiny_bundle, simulator=name) for name in ("train", "eval"))
    for name, env in (("train", train), ("eval", score)):
        users = env.sessions.core.respond
        assert isinstance(users, PreparedUsers)
        expected = tiny_bundle.simulators[name].state_dict()
        assert all(torch.equal(users.model.state_dict()[key], value) for key, value in expected.items())
        np.testing.assert_array_equal(env.sessions.core.profiles.numpy(), tiny_bundle.users[name].profile)
        np.testing.assert_array_equal(env.sessions.core.histories.numpy(), tiny_bundle.users[name].history)


def test_what_it_returned_stays_the_callers(tiny_bundle: Bundle) -> None:
    """Overwriting observations, infos and actions does not change what follows."""
    kept, spoiled = (SlateEnv(tiny_bundle, render_mode="ansi") for _ in range(2))
    kept.reset(seed=4)
    _spoil(spoiled.reset(seed=4))
    kept.action_space.seed(4)
    for _ in range(6):
        action = kept.action_space.sample()
        theirs = action.copy()
        expected, got = kept.step(action), spoiled.step(theirs)
        assert_same(expected, got)
        theirs[:] = 0
        _spoil(got)
        assert kept.render() == spoiled.render()


def _spoil(values: Any) -> None:
    if isinstance(values, np.ndarray):
        values[...] = 1
    elif isinstance(values, dict):
        for value in values.values():
            _spoil(value)
    elif isinstance(values, tuple):
        for value in values:
            _spoil(value)


def test_read_only_and_reversed_actions(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle)
    action = env.action_space.sample()
    locked = action.copy()
    locked.flags.writeable = False
    slates = []
    for one in (action, locked, action[::-1].copy()[::-1], action.tolist()):
        env.reset(seed=0)
        slates.append(env.step(one)[4]["slate"].tolist())
    assert slates == [slates[0]] * 4


def test_masks(tiny_bundle: Bundle) -> None:
    for mode in ("sid", "item"):
        env = SlateEnv(tiny_bundle, action_mode=mode)
        assert env.action_masks().shape == (env.action_space.nvec.sum(),)  # type: ignore[attr-defined]
        assert env.action_masks().dtype == np.bool_


def test_render(tiny_bundle: Bundle) -> None:
    env = gymnasium.make("HSRL-ML1M-v0", bundle=tiny_bundle, render_mode="ansi", action_mode="item")
    env.reset(seed=0)
    assert env.render() == "a new user, patience 20.0"
    reward = env.step(np.array([0, 1, 2, 3]))[1]
    text = env.render()
    assert isinstance(text, str)
    assert text.splitlines()[0] == "step 1 of at most 20"
    assert "item 4, topic" in text
    assert f"reward {reward:.3f}" in text
    env.reset()
    assert env.render() == "a new user, patience 20.0"


def test_step_before_reset(tiny_bundle: Bundle) -> None:
    env = SlateEnv(tiny_bundle)
    with pytest.raises(HsrlError, match=r"step\(\) came before reset\(\); call reset\(\) first"):
        env.step(env.action_space.sample())


def test_an_action_outside_the_space_leaves_the_session_as_it_was(tiny_bundle: Bundle) -> None:
    env, other = SlateEnv(tiny_bundle), SlateEnv(tiny_bundle)
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(HsrlError, match=r"got 8 at position 11 of action 0, expected an integer in 0\.\.7"):
        env.step(np.array([0] * 11 + [8]))
    with pytest.raises(HsrlError, match=r"expected \(B, 12\)"):
        env.step(np.zeros(3, dtype=int))
    assert_same(env.step(np.zeros(12, dtype=int)), other.step(np.zeros(12, dtype=int)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simulator": "evaluate"}, "unknown simulator 'evaluate'; did you mean eval"),
        ({"action_mode": "sids"}, "unknown action_mode 'sids'; did you mean sid"),
        ({"reward": "mean_cost"}, "unknown reward rule 'mean_cost'; did you mean mean_with_cost"),
        ({"patience": "refrence"}, "unknown patience rule 'refrence'; did you mean reference"),
        ({"render_mode": "human"}, "unknown render_mode 'human'; known: ansi"),
        ({"slate_size": 61}, "got slate_size 61, expected at most the 60 live items"),
        ({"slate_size": 0}, "slate_size 0"),
        ({"max_steps": 0}, "max_steps 0"),
    ],
)
def test_settings_are_checked(tiny_bundle: Bundle, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        SlateEnv(tiny_bundle, **settings)


def test_a_folder_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(HsrlError, match=r"no bundle\.yaml here, expected a bundle folder; `hsrl-gym build` makes one"):
        SlateEnv(tmp_path)


def test_the_package_says_its_version() -> None:
    metadata = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{hsrl_gym.__version__}"\n' in metadata
    assert set(hsrl_gym.__all__) == {"HsrlError", "__version__"}


def test_environments_do_not_share_what_a_device_moves(tiny_bundle: Bundle) -> None:
    one, other = (SlateEnv(tiny_bundle).sessions.core.respond for _ in range(2))
    assert isinstance(one, PreparedUsers)
    assert isinstance(other, PreparedUsers)
    assert one.model is not other.model
    assert one.model is not tiny_bundle.simulators["train"]


def test_nothing_is_rendered_without_a_render_mode(tiny_bundle: Bundle) -> None:
    with pytest.raises(
        HsrlError, match=r'render\(\) needs a render mode; make the environment with render_mode="ansi"'
    ):
        SlateEnv(tiny_bundle).render()


def test_a_device_that_is_not_there(tiny_bundle: Bundle) -> None:
    with pytest.raises(HsrlError, match="got the device 'gpu', expected cpu, cuda or cuda:N"):
        SlateEnv(tiny_bundle, device="gpu")
    with pytest.raises(HsrlError, match="but torch sees"):
        SlateEnv(tiny_bundle, device="cuda:99")
