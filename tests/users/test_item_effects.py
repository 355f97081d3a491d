"""What items add to their content: known effects are found, few clicks say little, many decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.data.log import InteractionLog, LoggedSlates
from hsrl_gym.envs.synthetic_log import write_log
from hsrl_gym.items.features import standardize
from hsrl_gym.users import fit
from hsrl_gym.users.click_model import UserResponseModel
from hsrl_gym.users.fidelity import evaluate_simulator, fidelity_of
from hsrl_gym.users.fit import FitSettings, fit_simulator
from hsrl_gym.users.item_effects import Impressions, ItemEffects, impressions, item_biases, item_vectors
from hsrl_gym.users.synthetic import SyntheticWorld

N_ITEMS, WIDTH = 400, 3


def simulated(n: int, variance: float, vectors: Tensor | None = None) -> tuple[Impressions, Tensor]:
    """Return n impressions of each of items 1..400 with random biases, and these; three slots share a direction."""
    generator = torch.Generator().manual_seed(0)
    bias = torch.randn(N_ITEMS + 1, generator=generator) * variance**0.5
    item = torch.arange(1, N_ITEMS + 1).repeat(n)[torch.randperm(n * N_ITEMS, generator=generator)]
    direction = torch.randn(len(item) // 2, WIDTH, generator=generator)
    affinity = 0.5 * torch.randn(len(item), generator=generator)
    logit = affinity + bias[item]
    if vectors is not None:
        logit += (direction.repeat_interleave(2, 0) * vectors[item]).sum(1)
    click = (torch.rand(len(item), generator=generator) < 0.1 + 0.8 * torch.sigmoid(logit)).float()
    return Impressions(item, click, affinity, direction, (0.1, 0.8)), bias


@pytest.mark.parametrize(("n", "variance"), [(6, 2.0), (40, 0.5)])
def test_the_variance_is_found(n: int, variance: float) -> None:
    found = item_biases(simulated(n, variance)[0], N_ITEMS)
    assert found.variance == pytest.approx(variance, rel=0.25)


def test_without_effects_there_are_none() -> None:
    found = item_biases(simulated(20, 0.0)[0], N_ITEMS)
    assert found.variance < 0.05
    assert float(found.bias.square().mean()) < 0.01


def test_many_impressions_decide_and_few_do_not() -> None:
    seen, bias = simulated(200, 1.0)
    kept = (seen.item > 200) | (torch.arange(len(seen.item)) < 2_000)  # items 1 to 200: about 5 impressions of 200
    kept &= seen.item != 7
    pairs = kept.view(-1, 2).all(1)  # whole slates
    rows = pairs.repeat_interleave(2)
    seen = Impressions(seen.item[rows], seen.click[rows], seen.affinity[rows], seen.direction[pairs], seen.bounds)
    found = item_biases(seen, N_ITEMS + 5).bias
    assert len(found) == N_ITEMS + 6
    assert float(found[7]) == float(found[0]) == float(found[-1]) == 0.0
    assert np.corrcoef(found[201:401], bias[201:])[0, 1] > 0.9
    assert float(found[1:201].var()) < 0.6 * float(found[201:401].var())


def test_an_impression_does_not_count_for_itself() -> None:
    """One impression of an item: the others say nothing. Two: each has what the other says."""
    seen, _ = simulated(2, 1.0)
    seen = replace(seen, affinity=torch.zeros_like(seen.affinity))
    item = seen.item.clone()
    item[0] = N_ITEMS + 1
    found = item_biases(replace(seen, item=item), N_ITEMS + 1)
    assert float(found.others[0]) == pytest.approx(0.0, abs=0.02)
    partner = int((seen.item[1:] == seen.item[0]).nonzero()[0, 0]) + 1
    assert float(found.others[partner]) == pytest.approx(0.0, abs=0.02)
    first, second = (item == item[1]).nonzero()[:, 0].tolist()
    for one, other in ((first, second), (second, first)):
        assert (float(found.others[one]) > 0) == (float(seen.click[other]) > 0)


def test_vectors_are_found() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(N_ITEMS + 1, WIDTH, generator=generator)
    seen, bias = simulated(60, 0.5, vectors)
    got_bias, got = item_vectors(seen, torch.zeros_like(bias), 0.5)
    assert np.corrcoef(got[1:].flatten(), vectors[1:].flatten())[0, 1] > 0.8
    assert np.corrcoef(got_bias[1:], bias[1:])[0, 1] > 0.6
    few, bias = simulated(8, 0.5, vectors)  # too few to say anything of a vector
    assert not item_vectors(few, bias, 0.5)[1].any()


def test_in_parts_or_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, bias = simulated(12, 0.5)
    whole = item_vectors(seen, bias, 0.5)
    monkeypatch.setattr("hsrl_gym.users.item_effects._AT_ONCE", 50)
    for got, expected in zip(item_vectors(seen, bias, 0.5), whole, strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-4)


def test_the_direction_is_the_derivative(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsrl_gym.users.large.LARGE_FROM", 1)
    pool = tiny_bundle.users["train"].rows(slice(0, 30))
    model = UserResponseModel(
        tiny_bundle.simulators["train"].config, torch.as_tensor(tiny_bundle.codebook.features)
    ).eval()
    model.slope.data.zero_()  # topics answer to the vector too, but not linearly
    seen = impressions(model, pool)
    rows = pool.tensors()
    item = int(rows.slate[0, 0])
    assert item not in rows.history[0]
    step = torch.randn(16) * 0.1
    with torch.no_grad():
        model.item_free.weight[item] += step
        moved = model.appeal(rows.profile[:1], rows.history[:1], rows.slate[:1])[0, 0]
    assert float(moved - seen.affinity[0]) == pytest.approx(float(seen.direction[0] @ step), abs=1e-5)


@pytest.mark.parametrize(("losses", "bias", "vectors"), [((1, 2, 3), 0, 0), ((3, 1, 2), 1, 0), ((3, 2, 1), 1, 1)])
def test_what_does_not_help_is_left_out(
    tiny_bundle: Bundle, tiny_log: InteractionLog, losses: tuple[int, ...], bias: int, vectors: int
) -> None:
    model = UserResponseModel(tiny_bundle.simulators["train"].config, torch.as_tensor(tiny_bundle.codebook.features))
    pool = LoggedSlates(
        tiny_bundle.profile_encoder(tiny_log.profile), tiny_log.history, tiny_log.slate, tiny_log.clicks
    )
    scripted = iter(losses)
    ItemEffects(model, pool).finish(lambda: next(scripted))
    assert (model.item_free_bias.weight.any(), model.item_free.weight.any()) == (bias, vectors)


def test_no_overfitting_where_items_outnumber_clicks(
    tiny_world: SyntheticWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights learned freely for each item reach 0.50 here after one epoch and 0.71 after four; item means 0.66."""
    world = SyntheticWorld(replace(tiny_world.config, name="sparse", n_items=5_000, quality=1.5, sweetness=0.4))
    log = write_log(world, 2_000, personal=0.0)
    log = replace(log, item_features=standardize(log.item_features).values)
    train, test = log.split_by_time(0.8)
    assert train.clicks.sum() < log.n_items
    shown, clicked = (
        np.bincount(train.slate.ravel(), weights=weights, minlength=5_001) for weights in (None, train.clicks.ravel())
    )
    mean = ((clicked + 8 * train.clicks.mean()) / (shown + 8))[test.slate]  # the best of 1, 2, 4 and 8
    item_means = fidelity_of(np.log(mean / (1.0 - mean)), test.clicks).log_loss
    losses: list[float] = []
    measure = fit._log_loss

    def recorded(model: UserResponseModel, held_out: LoggedSlates) -> float:
        losses.append(measure(model, held_out))
        return losses[-1]

    monkeypatch.setattr("hsrl_gym.users.large.LARGE_FROM", 5_000)
    monkeypatch.setattr(fit, "_log_loss", recorded)
    settings = FitSettings(batch_size=128, learning_rate=5e-3, max_epochs=4, min_steps=40, patience=4)
    fitted = evaluate_simulator(fit_simulator(train, 16, settings, progress=False), test).log_loss
    assert fitted < item_means - 0.1
    epochs, (content, _, _) = losses[:4], losses[4:]
    assert epochs[-1] < min(epochs) + 0.01
    assert min(losses) < content - 0.01  # weights of items help, even so
