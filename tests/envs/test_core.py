"""The session core: histories by hand, noise that is uniform and independent, batches that agree with single users."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs import core as core_module
from hsrl_gym.envs.core import SessionParams, SessionState, SlateCore, append_clicked
from hsrl_gym.errors import HsrlError

N_USERS = 7


def make_core(logit: float = 0.0, history_length: int = 5, **params: Any) -> SlateCore:
    """Return sessions of users who click on anything with the same probability."""

    def model(user: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        return torch.sigmoid(torch.full(slate.shape, logit))

    profiles = torch.arange(N_USERS, dtype=torch.float32).unsqueeze(1).expand(-1, 2).contiguous()
    histories = torch.zeros(N_USERS, history_length, dtype=torch.long)
    return SlateCore(model, profiles, histories, SessionParams(**{"slate_size": 4, **params}))


def start(core: SlateCore, *seeds: int, episode: int = 0) -> SessionState:
    return core.initial(torch.tensor(seeds), torch.full((len(seeds),), episode))


def uniforms(seed: Any = 0, episode: Any = 0, step: Any = 0, n_slots: int = 1) -> np.ndarray:
    """Return draws (n, n_slots); one of seed, episode, step may be a range."""
    return core_module._uniform(noise(seed, episode, step, n_slots)).numpy()


def noise(seed: Any, episode: Any, step: Any, n_slots: int) -> Tensor:
    """Return bits (n, n_slots); the stream is what `initial` makes of seed and episode."""
    parts = torch.broadcast_tensors(*(torch.as_tensor(part) for part in (seed, episode, step)))
    seeds, episodes, steps = (part.reshape(-1).long() for part in parts)
    return core_module._noise(make_core().initial(seeds, episodes).stream, steps, torch.arange(1, n_slots + 1))


def equal(left: SessionState, right: SessionState) -> bool:
    return all(torch.equal(getattr(left, field.name), getattr(right, field.name)) for field in fields(left))


# --- histories


def test_clicked_items_are_appended_in_slate_order() -> None:
    history = torch.tensor([[0, 0, 3, 4, 5], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]])
    slate = torch.tensor([[7, 8, 9], [7, 8, 9], [7, 8, 9]])
    clicks = torch.tensor([[0, 1, 0], [1, 0, 1], [1, 1, 1]])
    assert append_clicked(history, slate, clicks).tolist() == [[0, 3, 4, 5, 8], [3, 4, 5, 7, 9], [0, 0, 7, 8, 9]]


def test_no_click_leaves_the_history_as_it_is() -> None:
    history = torch.tensor([[0, 0, 3, 4, 5]])
    assert append_clicked(history, torch.tensor([[7, 8]]), torch.zeros(1, 2)).tolist() == history.tolist()


def test_more_clicks_than_the_history_holds() -> None:
    history, slate = torch.tensor([[1, 2]]), torch.tensor([[5, 6, 7, 8]])
    assert append_clicked(history, slate, torch.tensor([[1, 1, 0, 1]])).tolist() == [[6, 8]]
    assert append_clicked(history, slate, torch.tensor([[1, 1, 1, 1]])).tolist() == [[7, 8]]


@settings(max_examples=50, deadline=None)
@given(data=st.data(), length=st.integers(1, 6), slate_size=st.integers(1, 5), n_rows=st.integers(1, 4))
def test_append_clicked_is_a_list_cut_to_its_end(
    data: st.DataObject, length: int, slate_size: int, n_rows: int
) -> None:
    def table(width: int, most: int) -> list[list[int]]:
        row = st.lists(st.integers(0, most), min_size=width, max_size=width)
        return data.draw(st.lists(row, min_size=n_rows, max_size=n_rows))

    history, slate, clicks = table(length, 9), table(slate_size, 9), table(slate_size, 1)
    got = append_clicked(torch.tensor(history), torch.tensor(slate), torch.tensor(clicks))
    for row, kept in enumerate(got.tolist()):
        clicked = [item for item, click in zip(slate[row], clicks[row], strict=True) if click]
        assert kept == (history[row] + clicked)[-length:]


# --- noise


@pytest.mark.parametrize("counter", ["seed", "episode", "step"])
def test_noise_is_uniform_along_each_counter(counter: str) -> None:
    draws = uniforms(**{counter: torch.arange(20_000)}, n_slots=3)
    for slot in range(3):
        assert stats.kstest(draws[:, slot], "uniform").pvalue > 0.01
    assert draws.min() >= 0.0
    assert draws.max() < 1.0


def test_noise_is_uniform_over_the_slots() -> None:
    assert stats.kstest(uniforms(seed=123, n_slots=20_000)[0], "uniform").pvalue > 0.01


@pytest.mark.parametrize("counter", ["seed", "episode", "step", "slot"])
def test_neighbouring_draws_are_independent(counter: str) -> None:
    """8 x 8 cells of (a draw, the next along the counter) are equally full, by chi squared."""
    if counter == "slot":
        draws = uniforms(seed=torch.arange(30_000), n_slots=2)
        left, right = draws[:, 0], draws[:, 1]
    else:
        other = "episode" if counter != "episode" else "seed"
        counters: list[dict[str, Any]] = [{counter: value, other: torch.arange(30_000)} for value in (5, 6)]
        both = [uniforms(**one)[:, 0] for one in counters]
        left, right = both
    cells = np.histogram2d(left, right, bins=8, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(cells.ravel()).pvalue > 0.01


def test_no_two_draws_share_their_bits() -> None:
    """Seeds, episodes, steps and slots that add up to the same do not collide."""
    grid = torch.cartesian_prod(torch.arange(20), torch.arange(20), torch.arange(-1, 20))
    bits = noise(grid[:, 0], grid[:, 1], grid[:, 2], n_slots=10)
    assert len(bits.unique()) == 20 * 20 * 21 * 10


def test_noise_by_hand() -> None:
    """SplitMix64 from its definition, in Python's integers."""
    mask = (1 << 64) - 1

    def mix(z: int) -> int:
        z = (z + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    assert mix(0) == 0xE220A8397B1DCDAF  # the first number of the published generator with seed 0
    for seed, episode, step in [(0, 0, 0), (3, 1, 4), (2**62, 5, 19), (7, 0, -1)]:
        key = mix((mix((mix(seed) + episode) & mask) + step & mask) & mask)
        expected = [mix((key + slot * 0x9E3779B97F4A7C15) & mask) for slot in (1, 2, 3)]
        got = noise(seed, episode, step, 3)[0]
        assert [bits & mask for bits in got.tolist()] == expected
        assert uniforms(seed, episode, step, 3)[0].tolist() == [(bits >> 40) / 2**24 for bits in expected]


# --- arrival


def test_who_arrives_is_drawn_with_the_noise_of_step_minus_one() -> None:
    """So no click shares its bits. The upper 63 of them less the sign decide, and all users of an even pool arrive."""
    seeds, model = torch.arange(200), make_core().respond
    core = SlateCore(model, torch.zeros(8, 2), torch.zeros(8, 5, dtype=torch.long), SessionParams(4))
    bits = noise(seeds, 0, -1, 1)[:, 0].tolist()
    users = core.initial(seeds, torch.zeros_like(seeds)).user.tolist()
    assert users == [(one % 2**64 >> 1) % 2**62 % 8 for one in bits]
    assert set(users) == set(range(8))


def test_users_arrive_uniformly() -> None:
    core = make_core()
    users = start(core, *range(20_000)).user
    assert stats.chisquare(torch.bincount(users, minlength=N_USERS).numpy()).pvalue > 0.01
    episodes = core.initial(torch.zeros(20_000, dtype=torch.long), torch.arange(20_000)).user
    assert stats.chisquare(torch.bincount(episodes, minlength=N_USERS).numpy()).pvalue > 0.01


def test_arrival_state() -> None:
    core = make_core(initial_patience=7.5)
    state = start(core, 4, 5, episode=3)
    assert state.patience.tolist() == [7.5, 7.5]
    assert state.patience.dtype == torch.float32
    assert state.streak.tolist() == state.step.tolist() == [0, 0]
    assert (state.seed.tolist(), state.episode.tolist()) == ([4, 5], [3, 3])
    assert torch.equal(core.observation(state)["profile"], core.profiles[state.user])
    assert torch.equal(core.observation(state)["history"], state.history)


# --- steps


def test_clicks_come_at_the_rate_of_the_model() -> None:
    core = make_core(logit=-1.0, slate_size=10)
    _, outcome = core.transition(start(core, *range(2_000)), torch.ones(2_000, 10, dtype=torch.long))
    rate = 1 / (1 + np.e)
    assert abs(outcome.clicks.mean().item() - rate) < 4 * np.sqrt(rate * (1 - rate) / 20_000)


def test_a_step_by_hand() -> None:
    slate = torch.tensor([[3, 1, 4, 2]])
    core = make_core(logit=100.0)
    after, outcome = core.transition(start(core, 0), slate)
    assert outcome.clicks.tolist() == [[1, 1, 1, 1]]
    assert (outcome.reward.item(), after.patience.item(), after.step.item()) == (1.0, 19.0, 1)
    assert after.history.tolist() == [[0, 3, 1, 4, 2]]
    core = make_core(logit=-100.0, miss_cost=0.5)
    after, outcome = core.transition(start(core, 0), slate)
    assert outcome.clicks.tolist() == [[0, 0, 0, 0]]
    assert (outcome.reward.item(), after.patience.item()) == (-0.5, 20 - (1.5 * 4 + 1))
    assert after.history.tolist() == [[0, 0, 0, 0, 0]]


def play(core: SlateCore, seed: int = 0, most: int = 100) -> list[tuple[bool, bool]]:
    """Return (terminated, truncated) of each step until one of them holds."""
    state, ends = start(core, seed), []
    for _ in range(most):
        state, outcome = core.transition(state, torch.tensor([[1, 2, 3, 4]]))
        ends.append((bool(outcome.terminated), bool(outcome.truncated)))
        if any(ends[-1]):
            return ends
    raise AssertionError("the session has no end")


@pytest.mark.parametrize(
    ("logit", "params", "depth", "last"),
    [
        (100.0, {}, 20, (True, False)),  # patience 0 after 20 steps: leaving goes before the horizon
        (100.0, {"max_steps": 19}, 19, (False, True)),  # patience 1 is enough to stay
        (100.0, {"max_steps": 30, "initial_patience": 40.0}, 30, (False, True)),
        (-100.0, {}, 4, (True, False)),  # 5.4 a step
        (-100.0, {"patience": "streak"}, 6, (True, False)),
        (-100.0, {"initial_patience": 1.0}, 1, (True, False)),
        (-100.0, {"max_steps": 1}, 1, (False, True)),
        (100.0, {"reward": "sweet_point"}, 14, (True, False)),  # 1.4 a step
    ],
)
def test_sessions_end_by_patience_or_by_horizon(
    logit: float, params: dict[str, Any], depth: int, last: tuple[bool, bool]
) -> None:
    ends = play(make_core(logit, **params))
    assert len(ends) == depth
    assert ends[-1] == last


def test_never_both_ends() -> None:
    core = make_core(max_steps=6)
    state = start(core, *range(500))
    both, seen = 0, np.zeros(2, dtype=int)
    for _ in range(12):
        state, outcome = core.transition(state, torch.tensor([[1, 2, 3, 4]]).expand(500, -1))
        both += int((outcome.terminated & outcome.truncated).sum())
        seen += [int(outcome.terminated.sum()), int(outcome.truncated.sum())]
        state = core.replace_finished(state, outcome.terminated | outcome.truncated)
    assert both == 0
    assert (seen > 100).all()


def test_finished_users_are_replaced_the_others_stay() -> None:
    core = make_core(logit=100.0)
    state, _ = core.transition(start(core, 8, 9, 10), torch.tensor([[1, 2, 3, 4]]).expand(3, -1))
    mixed = core.replace_finished(state, torch.tensor([False, True, False]))
    fresh = start(core, 8, 9, 10, episode=1)
    for field in fields(mixed):
        rows = [getattr(part, field.name)[index] for index, part in enumerate((state, fresh, state))]
        assert torch.equal(getattr(mixed, field.name), torch.stack(rows)), field.name
    assert mixed.episode.tolist() == [0, 1, 0]
    assert mixed.step.tolist() == [1, 0, 1]


def test_a_step_depends_on_seed_episode_and_step_alone() -> None:
    core = make_core(slate_size=16, initial_patience=1e6, max_steps=10)
    slate = torch.arange(1, 17).unsqueeze(0)
    state = start(core, 11, episode=2)
    first, outcome = core.transition(state, slate)
    again, outcome_again = core.transition(state, slate)
    assert equal(first, again)
    assert torch.equal(outcome.clicks, outcome_again.clicks)
    _, later = core.transition(first, slate)
    _, other_episode = core.transition(start(core, 11, episode=3), slate)
    _, other_seed = core.transition(start(core, 12, episode=2), slate)
    for other in (later, other_episode, other_seed):
        assert not torch.equal(outcome.clicks, other.clicks)


def test_a_transition_changes_nothing_in_place() -> None:
    core = make_core(logit=100.0)
    state = start(core, 1, 2)
    copy = SessionState(**{field.name: getattr(state, field.name).clone() for field in fields(state)})
    core.transition(state, torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]]))
    core.replace_finished(state, torch.tensor([True, False]))
    assert equal(state, copy)


