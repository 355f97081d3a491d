"""Fit the learned user to logged slates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hsrl_gym.data.log import InteractionLog, LoggedSlates
from hsrl_gym.errors import HsrlError
from hsrl_gym.progress import progress_bar
from hsrl_gym.users.click_model import SimulatorConfig, UserResponseModel
from hsrl_gym.users.early_stopping import train_with_early_stopping
from hsrl_gym.users.fidelity import predict_logits
from hsrl_gym.users.item_effects import ItemEffects
from hsrl_gym.users.large import is_large
from hsrl_gym.users.small import is_small

_MIN_IMPROVEMENT = 1e-5  # nats of held-out log-loss
_OF_TOPICS = ("topic.weight", "topic.bias", "topic_sharpness", "knee", "slope")


@dataclass(frozen=True)
class FitSettings:
    """Settings of `fit_simulator`.

    Attributes:
        batch_size: slates per step.
        learning_rate: initial rate of AdamW; it falls to 0 along a cosine.
        weight_decay: of AdamW.
        max_epochs: maximum number of epochs.
        min_steps: minimum number of steps per epoch; a small log is passed more than once per epoch.
        patience: epochs without a better held-out log-loss after which the fit stops.
        holdout: latest share of the rows, held out for early stopping.
    """

    batch_size: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 2e-2
    max_epochs: int = 8
    min_steps: int = 80
    patience: int = 3
    holdout: float = 0.1

    def to_dict(self) -> dict[str, int | float]:
        """Return the settings as plain numbers, to be written to YAML."""
        return asdict(self)


def fit_simulator(
    log: InteractionLog,
    width: int = 32,
    settings: FitSettings | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = True,
    description: str = "user model",
) -> UserResponseModel:
    """Return a user model fitted to the log by binary cross-entropy on logits, with early stopping.

    The latest rows of the log are held out for early stopping; the model is not fitted to them.

    Args:
        log: with encoded profiles and standardized item features (`build_bundle` does both).
        width: d of the model.
        settings: of the fit; None for the defaults.
        seed: of initial weights, batches and dropout. The global generator is left as it was.
        device: where the model is fitted, and where it stays.
        progress: whether to show progress.
        description: name of the work in the progress bar.

    Raises:
        HsrlError: if every click is 0 or every click is 1.
    """
    settings = settings or FitSettings()
    if log.clicks.min() == log.clicks.max():
        raise HsrlError(
            f"{log.source}: every click is {log.clicks.flat[0]}, expected both 0 and 1; a user model needs to see "
            "what was not clicked as well."
        )
    fitted, held_out = log.split_by_time(1.0 - settings.holdout)
    config = SimulatorConfig(log.n_items, log.item_features.shape[1], log.profile.shape[1], log.history.shape[1], width)
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        model = UserResponseModel(config, torch.as_tensor(log.item_features)).to(device)
        return _train(model, fitted, held_out, settings, seed, progress, description, is_small(len(log)))


def _train(
    model: UserResponseModel,
    fitted: InteractionLog,
    held_out: InteractionLog,
    settings: FitSettings,
    seed: int,
    progress: bool,
    description: str,
    grouped: bool,
) -> UserResponseModel:
    columns = fitted.tensors(_device_of(model))
    items = ItemEffects(model, fitted) if is_large(fitted.n_items) else None
    generator = torch.Generator().manual_seed(seed)
    optimizer = _optimizer(model, settings)
    n_steps = max(-(-len(fitted) // settings.batch_size), settings.min_steps)  # per epoch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.max_epochs * n_steps)
    batches = _endless_batches(len(fitted), settings.batch_size, generator)
    with progress_bar(description, settings.max_epochs * n_steps, progress) as bar:

        def train_epoch() -> None:
            for chosen in islice(batches, n_steps):
                rows = columns.rows(chosen.to(columns.profile.device))
                shown = (rows.profile, rows.history, rows.slate)
                logits = items.logits(rows, chosen) if items else model(*shown, grouped=grouped)
                loss = functional.binary_cross_entropy_with_logits(logits, rows.clicks)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
            if items:
                items.refresh()

        def held_out_loss() -> float:
            loss = _log_loss(model, held_out)
            bar.set_postfix(held_out=f"{loss:.4f}")
            return loss

        best = train_with_early_stopping(
            model, train_epoch, held_out_loss, settings.max_epochs, settings.patience, _MIN_IMPROVEMENT
        )
        model.requires_grad_(False)
        if items:
            best = items.finish(held_out_loss)
        bar.set_postfix(held_out=f"{best:.4f}")  # of the weights that are kept, not of the last epoch
    return model


def _endless_batches(n_rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(n_rows, generator=generator).split(batch_size)


def _optimizer(model: UserResponseModel, settings: FitSettings) -> torch.optim.Optimizer:
    """Return AdamW. Topics and click bounds start far from their optimum: higher rates, no weight decay."""
    others = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    bounds, topics = others.pop("bounds"), [others.pop(name) for name in _OF_TOPICS]
    groups: list[dict[str, Any]] = [
        {"params": list(others.values()), "weight_decay": settings.weight_decay},
        {"params": topics, "lr": 5 * settings.learning_rate},
        {"params": [bounds], "lr": 30 * settings.learning_rate},
    ]
    return torch.optim.AdamW(groups, settings.learning_rate, weight_decay=0.0)


def _device_of(model: UserResponseModel) -> torch.device:
    return model.item_target.weight.device


def _log_loss(model: UserResponseModel, log: LoggedSlates) -> float:
    logits = torch.as_tensor(predict_logits(model, log, _device_of(model)))
    return float(functional.binary_cross_entropy_with_logits(logits, torch.as_tensor(log.clicks).double()))
