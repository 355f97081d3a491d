"""Training that stops when the held-out loss no longer falls; learned users and pretrained agents use it."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import nn


def train_with_early_stopping(
    model: nn.Module,
    train_epoch: Callable[[], None],
    held_out_loss: Callable[[], float],
    max_epochs: int,
    patience: int,
    min_improvement: float = 0.0,
) -> float:
    """Train in place, keep the weights of the epoch with the lowest held-out loss, and return that loss.

    The model comes back in evaluation mode, with the weights of its best epoch.

    Args:
        model: the module whose weights are trained.
        train_epoch: makes one pass; the model is in training mode.
        held_out_loss: loss on rows that are not trained on; the model is in evaluation mode.
        max_epochs: passes at most; with 0 the model stays as it is and the loss is infinite.
        patience: epochs in a row without an improvement after which training stops.
        min_improvement: an improvement is a loss lower than the best one by more than this.
    """
    best, best_state, since_best = float("inf"), copy.deepcopy(model.state_dict()), 0
    for _ in range(max_epochs):
        model.train()
        train_epoch()
        model.eval()
        loss = held_out_loss()
        if loss < best - min_improvement:
            best, best_state, since_best = loss, copy.deepcopy(model.state_dict()), 0
        else:
            since_best += 1
            if since_best == patience:
                break
    model.load_state_dict(best_state)
    model.eval()
    return best