def test_one_user_alone_is_a_row_of_many(tiny_bundle: Bundle) -> None:
    users = tiny_bundle.users["train"]
    profiles = torch.as_tensor(users.profile)
    respond = tiny_bundle.simulators["train"].prepared(profiles)
    core = SlateCore(respond, profiles, torch.as_tensor(users.history), SessionParams(4, max_steps=5))
    n_envs, generator = 16, torch.Generator().manual_seed(0)
    many = start(core, *range(100, 100 + n_envs))
    alone = [start(core, 100 + index) for index in range(n_envs)]
    n_finished = 0
    for _ in range(15):
        slate = torch.stack([torch.randperm(60, generator=generator)[:4] + 1 for _ in range(n_envs)])
        many, outcome = core.transition(many, slate)
        finished = outcome.terminated | outcome.truncated
        n_finished += int(finished.sum())
        for index, state in enumerate(alone):
            state, single = core.transition(state, slate[index : index + 1])
            for field in fields(outcome):
                one, row = getattr(single, field.name)[0], getattr(outcome, field.name)[index]
                # A product of matrices may round the last bit of a probability otherwise.
                assert torch.allclose(one, row) if field.name == "probability" else torch.equal(one, row)
            alone[index] = core.replace_finished(state, single.terminated | single.truncated)
        many = core.replace_finished(many, finished)
        for field in fields(many):
            assert torch.equal(torch.cat([getattr(state, field.name) for state in alone]), getattr(many, field.name))
    assert n_finished > n_envs


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"reward": "sweet"}, "unknown reward rule 'sweet'; did you mean sweet_point"),
        ({"patience": "streaks"}, "unknown patience rule 'streaks'; did you mean streak"),
        ({"slate_size": 0}, "got slate_size 0, expected a whole number of at least 1"),
        ({"max_steps": 0}, "max_steps 0"),
        ({"max_steps": 2.5}, "got max_steps 2.5, expected a whole number of at least 1"),
        ({"slate_size": "3"}, "got slate_size '3', expected a whole number"),
        ({"initial_patience": 0.5}, "got initial_patience 0.5, expected a finite number of at least 1"),
        ({"initial_patience": float("nan")}, "initial_patience nan"),
        ({"initial_patience": "a"}, "initial_patience 'a'"),
        ({"miss_cost": float("nan")}, r"got miss_cost nan, expected a finite number\."),
    ],
)
def test_params_refuse(params: dict[str, Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        SessionParams(**{"slate_size": 4, **params})


def test_padding_behind_an_item_is_refused() -> None:
    with pytest.raises(HsrlError, match="got a history with padding behind an item, expected padding on the left only"):
        SlateCore(lambda user, history, slate: slate, torch.zeros(1, 2), torch.tensor([[0, 3, 0]]), SessionParams(4))
