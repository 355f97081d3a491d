"""The known user: its logit by hand, term by term, and the logs it writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import expit
from torch import Tensor

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.envs import synthetic_log
from hsrl_gym.envs.core import SessionParams, SlateCore, append_clicked
from hsrl_gym.envs.synthetic_log import write_log
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.fidelity import evaluate_simulator, predict_logits
from hsrl_gym.users.responses import by_profile
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld, WorldConfig

HAND = WorldConfig(
    "hand",
    n_items=4,
    slate_size=2,
    n_item_features=3,
    n_profile=2,
    n_users=5,
    n_clusters=3,
    n_latent=2,
    base=-0.5,
    taste=2.0,
    weariness=4.0,
    drift=3.0,
    satiation=10.0,
    tolerated=0.2,
)


@pytest.fixture
def hand() -> SyntheticWorld:
    """Interest is the profile. Items 1 and 2 are of cluster 0, item 3 of 1, item 4 of 2."""
    world = SyntheticWorld(HAND)
    world.to_interest = torch.eye(2)
    world.latent = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, 0.0]])
    world.quality = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])
    world.sweet = torch.tensor([0.0, 1.0, -1.0, 0.5, 0.0])
    world.cluster = torch.tensor([2, 0, 0, 1, 2])
    return world


@pytest.fixture(scope="module")
def long_log(tiny_world: SyntheticWorld) -> InteractionLog:
    """20 slates of each of the 500 sessions that run side by side, so that some end."""
    return write_log(tiny_world, 10_000)


def logits(world: SyntheticWorld, history: list[int], slate: list[int], length: int = 10) -> list[float]:
    padded = [0] * (length - len(history)) + history
    profile = torch.tensor([[1.0, -1.0]])
    return world(profile, torch.tensor([padded]), torch.tensor([slate]))[0].tolist()


# --- the logit


def test_taste_and_quality(hand: SyntheticWorld) -> None:
    # base + 2 <(1, -1), z> + quality
    expected = [-0.5 + 2.0 + 0.1, -0.5 - 2.0 + 0.2, -0.5 + 0.0 + 0.3, -0.5 + 0.4]
    assert logits(hand, [], [1, 2, 3, 4]) == pytest.approx(expected)


def test_interest_drifts_towards_what_was_clicked(hand: SyntheticWorld) -> None:
    hand.sweet = torch.zeros(5)
    # One click on item 2: memory 1/11, interest (1, -1) + 3/11 (0, 1); one of ten in cluster 0 is tolerated.
    expected = [-0.5 + 2.0 + 0.1, -0.5 - 2.0 * (1 - 3 / 11) + 0.2]
    assert logits(hand, [2], [1, 2]) == pytest.approx(expected)
    # Two clicks, on 2 and 3: memory 2/12, mean (0.25, 0.75).
    interest = np.array([1 + 3 / 6 * 0.25, -1 + 3 / 6 * 0.75])
    expected = [-0.5 + 2.0 * interest[0] + 0.1, -0.5 + 2.0 * interest[1] + 0.2]
    assert logits(hand, [2, 3], [1, 2]) == pytest.approx(expected)
    assert logits(hand, [2], [2])[0] > logits(hand, [], [2])[0]


def test_sweets_weary_the_user_of_everything(hand: SyntheticWorld) -> None:
    hand.latent = torch.zeros(5, 2)
    plain = [-0.5 + 0.3, -0.5 + 0.4]
    assert logits(hand, [1], [3, 4]) == pytest.approx([value - 4 / 11 * 1.0 for value in plain])
    assert logits(hand, [2], [3, 4]) == pytest.approx([value + 4 / 11 * 1.0 for value in plain])
    assert logits(hand, [1, 3], [4]) == pytest.approx([plain[1] - 4 * 2 / 12 * 0.75])
    # The more of them, the wearier: the mean is the same, memory grows from 1/11 to 2/12.
    assert logits(hand, [1, 1], [4]) == pytest.approx([plain[1] - 4 * 2 / 12])


def test_a_cluster_that_fills_the_history_is_less_wanted(hand: SyntheticWorld) -> None:
    hand.latent, hand.sweet = torch.zeros(5, 2), torch.zeros(5)
    free = logits(hand, [], [1, 2, 3, 4])
    assert logits(hand, [1, 2], [1, 2, 3, 4]) == pytest.approx(free)  # 2 of 10 are tolerated
    # 5 of 10 in cluster 0 are 0.3 too many, 3 of 10 in cluster 1 are 0.1 too many; cluster 2 is fresh.
    loss = np.array([3.0, 3.0, 1.0, 0.0])
    assert logits(hand, [1, 2, 1, 3, 1, 3, 2, 3], [1, 2, 3, 4]) == pytest.approx((free - loss).tolist())
    # The share is of the window, not of what was clicked.
    assert logits(hand, [1, 2, 1, 2, 1], [1], length=20) == pytest.approx([free[0] - 10 * 0.05])


def test_padding_is_in_no_cluster(hand: SyntheticWorld) -> None:
    """Item 0 is drawn into cluster 2 with item 4, which must not tire of an empty history."""
    assert logits(hand, [], [4], length=50) == pytest.approx([-0.5 + 0.4])


@pytest.mark.parametrize("term", ["taste", "drift", "weariness", "satiation", "base"])
def test_each_weight_moves_the_logit(tiny_world: SyntheticWorld, long_log: InteractionLog, term: str) -> None:
    late = long_log.rows(slice(9_000, 9_500))
    other = SyntheticWorld(replace(tiny_world.config, **{term: getattr(tiny_world.config, term) + 2.0}))
    np.testing.assert_array_equal(other.item_features, tiny_world.item_features)  # the catalog is the same
    change = predict_logits(other, late) - predict_logits(tiny_world, late)
    assert np.abs(change).max() > 0.05
    if term == "satiation":
        assert change.max() <= 1e-5
    if term == "base":
        np.testing.assert_allclose(change, 2.0, atol=1e-5)


def test_order_and_place_of_the_history_do_not_count(tiny_world: SyntheticWorld) -> None:
    profile, slate = torch.as_tensor(tiny_world.profiles[:1]), torch.tensor([[5, 6, 7]])
    left = tiny_world(profile, torch.tensor([[0, 0, 3, 9, 12, 3]]), slate)
    right = tiny_world(profile, torch.tensor([[3, 0, 12, 9, 0, 3]]), slate)
    torch.testing.assert_close(left, right)


# --- the catalog


def test_features_say_position_and_sweetness() -> None:
    """A linear map takes the first features back to what is hidden; the others are noise."""
    world = SyntheticWorld("rl4rs")
    hidden = np.column_stack([world.latent, world.sweet])[1:]
    n_visible = hidden.shape[1]

    def explained(features: np.ndarray) -> float:
        fit = features @ np.linalg.lstsq(features, hidden, rcond=None)[0]
        return float(1 - ((hidden - fit) ** 2).sum() / (hidden**2).sum())

    assert explained(world.item_features[1:, :n_visible]) > 0.9
    assert explained(world.item_features[1:, n_visible:]) < 0.3
    assert (world.item_features[0] == 0).all()


def test_sweet_items_are_liked() -> None:
    world = SyntheticWorld(WorldConfig("many", 20_000, 9, 40, 16, sweetness=0.8, quality=1.5))
    quality, sweet = world.quality.numpy()[1:], world.sweet.numpy()[1:]
    assert np.corrcoef(quality, sweet)[0, 1] == pytest.approx(0.8, abs=0.02)
    assert quality.std() == pytest.approx(1.5, abs=0.05)


def test_unknown_worlds() -> None:
    with pytest.raises(HsrlError, match="unknown world 'rl4r'; did you mean rl4rs"):
        SyntheticWorld("rl4r")
    assert set(WORLDS) == {"rl4rs", "ml1m"}


# --- the log


@pytest.mark.parametrize(
    ("name", "n_items", "slate_size", "n_features", "n_profile"),
    [("rl4rs", 283, 9, 40, 16), ("ml1m", 3706, 10, 24, 16)],
)
def test_shapes_of_the_worlds_in_the_package(
    name: str, n_items: int, slate_size: int, n_features: int, n_profile: int
) -> None:
    log = write_log(SyntheticWorld(name), 700)
    assert (len(log), log.n_items, log.slate_size, log.n_categorical) == (700, n_items, slate_size, 0)
    assert log.profile.shape == (700, n_profile)
    assert log.history.shape == (700, 50)
    assert log.item_features.shape == (n_items + 1, n_features)
    assert (log.profile.dtype, log.history.dtype, log.slate.dtype) == (np.float32, np.int32, np.int32)
    assert (log.clicks.dtype, log.time.dtype, log.user.dtype) == (np.uint8, np.int64, np.int64)
    assert len(log.item_labels) == n_items + 1
    assert log.item_labels[0] == ""
    assert log.item_labels[2].startswith("item 2, topic ")
    assert log.name == name
    assert log.source == f"SyntheticWorld('{name}', seed=0)"
    assert 0.05 < log.clicks.mean() < 0.95


def test_the_seed_decides_the_log(tiny_world: SyntheticWorld, tiny_log: InteractionLog) -> None:
    for again in (write_log(tiny_world, 2_000), write_log(SyntheticWorld(tiny_world.config), 2_000)):
        for column in ("time", "user", "profile", "history", "slate", "clicks", "item_features"):
            np.testing.assert_array_equal(getattr(again, column), getattr(tiny_log, column))
    other = SyntheticWorld(tiny_world.config, seed=1)
    assert not np.array_equal(other.item_features, tiny_world.item_features)
    assert not np.array_equal(write_log(other, 100).slate, tiny_log.slate[:100])
    assert write_log(other, 10).source == "SyntheticWorld('tiny', seed=1)"


def test_any_number_of_slates(tiny_world: SyntheticWorld) -> None:
    assert [len(write_log(tiny_world, number)) for number in (1, 7, 501, 1_000)] == [1, 7, 501, 1_000]


def test_no_item_twice_in_a_slate(tiny_log: InteractionLog) -> None:
    assert (np.diff(np.sort(tiny_log.slate, axis=1), axis=1) > 0).all()


def test_sessions_go_on_from_click_to_click(long_log: InteractionLog) -> None:
    """Within a session the profile stays, and clicked items join the history; 500 sessions run side by side."""
    now, later = long_log.rows(slice(0, 9_500)), long_log.rows(slice(500, 10_000))
    same = now.user == later.user
    assert 0.3 < same.mean() < 0.99
    after = append_clicked(*(torch.as_tensor(column).long() for column in (now.history, now.slate, now.clicks)))
    np.testing.assert_array_equal(after.numpy()[same], later.history[same])
    np.testing.assert_array_equal(now.profile[same], later.profile[same])
    assert len(np.unique(long_log.user[:500])) == 500
    # A session's number is never given twice.
    lane = long_log.user % 500
    np.testing.assert_array_equal(lane, np.arange(10_000) % 500)
    assert (np.diff(long_log.user.reshape(-1, 500), axis=0) >= 0).all()


def test_many_come_back_and_remember(long_log: InteractionLog) -> None:
    now, later = long_log.rows(slice(0, 9_500)), long_log.rows(slice(500, 10_000))
    left = now.user != later.user
    back = left & (now.profile == later.profile).all(1)
    assert 0.6 < back.sum() / left.sum() < 0.8
    after = append_clicked(*(torch.as_tensor(column).long() for column in (now.history, now.slate, now.clicks)))
    before, remembered = after.numpy()[back], later.history[back]
    assert ((remembered == before) | (remembered == 0)).all()
    place = np.arange(50)
    latest_forgotten = np.where((before > 0) & (remembered == 0), place, -1).max(1)
    earliest_kept = np.where(remembered > 0, place, 50).min(1)
    assert (latest_forgotten < earliest_kept).all()
    assert (remembered > 0).any()
    assert (latest_forgotten >= 0).any()
    assert (later.history[left & ~back] == 0).all()


def test_exploration() -> None:
    world = SyntheticWorld(WorldConfig("tiny", n_items=40, slate_size=2, n_item_features=12, n_profile=4))
    uniform, chosen = (
        np.bincount(write_log(world, 4_000, exploration=share, personal=0.0).slate.ravel(), minlength=41)[1:]
        for share in (1.0, 0.0)
    )
    assert stats.chisquare(uniform).pvalue > 0.01
    assert stats.spearmanr(chosen, world.quality.numpy()[1:]).statistic > 0.7
    assert stats.chisquare(chosen).pvalue < 1e-6


def test_the_personal_ranker_knows_whom_it_shows() -> None:
    """It shows each user the items with the best odds on arrival, and so more of one topic than everybody gets."""
    world = SyntheticWorld(WorldConfig("tiny", n_items=400, slate_size=4, n_item_features=12, n_profile=4))
    alike, personal = (write_log(world, 4_000, personal=share) for share in (0.0, 1.0))
    assert personal.clicks.mean() > alike.clicks.mean() + 0.1
    slates = torch.as_tensor(personal.slate[:500]).long()
    profiles, nothing = torch.as_tensor(personal.profile[:500]), torch.zeros(500, 50, dtype=torch.long)
    own, others = (world(who, nothing, slates).mean() for who in (profiles, profiles.flip(0)))
    assert own > others + 0.5
    topics = [world.cluster.numpy()[log.slate] for log in (alike, personal)]
    same = [(topic[:, :-1] == topic[:, 1:]).mean() for topic in topics]
    assert same[1] > same[0]


def test_personal_is_a_share_of_the_sessions() -> None:
    world = SyntheticWorld(WorldConfig("tiny", n_items=400, slate_size=4, n_item_features=12, n_profile=4))
    rates = [write_log(world, 4_000, personal=share).clicks.mean() for share in (0.0, 0.5, 1.0)]
    assert rates[0] + 0.02 < rates[1] < rates[2] - 0.02


def test_the_clicks_are_the_worlds_own(tiny_world: SyntheticWorld, tiny_log: InteractionLog) -> None:
    """Calibrated, and better than a user that was hardly fitted."""
    known = evaluate_simulator(tiny_world, tiny_log)
    probability = expit(predict_logits(tiny_world, tiny_log))
    noise = np.sqrt((probability * (1 - probability)).sum())
    assert abs(tiny_log.clicks.sum() - probability.sum()) < 4 * noise
    expected = -(probability * np.log(probability) + (1 - probability) * np.log1p(-probability)).mean()
    assert known.log_loss == pytest.approx(expected, abs=0.02)
    assert known.ece < 0.04


def test_the_world_beats_a_user_fitted_to_its_log(
    tiny_world: SyntheticWorld, tiny_log: InteractionLog, tiny_bundle: Bundle
) -> None:
    known = evaluate_simulator(tiny_world, tiny_log.split_by_time(0.8)[1])
    for fitted in tiny_bundle.fidelity.values():
        assert known.auc > fitted["auc"] + 0.02
        assert known.log_loss < fitted["log_loss"] - 0.02


def test_the_core_plays_it(tiny_world: SyntheticWorld) -> None:
    """A session is played by hand beside it: the same histories, and clicks at the world's rate."""
    n_envs, generator = 400, torch.Generator().manual_seed(0)
    profiles = torch.as_tensor(tiny_world.profiles)
    params = SessionParams(4, initial_patience=1e6, max_steps=1_000)
    core = SlateCore(by_profile(tiny_world, profiles), profiles, torch.zeros(200, 50), params)
    state = core.initial(torch.arange(n_envs), torch.zeros(n_envs, dtype=torch.long))
    history: Tensor = torch.zeros(n_envs, 50, dtype=torch.long)
    expected = variance = clicked = 0.0
    for _ in range(12):
        slate = torch.stack([torch.randperm(60, generator=generator)[:4] + 1 for _ in range(n_envs)])
        probability = torch.sigmoid(tiny_world(profiles[state.user], history, slate))
        state, outcome = core.transition(state, slate)
        history = append_clicked(history, slate, outcome.clicks)
        assert torch.equal(state.history, history)
        expected += float(probability.sum())
        variance += float((probability * (1 - probability)).sum())
        clicked += float(outcome.clicks.sum())
    assert abs(clicked - expected) < 4 * np.sqrt(variance)


# --- logs of large catalogs


def test_a_large_catalog_writes_a_log(tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsrl_gym.users.large.LARGE_FROM", 1)
    log, same = write_log(tiny_world, 1_000), write_log(tiny_world, 1_000)
    np.testing.assert_array_equal(log.slate, same.slate)
    assert (np.diff(np.sort(log.slate, axis=1), axis=1) > 0).all()


@pytest.mark.parametrize("who", [None, 3])
def test_large_catalogs_have_the_same_chances(tiny_world: SyntheticWorld, who: int | None) -> None:
    shown = []
    for policies in (synthetic_log._Race, synthetic_log._Draws):
        choose = policies(tiny_world, 0.3, np.random.default_rng(0))  # the same noise for both
        slates = choose(np.full(4_000, who or 0), np.full(4_000, who is not None))
        assert slates.shape == (4_000, 4)
        assert (np.diff(np.sort(slates, axis=1), axis=1) > 0).all()  # no item twice
        shown.append(np.bincount(slates.ravel(), minlength=61)[1:])
    often = shown[0] >= 20
    assert stats.chi2_contingency(np.stack(shown)[:, often]).pvalue > 0.01
