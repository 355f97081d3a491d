"""Fit the learned user and say how far it can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hsrl_gym.data.log import InteractionLog, LoggedSlates
from hsrl_gym.errors import HsrlError
from hsrl_gym.users.click_model import ClickModel, SimulatorConfig, UserResponseModel
from hsrl_gym.users.early_stopping import train_with_early_stopping

N_RELIABILITY_BINS = 20
_MIN_IMPROVEMENT = 1e-5  # nats of held-out log-loss
_OF_TOPICS = ("topic.weight", "topic.bias", "topic_sharpness", "knee", "slope")


@dataclass(frozen=True)
class Fidelity:
    """How the predicted click probabilities stand against clicks they were not fitted to.

    Attributes:
        n_slates, n_clicks: how many were scored.
        auc: area under the ROC curve, 0.5 for chance.
        log_loss: mean negative log-likelihood of a click, in nats.
        ece: expected calibration error, mean |predicted - observed| over 20 bins with equally many predictions.
        reliability: per bin, mean predicted probability, observed click rate, number of predictions.
    """

    n_slates: int
    n_clicks: int
    auc: float
    log_loss: float
    ece: float
    reliability: tuple[tuple[float, float, int], ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers, to be written to YAML."""
        values = asdict(self)
        values["reliability"] = [[round(p, 6), round(y, 6), n] for p, y, n in self.reliability]
        return values


@dataclass(frozen=True)
class FitSettings:
    """How a simulator is fitted.

    Attributes:
        batch_size: slates a step.
        learning_rate: of Adam at the start; it falls to 0 along a cosine.
        weight_decay: of AdamW.
        max_epochs: passes over the train rows at most.
        min_steps: steps of an epoch at least; a small log is passed more than once between two held-out losses.
        patience: epochs without a better held-out log-loss before it stops.
        holdout: latest share of the train rows that decides when to stop.
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
    """Return a user fitted to the log by binary cross-entropy on logits, stopped on held-out log-loss.

    `log.profile` and `log.item_features` are taken as they are: encode and standardize them first (`build_bundle`
    does). The latest rows of the log are held out to choose the epoch; they are not fitted to.

    Raises:
        HsrlError: if the log has clicks everywhere or nowhere: there is nothing to learn.
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
        return _train(model, fitted, held_out, settings, seed, progress, description)


def _train(
    model: UserResponseModel,
    fitted: InteractionLog,
    held_out: InteractionLog,
    settings: FitSettings,
    seed: int,
    progress: bool,
    description: str,
) -> UserResponseModel:
    from tqdm import tqdm

    columns = fitted.tensors(_device_of(model))
    generator = torch.Generator().manual_seed(seed)
    optimizer = _optimizer(model, settings)
    n_steps = max(-(-len(fitted) // settings.batch_size), settings.min_steps)  # of an epoch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.max_epochs * n_steps)
    batches = _endless_batches(len(fitted), settings.batch_size, generator)
    with tqdm(total=settings.max_epochs * n_steps, desc=description, disable=not progress, leave=False) as bar:

        def train_epoch() -> None:
            for chosen in islice(batches, n_steps):
                rows = columns.rows(chosen.to(columns.profile.device))
                logits = model(rows.profile, rows.history, rows.slate)
                loss = functional.binary_cross_entropy_with_logits(logits, rows.clicks)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()

        def held_out_loss() -> float:
            loss = _log_loss(model, held_out)
            bar.set_postfix(held_out=f"{loss:.4f}")
            return loss

        train_with_early_stopping(
            model, train_epoch, held_out_loss, settings.max_epochs, settings.patience, _MIN_IMPROVEMENT
        )
    return model.requires_grad_(False)


def _endless_batches(n_rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(n_rows, generator=generator).split(batch_size)


def _optimizer(model: UserResponseModel, settings: FitSettings) -> torch.optim.Optimizer:
    """Return AdamW; topics and the bounds of the click probability have far to go: they go faster, undecayed."""
    others = dict(model.named_parameters())
    bounds, topics = others.pop("bounds"), [others.pop(name) for name in _OF_TOPICS]
    groups: list[dict[str, Any]] = [
        {"params": list(others.values()), "weight_decay": settings.weight_decay},
        {"params": topics, "lr": 5 * settings.learning_rate},
        {"params": [bounds], "lr": 30 * settings.learning_rate},
    ]
    return torch.optim.AdamW(groups, settings.learning_rate, weight_decay=0.0)


def _device_of(model: UserResponseModel) -> torch.device:
    return model.item_target.weight.device


def predict_logits(
    model: ClickModel, log: LoggedSlates, device: str | torch.device = "cpu", batch: int = 4096
) -> NDArray[np.float64]:
    """Return the click logits (M, K) that a user model gives to the logged slates."""
    return np.concatenate(list(_predict(model, log, device, batch))).astype(np.float64)


@torch.no_grad()
def _predict(
    model: ClickModel, log: LoggedSlates, device: str | torch.device, batch: int
) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(log), batch):
        rows = log.rows(slice(start, start + batch)).tensors(device)
        yield model(rows.profile, rows.history, rows.slate).cpu().numpy()


def _log_loss(model: UserResponseModel, log: LoggedSlates) -> float:
    logits = torch.as_tensor(predict_logits(model, log, _device_of(model)))
    return float(functional.binary_cross_entropy_with_logits(logits, torch.as_tensor(log.clicks).double()))


def evaluate_simulator(model: ClickModel, log: LoggedSlates, device: str = "cpu") -> Fidelity:
    """Return AUC, log-loss, calibration error and reliability of a user model on logged slates."""
    if isinstance(model, torch.nn.Module):
        model.eval()
    return fidelity_of(predict_logits(model, log, device), log.clicks)


def fidelity_of(logits: NDArray[np.float64], clicks: NDArray[np.uint8]) -> Fidelity:
    """Return the fidelity of predicted click logits (M, K) against clicks (M, K)."""
    from scipy.special import expit

    score, label = logits.ravel(), clicks.ravel().astype(np.float64)
    log_loss = float(np.mean(np.logaddexp(0.0, score) - label * score))
    probability = expit(score)
    bins = np.array_split(np.argsort(probability, kind="stable"), N_RELIABILITY_BINS)
    reliability = tuple((float(probability[b].mean()), float(label[b].mean()), len(b)) for b in bins if len(b))
    ece = sum(abs(p - y) * n for p, y, n in reliability) / len(score)
    return Fidelity(len(clicks), int(label.sum()), _auc(score, label), log_loss, float(ece), reliability)


def _auc(score: NDArray[np.float64], label: NDArray[np.float64]) -> float:
    """Return the share of (click, no click) pairs in the right order, ties counted half; 0.5 without pairs."""
    from scipy.stats import rankdata

    positive = label == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return 0.5
    ranks = rankdata(score)[positive].sum()
    return float((ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
