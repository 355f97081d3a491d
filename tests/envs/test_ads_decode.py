"""Actions over candidates: an item's place, and a SID that is decoded to the nearest candidate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hsrl_gym.envs.ads.decode import CANDIDATE_MODES, CandidateMode
from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.items.codebook import Codebook, fit_codebook

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def book() -> Codebook:
    features = np.random.default_rng(0).normal(size=(301, 4))
    return fit_codebook(features, 3, (5, 8, 9))


def opened(book: Codebook, mode: str, n_candidates: int) -> CandidateMode:
    return CANDIDATE_MODES[mode](Catalog(book, 1), n_candidates, CPU)


def nearest(book: Codebook, tokens: list[int], candidates: list[int]) -> int:
    """Return what a walk down the tree of candidates finds, one at a time."""
    left = candidates
    for level, token in enumerate(tokens):
        table = book.centroids[level]
        far = {item: np.linalg.norm(table[book.codes[item, level]] - table[token]) for item in left}
        left = [item for item in left if far[item] <= min(far.values()) + 1e-6]
    return left[0]


def test_sid_shows_the_nearest_candidate(book: Codebook) -> None:
    generator = np.random.default_rng(1)
    mode = opened(book, "sid", 40)
    assert mode.space.nvec.tolist() == [5, 8, 9]
    candidates = np.array([generator.permutation(300)[:40] + 1 for _ in range(200)])
    actions = generator.integers(0, [5, 8, 9], size=(200, 3))
    codes = torch.as_tensor(book.codes[candidates]).long()
    slates = mode.decode(torch.as_tensor(actions), torch.as_tensor(candidates), codes)
    assert slates.shape == (200, 1)
    expected = [nearest(book, *row) for row in zip(actions.tolist(), candidates.tolist(), strict=True)]
    assert slates[:, 0].tolist() == expected
    for row, (action, item) in enumerate(zip(actions, expected, strict=True)):  # no candidate shares a longer prefix
        common = (book.codes[candidates[row]] == action).cumprod(1).sum(1)
        assert (book.codes[item] == action).cumprod().sum() == common.max()


def test_the_sid_of_a_candidate_shows_it(book: Codebook) -> None:
    candidates = torch.arange(1, 301).expand(300, -1)
    codes = torch.as_tensor(book.codes).long()
    assert opened(book, "sid", 300).decode(codes[1:], candidates, codes[candidates])[:, 0].tolist() == [*range(1, 301)]


def test_equal_centroids_are_still_different_tokens() -> None:
    """With fewer distinct items than tokens, some centroids are copies of others."""
    features = np.repeat(np.arange(3.0), 2)[:, None]
    book = fit_codebook(np.vstack([[[0.0]], features]), 2, 4)
    codes = torch.as_tensor(book.codes).long()
    candidates = torch.arange(1, 7).expand(6, -1)
    assert opened(book, "sid", 6).decode(codes[1:], candidates, codes[candidates])[:, 0].tolist() == [*range(1, 7)]


def test_item_shows_the_candidate_at_that_place(book: Codebook) -> None:
    mode = opened(book, "item", 3)
    assert mode.space.nvec.tolist() == [3]
    candidates = torch.tensor([[9, 4, 2], [5, 1, 7]])
    codes = torch.as_tensor(book.codes)[candidates].long()
    assert mode.decode(torch.tensor([[2], [0]]), candidates, codes).tolist() == [[2], [5]]
    assert mode.masks(codes).tolist() == [[True] * 3] * 2


def test_masks_allow_the_tokens_of_some_candidate(book: Codebook) -> None:
    codes = torch.tensor([[[0, 1, 2], [4, 1, 6]], [[3, 5, 0], [3, 0, 0]]])
    masks = opened(book, "sid", 2).masks(codes)
    assert masks.shape == (2, 22)
    assert [np.flatnonzero(row).tolist() for row in masks] == [[0, 4, 6, 15, 19], [3, 5, 10, 13]]


@pytest.mark.parametrize(
    ("mode", "action", "message"),
    [
        ("sid", [[0, 0]], r"got actions of shape \(1, 2\)"),
        ("sid", [[0.0, 0.0, 0.0]], "type float64, expected integers"),
        ("sid", [[0, 8, 0]], r"got 8 at position 1 of action 0, expected an integer in 0\.\.7"),
        ("item", [[40]], r"got 40 at position 0 of action 0, expected an integer in 0\.\.39"),
        ("item", [[-1]], "got -1"),
    ],
)
def test_actions_outside_the_space(book: Codebook, mode: str, action: list[list[float]], message: str) -> None:
    with pytest.raises(HsrlError, match=message):
        opened(book, mode, 40).check(np.array(action))
