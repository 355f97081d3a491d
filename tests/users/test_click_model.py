"""The learned user as a function: what it must not see (padding, order, item 0), and the bounds of its clicks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from plain import plain_logits
from torch import Tensor

from hsrl_gym.errors import HsrlError
from hsrl_gym.users import click_model as simulator
from hsrl_gym.users.click_model import PreparedUsers, SimulatorConfig, UserResponseModel, _within_bounds
from hsrl_gym.users.network import _bounded

N_ITEMS, N_FEATURES, N_PROFILE, LENGTH = 20, 5, 3, 12
CONFIG = SimulatorConfig(N_ITEMS, N_FEATURES, N_PROFILE, LENGTH, width=16, n_heads=4, n_topics=8, dropout=0.5)


@pytest.fixture
def model() -> UserResponseModel:
    """A user with large random weights, so that whatever counts is seen."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(N_ITEMS + 1, N_FEATURES, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        user = UserResponseModel(CONFIG, features)
    with torch.no_grad():
        for weight in (user.item_free.weight, user.item_free_bias.weight):
            weight.copy_(torch.randn(weight.shape, generator=generator))
        user.bounds.copy_(torch.tensor([-9.0, 9.0]))
    return user.eval()


def histories(*clicked: list[int], length: int = LENGTH) -> Tensor:
    return torch.tensor([[0] * (length - len(ids)) + ids for ids in clicked])


def logits(user: UserResponseModel, history: Tensor, slate: list[int] | None = None) -> Tensor:
    n_rows = len(history)
    profile = torch.linspace(-1, 1, N_PROFILE).expand(n_rows, -1)
    with torch.no_grad():
        return user(profile, history, torch.tensor(slate or [1, 7, 20]).expand(n_rows, -1))


def assert_close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, atol=2e-6, rtol=1e-5)


def test_shape_and_what_counts(model: UserResponseModel) -> None:
    """The same slate gets other logits when profile, history or history's length differ."""
    got = logits(model, histories([3, 4], [3, 5], [3, 3, 4, 4], []))
    assert got.shape == (4, 3)
    for row in range(1, 4):
        assert (got[row] - got[0]).abs().max() > 1e-3
    profile = torch.randn(4, N_PROFILE, generator=torch.Generator().manual_seed(1))
    other = model(profile, histories([3, 4], [3, 5], [3, 3, 4, 4], []), torch.tensor([[1, 7, 20]] * 4))
    assert (other - got).abs().amax(1).min() > 1e-3


def test_users_in_groups_get_the_same_logits(model: UserResponseModel) -> None:
    past = histories([3, 4], [], [5], [3, 3, 4, 4, 9, 8, 7, 6, 5, 4], [1])
    profile, slate = torch.randn(5, N_PROFILE), torch.tensor([[1, 7, 20]] * 5)
    assert_close(model(profile, past, slate, grouped=True), model(profile, past, slate))


def test_padding_is_not_seen(model: UserResponseModel) -> None:
    short = logits(model, histories([3, 9, 9, 14]))
    assert_close(logits(model, histories([3, 9, 9, 14], length=40)), short)
    assert_close(logits(model, torch.tensor([[3, 0, 9, 0, 0, 9, 14, 0, 0, 0, 0, 0]])), short)


def test_the_order_of_the_history_is_not_seen(model: UserResponseModel) -> None:
    clicked = [3, 9, 9, 14, 2, 11]
    expected = logits(model, histories(clicked))
    generator = np.random.default_rng(0)
    for _ in range(5):
        assert_close(logits(model, histories(generator.permutation(clicked).tolist())), expected)


def test_item_zero_never_matters(model: UserResponseModel) -> None:
    rows = histories([3, 9], [], [5] * LENGTH)
    before = logits(model, rows)
    with torch.no_grad():
        model.get_buffer("item_features")[0] = 1e3
        model.item_free.weight[0] = -1e3
        model.item_free_bias.weight[0] = 1e3
    assert_close(logits(model, rows), before)


def test_item_zero_is_not_trained(model: UserResponseModel) -> None:
    model.train()
    model(torch.zeros(2, N_PROFILE), histories([3], []), torch.tensor([[1, 2]] * 2)).sum().backward()
    for weight in (model.item_free.weight, model.item_free_bias.weight):
        assert weight.grad is not None
        assert weight.grad[0].abs().max() == 0.0
        assert weight.grad[1].abs().max() > 0.0


