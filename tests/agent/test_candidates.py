"""Recall among live items, and the policy over candidates against the plain one over all items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from catalogs import K, as_tensors, batch, make_policy, observations, random_codebook, spaces_of
from scipy.stats import chisquare
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hsrl_agent import HSRL, HSRLPolicy
from hsrl_agent.candidates import BREADTH, SidIndex, with_shown
from hsrl_agent.encoder import SHARED_ROWS
from hsrl_agent.pretraining import cloning_loss
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError


def log_probs(vocabulary: tuple[int, ...], n_users: int = 40) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(n_users, size).log_softmax(1) for size in vocabulary]


def scores_of_all(codes: Tensor, parts: list[Tensor]) -> Tensor:
    """Return sum_l log p of all items but padding, (B, N), -inf where not live."""
    tokens = codes[1:].long().clamp(min=0).unbind(1)
    scores = torch.stack([part[:, token] for part, token in zip(parts, tokens, strict=True)]).sum(0)
    return scores.masked_fill(codes[1:, 0] < 0, -torch.inf)


def mostly_live(n_items: int, vocabulary: tuple[int, ...], n_sids: int | None = None) -> Tensor:
    codes = torch.as_tensor(random_codebook(n_items, vocabulary, n_sids=n_sids).codes)
    codes[5::7] = -1
    return codes


@pytest.mark.parametrize("vocabulary", [(40,), (8, 9), (5, 6, 7)])
def test_recall_is_exact_where_all_items_may_be_looked_at(vocabulary: tuple[int, ...]) -> None:
    codes, parts = mostly_live(36, vocabulary), log_probs(vocabulary)
    n_live = int((codes[:, 0] >= 0).sum())
    scores = scores_of_all(codes, parts)
    for n_candidates in (9, 20, n_live - 1):
        assert n_live <= BREADTH * n_candidates
        found = SidIndex(codes, vocabulary).recall(parts, n_candidates).sort().values
        assert torch.equal(found, (scores.topk(n_candidates).indices + 1).sort().values)


def test_all_items_are_candidates_if_there_are_no_more() -> None:
    codes = mostly_live(36, (5, 6, 7))
    live = (codes[:, 0] >= 0).nonzero().squeeze(1)
    for n_candidates in (len(live), 100):
        assert torch.equal(SidIndex(codes, (5, 6, 7)).recall(log_probs((5, 6, 7), 2), n_candidates), live.expand(2, -1))


@pytest.mark.parametrize("n_sids", [None, 900])
@pytest.mark.parametrize(("n_items", "vocabulary"), [(1_500, (16, 16, 16)), (3_500, (16, 16, 16)), (1_200, (200, 300))])
def test_the_beam_finds_the_best_of_many(n_items: int, vocabulary: tuple[int, ...], n_sids: int | None) -> None:
    """Sparse and dense tries, shared SIDs: C different live items, nearly all of the best ones among them."""
    codes, parts = mostly_live(n_items, vocabulary, n_sids), log_probs(vocabulary)
    scores = scores_of_all(codes, parts)
    found = SidIndex(codes, vocabulary).recall(parts, 64)
    assert found.shape == (40, 64)
    assert (codes[found, 0] >= 0).all()
    assert (found.sort().values.diff(dim=1) > 0).all()
    best = scores.topk(10).indices + 1
    share = (best.unsqueeze(2) == found.unsqueeze(1)).any(2).float().mean()
    assert share > 0.9
    assert scores.gather(1, found - 1).mean() > 0.9 * scores.topk(64).values.mean() + 0.1 * scores[:, 0].mean()


def test_the_beam_where_prefixes_have_one_item_or_many() -> None:
    """Half of the users like prefixes with few items: they get C different ones, too, and all of those few."""
    few = torch.cartesian_prod(torch.arange(12), torch.tensor([5, 9]), torch.tensor([3]))
    many = torch.cartesian_prod(torch.arange(12, 16), torch.arange(16), torch.arange(12))
    codes = torch.cat([torch.full((1, 3), -1), few, many])
    parts = log_probs((16, 16, 16))
    parts[0][::2, :12] += 30.0
    found = SidIndex(codes, (16, 16, 16)).recall(parts, 30)
    assert found.shape == (40, 30)
    assert (found.sort().values.diff(dim=1) > 0).all()
    assert (found >= 1).all()
    assert torch.equal((found <= 24).sum(1)[::2], torch.full((20,), 24))


def test_a_changed_catalog_is_searched_as_if_it_had_always_been_so() -> None:
    vocabulary = (8, 8, 8)
    codes = mostly_live(300, vocabulary)
    index = SidIndex(codes, vocabulary)
    free = np.setdiff1d(np.arange(512), index.keys.numpy())
    changed = torch.tensor([5, 12, 1, 2, 3, 30])  # two arrive, two move, two retire
    new = torch.as_tensor(np.stack(np.unravel_index(free[:6], vocabulary), 1))
    new[4:] = -1
    codes[changed] = new.int()
    index.refresh(changed, new)
    fresh = SidIndex(codes, vocabulary)
    assert dict(index.named_buffers()).keys() == dict(fresh.named_buffers()).keys()
    for name, buffer in fresh.named_buffers():
        assert torch.equal(index.get_buffer(name), buffer), name


def test_items_of_sids() -> None:
    codes = mostly_live(300, (8, 8, 8))
    live = (codes[:, 0] >= 0).nonzero().squeeze(1)
    assert torch.equal(SidIndex(codes, (8, 8, 8)).items_of(codes[live].long()), live)


def test_shown_items_join_once() -> None:
    joined = with_shown(torch.tensor([[4, 7, 2], [1, 2, 3]]), torch.tensor([[7, 9], [5, 6]]))
    assert joined.tolist() == [[4, 7, 2, 0, 9], [1, 2, 3, 5, 6]]


def plain_and_candidates(n_candidates: int, **settings: Any) -> tuple[HSRLPolicy, HSRLPolicy]:
    """Return two policies of the same weights over 30 items, 2 of them not live."""
    book = random_codebook(30, (4, 4, 4)).deactivate([3, 8])
    return tuple(make_policy(book, spread=0.3, n_candidates=n, **settings) for n in (None, n_candidates))  # type: ignore[return-value]


@pytest.mark.parametrize("likelihood", ["plackett_luce", "independent"])
def test_with_all_candidates_it_is_the_plain_policy(likelihood: str) -> None:
    """Probabilities, entropy, gradients of all weights, and the greedy slate."""
    plain, other = plain_and_candidates(28, likelihood=likelihood)
    some = batch(20, 30)
    some.slates[:] = torch.where(torch.isin(some.slates, torch.tensor([3, 8])), some.slates + 1, some.slates)
    gradients = []
    for policy in (plain, other):
        distribution = policy.distribution_of(policy.plan(some.observations), some.slates)
        log_p = distribution.log_prob_of_items(some.slates)
        loss = (log_p * some.clicks).sum() + distribution.entropy().sum()
        gradients.append(torch.autograd.grad(loss, list(policy.network.parameters()), allow_unused=True))
        gradients[-1] = (log_p.detach(), distribution.entropy().detach(), *gradients[-1])
    for one, two in zip(*gradients, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
    seen = observations(20, 30)
    np.testing.assert_array_equal(*(policy.predict(seen, deterministic=True)[0] for policy in (plain, other)))


@pytest.mark.parametrize("n_candidates", [28, 200])
def test_draws_follow_the_plain_probabilities(n_candidates: int) -> None:
    plain, other = plain_and_candidates(n_candidates)
    seen = {name: column.repeat(3_000, 0) for name, column in observations(1, 30).items()}
    first = other.to_items(torch.as_tensor(other.predict(seen)[0]))[:, 0]
    with torch.no_grad():
        scores = plain.score(as_tensors(observations(1, 30)))[0].scores[0]
    counts, expected = np.bincount(first, minlength=31)[1:], 3_000 * scores.double().softmax(0).numpy()
    often = expected > 5
    assert counts[expected == 0].sum() == 0
    together = [np.append(values[often], values[~often].sum()) for values in (counts, expected)]
    assert chisquare(*together).pvalue > 1e-3


def test_few_candidates_are_a_distribution_of_their_own() -> None:
    """Probabilities of the candidates sum to 1 with those of what was shown; exact scores, not those of the recall."""
    plain, other = plain_and_candidates(6)
    some = batch(20, 30)
    plan = other.plan(some.observations)
    joined = other.distribution_of(plan, some.slates)
    torch.testing.assert_close(joined.item_log_probs.exp().sum(1), torch.ones(20))
    assert joined.items is not None
    exact = plain.network.item_scores(plain.plan(some.observations))
    torch.testing.assert_close(joined.scores_at(some.slates), exact.gather(1, some.slates - 1))
    shown = other.to_items(torch.as_tensor(other.predict(observations(20, 30))[0]))
    recalled = other.distribution_of(plan).items
    assert recalled is not None
    assert recalled.shape == (20, 6)
    assert (shown.unsqueeze(2) == recalled.unsqueeze(1)).any(2).all()


def test_pretraining_knows_the_mean_of_all_items_without_looking_at_them() -> None:
    plain, other = plain_and_candidates(6)
    some = batch(20, 30)
    log = LoggedSlates(some.observations["profile"], some.observations["history"], some.slates, some.clicks)  # type: ignore[arg-type]
    losses = [cloning_loss(policy, log, 3.0) for policy in (plain, other)]
    torch.testing.assert_close(*losses)
    mine, theirs = (
        torch.autograd.grad(loss, list(policy.network.parameters()), allow_unused=True)
        for loss, policy in zip(losses, (plain, other), strict=True)
    )
    for one, two in zip(mine, theirs, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-3)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, Tensor) and not func.is_view:
                self.size = max(self.size, part.numel())
        return result


def agent_of(n_items: int, **network: Any) -> HSRL:
    """Return HSRL over a random catalog, without an environment."""
    small: dict[str, Any] = {"width": 8, "n_layers": 1, "n_heads": 2, "critic_hidden": (8,)}
    settings: dict[str, Any] = {"pretrain_epochs": 0, "policy_kwargs": {**small, **network}, "device": "cpu"}
    agent = HSRL("HSRLPolicy", None, **settings, _init_setup_model=False)  # type: ignore[arg-type]
    agent.observation_space, agent.action_space = spaces_of(random_codebook(n_items, (32, 32, 32)))
    agent.n_envs = 4
    agent._setup_model()
    return agent


def test_no_tensor_of_users_times_items() -> None:
    """In deciding, updating and pretraining, what is largest has a number for each user and shared free vector."""
    n_users, n_items = 160, 20_000
    agent = agent_of(n_items, n_candidates=16)
    some, seen = batch(n_users, n_items), observations(n_users, n_items)
    log = LoggedSlates(some.observations["profile"], some.observations["history"], some.slates, some.clicks)  # type: ignore[arg-type]
    with Largest() as largest:
        agent.policy.predict(seen)
        agent.objective(some).backward()
        cloning_loss(agent.policy, log).backward()
    assert largest.size <= n_users * (SHARED_ROWS + 1) < n_users * n_items / 4
    with Largest() as plain:
        agent.policy.n_candidates = None
        agent.policy.predict(seen)
    assert plain.size >= n_users * n_items


@pytest.mark.parametrize("semantic_ids", [True, False])
def test_given_candidates_are_all_that_is_shown(semantic_ids: bool) -> None:
    """The likelihood is that of the plain policy with all other items out of sight; padding and dead items are none."""
    book = random_codebook(30, (4, 4, 4)).deactivate([3])
    plain = make_policy(book, spread=0.3, semantic_ids=semantic_ids)
    policy = make_policy(book, n_given=6, spread=0.3, semantic_ids=semantic_ids)
    given = np.array([[1, 5, 9, 3, 0, 11], [30, 29, 28, 27, 26, 25]])
    seen = {**observations(2, 30), "candidates": given}
    shown = policy.to_items(torch.as_tensor(policy.predict(seen)[0]))
    assert np.isin(shown[0], [1, 5, 9, 11]).all()
    assert np.isin(shown[1], given[1]).all()
    with torch.no_grad():
        scores = plain.score(as_tensors(observations(2, 30)))[0].scores
        distribution, _ = policy.score(as_tensors(seen))
    rest = torch.ones(2, 30, dtype=torch.bool).scatter(1, torch.as_tensor(given).clamp(min=1) - 1, False)
    expected = scores.masked_fill(rest, -torch.inf).log_softmax(1)
    items = torch.tensor([[1, 9], [27, 30]])
    torch.testing.assert_close(distribution.item_log_probs.exp().sum(1), torch.ones(2))
    first = distribution.log_prob_of_items(items)[:, 0]
    torch.testing.assert_close(first, expected.gather(1, items - 1)[:, 0])


def test_too_few_candidates_are_refused() -> None:
    book = random_codebook(30, (4, 4, 4))
    seen = {**observations(1, 30), "candidates": np.array([[4, 0, 6]])}
    with pytest.raises(HsrlError, match="got fewer than 3 live candidates for a user, expected one for each slot"):
        make_policy(book, n_given=3).predict(seen)
    with pytest.raises(HsrlError, match=f"got n_candidates=2, expected at least the {K} of a slate"):
        make_policy(book, n_candidates=2)
    with pytest.raises(HsrlError, match="got n_candidates=20 without semantic_ids, expected None"):
        make_policy(book, n_candidates=20, semantic_ids=False)
