"""Large catalogs: from what size on, and that the user computes the same with the rows of its tables it needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.users.large import LARGE_FROM, is_large


def test_the_rule() -> None:
    assert not is_large(LARGE_FROM - 1)
    assert is_large(LARGE_FROM)
    assert not is_large(3_706)  # the packaged catalogs are small


def test_the_user_answers_alike(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the items at hand, users in groups by length, tables in parts: the same affinities."""
    model, pool = tiny_bundle.simulators["train"], tiny_bundle.users["train"].rows(slice(0, 100))
    rows = pool.tensors()
    short = rows.history.clone()
    short[:3] = 0  # nobody clicked
    asked = (rows.profile, short, rows.slate)
    everyone = torch.arange(len(pool))
    plain = model(*asked), model.appeal(*asked), model.prepared(rows.profile)(everyone, short, rows.slate)
    monkeypatch.setattr("hsrl_gym.users.large.LARGE_FROM", 1)
    monkeypatch.setattr("hsrl_gym.users.network._ITEMS_AT_ONCE", 7)
    tables, table_sizes = type(model).tables, []

    def recorded(self: object, items: torch.Tensor | None = None) -> object:
        table_sizes.append(0 if items is None else len(items))
        return tables(self, items)

    monkeypatch.setattr(type(model), "tables", recorded)
    large = model(*asked), model.appeal(*asked), model.prepared(rows.profile)(everyone, short, rows.slate)
    for got, expected in zip(large, plain, strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=2e-5)
    assert 0 not in table_sizes  # never all items at once
    model(rows.profile[:1], short[:1], rows.slate[:1])
    assert table_sizes[-1] == 1 + 4  # padding and a slate


def test_affinities_are_states_times_targets(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = tiny_bundle.simulators["train"], tiny_bundle.users["train"].rows(slice(0, 50)).tensors()
    target = model.tables().target[rows.slate]
    expected = model.appeal(rows.profile, rows.history, rows.slate)
    for first in (10**6, 1):
        monkeypatch.setattr("hsrl_gym.users.large.LARGE_FROM", first)
        states = model.states(rows.profile, rows.history)
        got = torch.einsum("bd,bkd->bk", states, target[..., :-1]) + target[..., -1]
        np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=2e-5)