def test_an_empty_history_gives_finite_logits_and_gradients(model: UserResponseModel) -> None:
    model.train()
    got = model(torch.zeros(3, N_PROFILE), histories([], [4], []), torch.tensor([[1, 2]] * 3))
    assert got.isfinite().all()
    got.sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is None or weight.grad.isfinite().all(), name


def test_a_user_alone_is_as_among_others(model: UserResponseModel) -> None:
    rows = histories([1, 2, 3], [], [20] * LENGTH, [8])
    together = logits(model, rows)
    for index in range(len(rows)):
        assert_close(logits(model, rows[index : index + 1])[0], together[index])


def test_each_item_of_a_slate_is_judged_alone(model: UserResponseModel) -> None:
    rows = histories([4, 6])
    first = logits(model, rows, [1, 7, 20])[0]
    second = logits(model, rows, [20, 5, 1])[0]
    assert_close(second[[2, 0]], first[[0, 2]])


def test_dropout_is_for_training_only(model: UserResponseModel) -> None:
    rows = histories([4, 6])
    assert torch.equal(logits(model, rows), logits(model, rows))
    model.train()
    assert not torch.equal(logits(model, rows), logits(model, rows))


def test_bounds_by_hand(model: UserResponseModel) -> None:
    with torch.no_grad():
        model.bounds.copy_(torch.tensor([np.log(1 / 4), np.log(3 / 2)]))  # sigmoids 1/5 and 3/5
    # p = 0.1 + 0.7 sigmoid(affinity)
    affinity = torch.tensor([-1e4, -np.log(3), 0.0, np.log(3), 1e4], dtype=torch.float32)
    expected = [0.1, 0.1 + 0.7 / 4, 0.45, 0.1 + 0.7 * 3 / 4, 0.8]
    got = _within_bounds(affinity, model.tables().bounds)
    assert torch.sigmoid(got).tolist() == pytest.approx(expected, abs=1e-6)


def test_no_affinity_and_no_bound_gives_an_infinite_logit(model: UserResponseModel) -> None:
    for bounds in ([-1.0, 1.0], [0.0, 0.0], [-30.0, 30.0], [30.0, -30.0]):
        with torch.no_grad():
            model.bounds.copy_(torch.tensor(bounds))
        assert _within_bounds(torch.tensor([-1e6, -20.0, 0.0, 20.0, 1e6]), model.tables().bounds).isfinite().all()


def test_the_bounds_keep_their_sides() -> None:
    """Whatever was learned, the lower bound stays below one half and the upper above it."""
    user = UserResponseModel(CONFIG, torch.zeros(N_ITEMS + 1, N_FEATURES))
    with torch.no_grad():
        user.bounds.copy_(torch.tensor([8.0, -8.0]))
        low, high = torch.sigmoid(_within_bounds(torch.tensor([-50.0, 50.0]), user.tables().bounds)).tolist()
    assert 0.499 < low < 0.5 < high < 0.501


def test_config_as_plain_numbers() -> None:
    values = CONFIG.to_dict()
    assert values == {
        "n_items": 20,
        "n_item_features": 5,
        "n_profile": 3,
        "history_length": 12,
        "width": 16,
        "n_heads": 4,
        "n_topics": 8,
        "dropout": 0.5,
    }
    assert SimulatorConfig(**values) == CONFIG  # type: ignore[arg-type]


# --- the tables against the plain form


