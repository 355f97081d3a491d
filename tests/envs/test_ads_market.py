"""The advertising market: campaigns, budgets, days; users who click and buy; recall."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hsrl_gym.envs.ads.codes import ads_codebook
from hsrl_gym.envs.ads.config import AdsConfig
from hsrl_gym.envs.ads.days import AdsDays
from hsrl_gym.envs.ads.market import AdsMarket, days_of_budget
from hsrl_gym.envs.ads.recall import Recall
from hsrl_gym.envs.ads.rewards import ADS_REWARDS, Feedback
from hsrl_gym.envs.ads.world import AdsUsers, AdsWorld
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog

SMALL = AdsConfig(
    n_ads=600, n_campaigns=80, n_categories=6, n_users=100, n_candidates=32, n_days=7, n_segments=4, n_latent=3,
    n_features=6, n_profile=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def market() -> AdsMarket:
    return AdsMarket(SMALL, seed=3)


@pytest.fixture(scope="module")
def world(market: AdsMarket) -> AdsWorld:
    return AdsWorld(market)


def test_ads_of_a_campaign_share_its_days_bid_and_category(market: AdsMarket) -> None:
    assert sorted(set(market.campaign[1:])) == list(range(80))
    for campaign in range(80):
        ads = np.flatnonzero(market.campaign == campaign)
        for table in (market.start, market.n_days_live, market.bid, market.value, market.category, market.spent):
            assert len(set(table[ads].tolist())) == 1
    spread = np.linalg.norm(market.content[1:] - market.content[1:].mean(0), axis=1).mean()
    centres = np.array([market.content[market.campaign == g].mean(0) for g in range(80)])
    assert np.linalg.norm(market.content[1:] - centres[market.campaign[1:]], axis=1).mean() < 0.5 * spread
    assert market.bid[1:].mean() == pytest.approx(1.0, abs=1e-5)
    assert market.value[1:].mean() == pytest.approx(1.0, abs=1e-5)


def test_a_budget_lasts_until_it_is_spent() -> None:
    pace = 1.0 + 0.3 * np.sin(2.0 * np.pi * np.arange(14) / 7.0)
    start, budget = (
        np.array([0, 0, 0, 5, 2]),
        np.array([0.5, 1.0001, pace[:3].sum() + 0.01, 0.99 * pace[5:7].sum(), 1e6]),
    )
    # The day on which it runs out is the last one: a half day's budget lasts one day.
    assert days_of_budget(start, budget, 7).tolist() == [1, 2, 4, 2, 7]


def test_a_campaign_runs_from_its_start_until_its_end_and_again_after_the_calendar(market: AdsMarket) -> None:
    for ad in (1, 50, 333, 600):
        days = [(market.start[ad] + i) % 7 for i in range(market.n_days_live[ad])]
        runs = [day for day in range(14) if ad in market.live(day)]
        assert runs == [day for day in range(14) if day % 7 in days]
        assert 1 <= len(days) < 7
    assert 0 not in market.live(0)


def test_changes_lead_from_day_to_day(market: AdsMarket) -> None:
    for day in range(1, 9):
        changes = market.changes(day)
        left = np.setdiff1d(market.live(day - 1), changes["retired"])
        np.testing.assert_array_equal(np.union1d(left, changes["arrived"]), market.live(day))
        assert len(changes["arrived"])
        assert len(changes["retired"])
        assert set(changes["spent"]) <= set(changes["retired"])
        assert market.spent[changes["spent"]].all()
    assert 0.1 < market.spent[1:].mean() < 0.9


def test_a_smaller_budget_ends_campaigns_earlier() -> None:
    rich, poor = (AdsMarket(replace(SMALL, budget=budget)) for budget in (100.0, 0.1))
    assert not rich.spent.any()
    assert poor.n_days_live.sum() < 0.6 * rich.n_days_live.sum()
    assert poor.spent.mean() > 0.9


def test_the_seed_decides(market: AdsMarket) -> None:
    again, other = AdsMarket(SMALL, seed=3), AdsMarket(SMALL, seed=4)
    for name, table in vars(market).items():
        if isinstance(table, np.ndarray):
            np.testing.assert_array_equal(table, getattr(again, name))
    assert (market.start != other.start).any()


def test_features_tell_content_and_nothing_of_what_only_clicks_tell(market: AdsMarket) -> None:
    """A linear map of the features finds content, sweetness and bid; the rest of quality cannot be found."""
    inputs = np.column_stack([np.ones(600), market.features[1:]])

    def explained(target: np.ndarray) -> float:
        guess = inputs @ np.linalg.lstsq(inputs, target, rcond=None)[0]
        return float(1.0 - (target - guess).var() / target.var())

    assert explained(market.content[1:, 0]) > 0.9
    assert explained(market.sweet[1:]) > 0.9
    assert explained(np.log(market.bid[1:])) > 0.9
    assert explained(market.quality[1:] - SMALL.sweetness * market.sweet[1:]) < 0.1


def test_click_logits_by_hand(market: AdsMarket, world: AdsWorld) -> None:
    profile, slate = torch.as_tensor(world.profiles[:1]), torch.tensor([[7, 300]])
    history = torch.zeros(1, 50, dtype=torch.long)
    history[0, -10:] = 7  # ten clicks on the same ad: m = 1/2, a fifth of the window in its category
    own = world.profiles[0] @ world.to_interest.numpy()
    interest = own + SMALL.drift * 0.5 * market.content[7]
    for place, ad in enumerate([7, 300]):
        fatigue = SMALL.satiation * (0.2 - SMALL.tolerated) if market.category[ad] == market.category[7] else 0.0
        expected = (
            SMALL.base
            + SMALL.taste * interest @ market.content[ad]
            + market.quality[ad]
            - SMALL.weariness * 0.5 * market.sweet[7]
            - fatigue
        )
        assert float(world(profile, history, slate)[0, place]) == pytest.approx(expected, abs=1e-4)
        sale = SMALL.sale + SMALL.taste * own @ market.content[ad] + market.offer[ad] - 0.5 * market.sweet[ad]
        assert float(world.conversion(profile, slate)[0, place]) == pytest.approx(sale, abs=1e-4)


def test_the_pool_responds_as_the_click_model_says(world: AdsWorld) -> None:
    profiles = torch.as_tensor(world.profiles[50:])
    users, history, slate = AdsUsers(world, profiles), torch.zeros(2, 50, dtype=torch.long), torch.tensor([[3], [9]])
    rows = torch.tensor([4, 0])
    torch.testing.assert_close(users(rows, history, slate), torch.sigmoid(world(profiles[rows], history, slate)))
    torch.testing.assert_close(users.conversion(rows, slate), torch.sigmoid(world.conversion(profiles[rows], slate)))


def test_rewards() -> None:
    bid = torch.tensor([0.5, 2.0, 3.0])
    clicks = torch.tensor([0.0, 1.0, 1.0])
    feedback = Feedback(clicks, torch.tensor([0.0, 0.0, 1.0]), clicks * bid, torch.tensor([1.0, 4.0, 5.0]))
    expected = {"mean_with_cost": [-0.25, 1.0, 1.0], "conversion": [0.0, 0.0, 5.0], "revenue": [0.0, 2.0, 3.0]}
    assert {name: rule(feedback, 0.25).tolist() for name, rule in ADS_REWARDS.items()} == expected


def test_candidates_are_on_sale_different_and_chosen_by_the_request(market: AdsMarket, world: AdsWorld) -> None:
    recall = Recall(market, world, torch.as_tensor(world.profiles))
    user, step = torch.arange(100), torch.arange(100) % 20
    stream = torch.arange(100) * 977
    for day in (0, 3, 8):
        recall.open_day(day)
        chosen = recall.candidates(user, stream, step)
        assert chosen.shape == (100, 32)
        assert np.isin(chosen.numpy(), market.live(day)).all()
        assert all(len(row.unique()) == 32 for row in chosen)
        assert all(len(row.unique()) == recall.table.shape[1] for row in recall.table)
        for row in (0, 57):  # alone as in the batch
            some = slice(row, row + 1)
            torch.testing.assert_close(recall.candidates(user[some], stream[some], step[some]), chosen[some])
    assert (recall.candidates(user, stream, step + 1) != chosen).any(1).all()


def test_recall_prefers_what_the_segment_likes_and_lets_every_ad_in(world: AdsWorld) -> None:
    config = AdsConfig(n_ads=6000, n_campaigns=600, n_users=400, n_candidates=32, n_days=7)
    market = AdsMarket(config)
    world = AdsWorld(market)
    profiles = torch.as_tensor(world.profiles)
    recall = Recall(market, world, profiles)
    explored: list[int] = []
    for day in range(7):
        recall.open_day(day)
        for_all = set.intersection(*(set(row) for row in recall.table.tolist()))
        assert len(for_all) >= recall.table.shape[1] // 4
        explored += for_all
    assert len(set(explored)) > 0.9 * len(explored)  # others on each day
    # They are drawn without a look at quality, while the rest of the table is good.
    assert abs(world.quality[explored].mean() - world.quality[1:].mean()) < 0.4
    likes = (profiles @ world.to_interest) @ world.content.T  # (M, N + 1)
    recalled = likes.gather(1, recall.table[recall.segment]).mean()
    anyone = likes[:, market.live(6)].mean()
    assert float(recalled - anyone) > 0.5
    newcomers = set(market.changes(6)["arrived"].tolist())
    assert newcomers & set(recall.table.flatten().tolist())


def test_recall_knows_no_quality_of_an_ad_that_came_today(world: AdsWorld) -> None:
    market, better = AdsMarket(SMALL, seed=3), AdsMarket(SMALL, seed=3)
    profiles = torch.as_tensor(world.profiles)
    came = market.live(4)[market.age(4)[market.live(4)] == 0]
    assert len(came) > 10
    better.quality[came] += 9.0
    tables = {}
    for name, each in (("as it is", market), ("better", better)):
        recall = Recall(each, world, profiles)
        for day in (4, 5):
            recall.open_day(day)
            tables[name, day] = recall.table.sort(1).values
    assert torch.equal(tables["as it is", 4], tables["better", 4])
    assert not torch.equal(tables["as it is", 5], tables["better", 5])  # a day later it is known by half


def test_too_few_ads_for_recall() -> None:
    market = AdsMarket(AdsConfig(n_ads=100, n_campaigns=20, n_candidates=60, n_users=10, n_segments=2))
    world = AdsWorld(market)
    with pytest.raises(HsrlError, match=r"got \d+ ads on sale on some day, expected at least 64 for 60 candidates"):
        Recall(market, world, torch.as_tensor(world.profiles))


def test_a_table_is_no_larger_than_the_catalog() -> None:
    market = AdsMarket(AdsConfig(n_ads=300, n_campaigns=150, n_candidates=60, n_users=10, n_segments=2))
    world = AdsWorld(market)
    recall = Recall(market, world, torch.as_tensor(world.profiles))
    recall.open_day(0)
    assert recall.table.shape == (2, 128 if len(market.live(0)) < 256 else 256)


def test_the_codebook_knows_day_0_alone(market: AdsMarket) -> None:
    book = ads_codebook(market)
    np.testing.assert_array_equal(book.live_items, market.live(0))
    later = AdsMarket(SMALL, seed=3)
    off = np.setdiff1d(np.arange(1, 601), market.live(0))
    later.features[off] += 7.0  # what arrives later is unknown on day 0
    other = ads_codebook(later)
    np.testing.assert_array_equal(other.codes, book.codes)
    for level, table in enumerate(book.centroids):
        np.testing.assert_array_equal(other.centroids[level], table)
    assert (other.features[off] != book.features[off]).all()


def test_days_move_the_catalog_with_the_market(
    market: AdsMarket, world: AdsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsrl_gym.envs.ads.codes.VOCABULARY", 8)  # crowded: where an ad goes depends on the others
    catalog = Catalog(ads_codebook(market), 1, cooldown=1)
    recall = Recall(market, world, torch.as_tensor(world.profiles))
    days = AdsDays(market, catalog, recall, steps=2, first=0)
    for step in range(1, 19):
        changes = days.pass_step()
        assert bool(changes) == (step % 2 == 0)
        assert days.day == step // 2
        np.testing.assert_array_equal(catalog.live_items, market.live(days.day))
        codes = catalog.codes[catalog.live_items]
        assert len(np.unique(codes, axis=0)) == len(codes)
    days.restart()
    np.testing.assert_array_equal(catalog.codes, catalog.codebook.codes)
    assert days.day == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_ads": 0}, "got market n_ads 0"),
        ({"n_ads": 10.5}, "got market n_ads 10.5"),
        ({"n_ads": True}, "got market n_ads True"),
        ({"n_campaigns": 500_000}, "expected an ad for each campaign"),
        ({"n_features": 9}, "2 features more"),
        ({"n_days": 1}, "expected at least 2"),
        ({"taste": "much"}, "got taste='much'"),
        ({"base": float("nan")}, "got base=nan"),
        ({"budget": 0.0}, "a budget above 0"),
        ({"sweetness": 1.5}, "a correlation in -1..1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        AdsConfig(**settings)


def test_numpy_integers_are_whole_numbers() -> None:
    config = replace(SMALL, n_ads=np.int64(600), n_days=np.int32(7))
    assert config == SMALL
    assert type(config.n_ads) is int
