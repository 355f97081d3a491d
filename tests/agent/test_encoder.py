"""SASRec: which inputs matter, and that the fast form equals the plain one."""

from __future__ import annotations

import pytest
import torch
from plain import plain_encoder, small_encoder

from hsrl_agent.encoder import OWN_ROWS, SHARED_ROWS, SASRec
from hsrl_gym.errors import HsrlError


def test_encoder_ignores_what_stands_in_padding_but_not_the_order() -> None:
    net = small_encoder()
    profile = torch.randn(2, 2)
    history = torch.tensor([[0, 0, 1, 2, 3], [0, 0, 0, 0, 0]])
    base = net(profile, history)
    assert base.shape == (2, 8)
    assert torch.isfinite(base).all()
    with torch.no_grad():
        net.item_free.weight[0] = 100.0  # whatever padding is looked up as must not be seen
    torch.testing.assert_close(net(profile, history), base)
    swapped = net(profile, torch.tensor([[0, 0, 2, 1, 3], [0, 0, 0, 0, 0]]))
    assert not torch.allclose(swapped[0], base[0])  # SASRec has positions


def test_encoder_gives_the_same_alone_and_in_a_batch_with_longer_histories() -> None:
    net = small_encoder()
    profile = torch.randn(3, 2)
    history = torch.tensor([[0, 0, 0, 0, 4], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]])
    together = net(profile, history)
    for row in range(3):
        torch.testing.assert_close(net(profile[row : row + 1], history[row : row + 1])[0], together[row])


def test_encoder_sees_profile_and_features() -> None:
    net = small_encoder()
    history = torch.tensor([[0, 0, 0, 1, 2]])
    one, other = net(torch.tensor([[0.0, 1.0]]), history), net(torch.tensor([[1.0, 0.0]]), history)
    assert not torch.allclose(one, other)  # eq. 10 takes the state as well as the history
    with torch.no_grad():
        net.item_features[2] += 1.0
    assert not torch.allclose(net(torch.tensor([[0.0, 1.0]]), history), one)


@pytest.mark.parametrize("n_users", [1, 7, 16, 50])
@pytest.mark.parametrize("lengths", ["any", "full", "empty"])
def test_the_fast_form_says_what_the_plain_one_says(n_users: int, lengths: str) -> None:
    torch.manual_seed(1)
    net = SASRec(torch.randn(31, 4), n_profile=3, history_length=20, width=16, n_layers=3, n_heads=4)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    profile, history = torch.randn(n_users, 3), torch.randint(1, 31, (n_users, 20))
    length = {"any": torch.randint(0, 21, (n_users, 1)), "full": torch.tensor(20), "empty": torch.tensor(0)}[lengths]
    history = history * (torch.arange(20) >= 20 - length)
    got, expected = net(profile, history), plain_encoder(net, profile, history)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    direction = torch.randn_like(got)
    weights = dict(net.named_parameters())
    mine, theirs = (torch.autograd.grad((state * direction).sum(), list(weights.values())) for state in (got, expected))
    for name, one, other in zip(weights, mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3, msg=name)


def test_another_device_than_the_cpu_gets_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU computes, all users as wide as the history, is the same: checked here with one group on the CPU."""
    net, profile = small_encoder(), torch.randn(9, 2)
    history = torch.randint(1, 7, (9, 5)) * (torch.arange(5) >= torch.randint(0, 6, (9, 1)))
    grouped = net(profile, history)
    monkeypatch.setattr(SASRec, "_bounds", staticmethod(lambda length, width, on_cpu: [(0, len(length), width)]))
    torch.testing.assert_close(net(profile, history), grouped)


def test_a_large_catalog_shares_free_vectors_and_looks_up_only_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of 8 rows for 30 items; states and gradients are those of the table of all items."""
    monkeypatch.setattr("hsrl_agent.encoder.OWN_ROWS", 20)
    monkeypatch.setattr("hsrl_agent.encoder.SHARED_ROWS", 8)
    net = small_encoder(30)
    rows = net.row_of(torch.arange(31))
    assert net.item_free is not None
    assert net.item_free.weight.shape == (9, 8)
    assert rows[0] == 0
    assert set(rows[1:].tolist()) == set(range(1, 9))
    profile, history = torch.randn(4, 2), torch.randint(1, 31, (4, 5))
    history = history * (torch.arange(5) >= torch.randint(0, 6, (4, 1)))
    weights = list(net.parameters())
    states = []
    for net.looks_up in (True, False):  # False: by the table, as a small catalog
        state = net(profile, history)
        states.append((state.detach(), *torch.autograd.grad(state.square().sum() + state[:, 0].sum(), weights)))
    for one, two in zip(*states, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(net.item_vectors(history), net.item_table()[history])


def test_every_item_has_a_row_of_its_own_below_that() -> None:
    net = SASRec(torch.zeros(OWN_ROWS + 1, 1), n_profile=1, history_length=2, width=2, n_layers=1, n_heads=1)
    assert not net.shares_rows
    assert torch.equal(net.row_of(torch.arange(OWN_ROWS + 1)), torch.arange(OWN_ROWS + 1))
    larger = SASRec(torch.zeros(OWN_ROWS + 2, 1), n_profile=1, history_length=2, width=2, n_layers=1, n_heads=1)
    assert larger.shares_rows
    counts = larger.row_of(torch.arange(1, 10 * SHARED_ROWS)).bincount(minlength=SHARED_ROWS + 1)
    assert counts[0] == 0
    assert counts[1:].min() >= 8
    assert counts.max() <= 12  # about ten each


def test_items_without_free_vectors_are_their_content() -> None:
    net = SASRec(torch.randn(7, 3), 2, 5, width=8, n_layers=1, n_heads=2, per_item=False)
    assert not [name for name, weight in net.named_parameters() if len(weight) == 7]
    torch.testing.assert_close(net.item_table(), net.item_map(net.item_features))
    assert net(torch.randn(2, 2), torch.tensor([[0, 0, 0, 1, 2]] * 2)).shape == (2, 8)


@pytest.mark.parametrize("sizes", [{"width": 30}, {"n_heads": 3}, {"n_layers": 0}])
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(HsrlError, match="of the encoder, expected a width that is a multiple of n_heads"):
        SASRec(torch.zeros(4, 2), 3, 5, **sizes)
