"""The loop that stops on a held-out loss: which epoch it keeps, and when it ends."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hsrl_gym.users.early_stopping import train_with_early_stopping


def run(
    losses: list[float], patience: int = 2, min_improvement: float = 0.0, max_epochs: int = 10
) -> tuple[float, int, float]:
    """Return the best loss, the epoch whose weights are kept, and the number of epochs."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    n_epochs = 0

    def train_epoch() -> None:
        nonlocal n_epochs
        assert model.training
        n_epochs += 1
        with torch.no_grad():
            model.weight.fill_(n_epochs)

    def held_out_loss() -> float:
        assert not model.training
        return losses[n_epochs - 1]

    best = train_with_early_stopping(model, train_epoch, held_out_loss, max_epochs, patience, min_improvement)
    assert not model.training
    return best, int(model.weight.item()), n_epochs


@pytest.mark.parametrize(
    ("losses", "changes", "expected"),
    [
        ([3.0, 2.0, 2.5, 2.1, 1.0], {}, (2.0, 2, 4)),  # ends two epochs after the best one
        ([3.0, 2.0, 2.0, 2.0], {}, (2.0, 2, 4)),  # an equal loss is no improvement
        ([3.0, 2.5, 1.0, 0.9, 0.8], {"min_improvement": 0.6}, (1.0, 3, 5)),  # too small a step counts as none
        ([3.0, 2.0, 1.0], {"max_epochs": 2}, (2.0, 2, 2)),
        ([], {"max_epochs": 0}, (float("inf"), 0, 0)),
    ],
)
def test_keeps_the_best_epoch(losses: list[float], changes: dict[str, float], expected: tuple[float, int, int]) -> None:
    assert run([*losses, *[9.0] * 10], **{"patience": 2, **changes}) == expected  # type: ignore[arg-type]