def random_users(n_users: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return profiles, right-aligned histories of every length with repeats, and slates."""
    generator = torch.Generator().manual_seed(5)
    profile = torch.randn(n_users, N_PROFILE, generator=generator)
    history = torch.randint(1, N_ITEMS + 1, (n_users, LENGTH), generator=generator)
    length = torch.randint(0, LENGTH + 1, (n_users, 1), generator=generator)
    history[torch.arange(LENGTH) < LENGTH - length] = 0
    slate = torch.stack([torch.randperm(N_ITEMS, generator=generator)[:4] + 1 for _ in range(n_users)])
    return profile, history, slate


def test_the_tables_say_what_the_plain_form_says(model: UserResponseModel) -> None:
    profile, history, slate = random_users(60)
    got, expected = model(profile, history, slate), plain_logits(model, profile, history, slate)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.3  # it says something
    weights = [weight for name, weight in model.named_parameters() if name != "user_key.bias"]  # it changes nothing
    loss = torch.randn(got.shape, generator=torch.Generator().manual_seed(6))
    for mine, plain in zip(
        torch.autograd.grad((got * loss).sum(), weights),
        torch.autograd.grad((expected * loss).sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(mine, plain, atol=1e-3 * float(plain.abs().max()) + 1e-4, rtol=1e-3)


@pytest.mark.parametrize("at_once", [10**9, 1_000, 1])
def test_prepared_users_say_what_the_model_says(
    model: UserResponseModel, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many users as are played at once, more, and each alone; in any order, by rows of a pool."""
    monkeypatch.setattr(simulator, "_PAIRS_AT_ONCE", at_once)
    n_calls, respond = [0], PreparedUsers._respond

    def counted(*arguments: Any) -> Tensor:
        n_calls[0] += 1
        return respond(*arguments)

    monkeypatch.setattr(PreparedUsers, "_respond", counted)
    profile, history, slate = random_users(300)
    with torch.no_grad():
        expected = torch.sigmoid(model(profile, history, slate))
        pool = torch.cat([torch.zeros(3, N_PROFILE), profile])
        users = model.prepared(pool)
        torch.testing.assert_close(users(torch.arange(3, 303), history, slate), expected, atol=2e-6, rtol=1e-5)
        assert (n_calls[0] == 1) == (at_once == 10**9)
        assert (n_calls[0] == 300) == (at_once == 1)
        for row in (0, 7, 299):
            alone = users(torch.tensor([row + 3]), history[row : row + 1], slate[row : row + 1])
            torch.testing.assert_close(alone[0], expected[row], atol=2e-6, rtol=1e-5)


def test_prepared_users_are_a_copy(model: UserResponseModel) -> None:
    profile, history, slate = random_users(4)
    users = model.prepared(profile)
    before = users(torch.arange(4), history, slate)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert torch.equal(users(torch.arange(4), history, slate), before)


def test_scores_never_overflow(model: UserResponseModel) -> None:
    """Weights of any size give finite logits, and ordinary ones are not touched."""
    profile, history, slate = random_users(40)
    with torch.no_grad():
        for layer in (model.self_query, model.self_key):
            layer.weight.mul_(100.0)
        assert model(profile, history, slate).isfinite().all()
        query = torch.randn(2, 5, 8)
        torch.testing.assert_close(_bounded(query, query), query / 8**0.5, atol=0, rtol=0)
        assert ((_bounded(50 * query, query) @ query.transpose(1, 2)).abs() <= 75.0 + 1e-3).all()


def test_heads_divide_what_they_share() -> None:
    with pytest.raises(HsrlError, match="got width 30, 24 topics and 5 heads, expected heads that divide both"):
        SimulatorConfig(N_ITEMS, N_FEATURES, N_PROFILE, width=30, n_heads=5)


# --- what a session has made of a topic


def test_a_topic_that_fills_the_history_costs_its_items(model: UserResponseModel) -> None:
    """By hand, with knees at 0.25 and a slope of -2 logits a tenth: half a history of a topic costs 5 logits."""
    topic = 3
    with torch.no_grad():
        model.topic.weight.zero_()
        model.topic.bias.zero_()
        model.topic.bias[topic] = 100.0  # every item is of this topic
        model.slope.zero_()
    history = histories([5] * (LENGTH // 4), [5] * (LENGTH // 2))
    before = model.appeal(torch.zeros(2, N_PROFILE), history, torch.tensor([[5, 8]] * 2))
    with torch.no_grad():
        model.knee[topic] = 0.25
        model.slope[topic, 0] = -2.0
    after = model.appeal(torch.zeros(2, N_PROFILE), history, torch.tensor([[5, 8]] * 2))
    at_knee = -20.0 * np.log(2.0) / 40.0
    torch.testing.assert_close((after - before)[0], torch.full((2,), at_knee), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close((after - before)[1], torch.full((2,), -5.0), atol=1e-2, rtol=1e-3)
