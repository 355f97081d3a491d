"""Fidelity of a user model to logged clicks: AUC, log-loss and calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.users.responses import ClickModel

N_RELIABILITY_BINS = 20


@dataclass(frozen=True)
class Fidelity:
    """Quality of predicted click probabilities, measured on logged clicks.

    Attributes:
        n_slates, n_clicks: numbers of scored slates, and of clicks in them.
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


def ece_by_chance(reliability: Iterable[tuple[float, float, int]]) -> float:
    """Return the ECE that a perfectly calibrated user has on average; 0 without bins.

    The click rate of n predictions of p misses p by sqrt(2 / pi * p (1 - p) / n) on average, in the normal limit.

    Args:
        reliability: see `Fidelity`.
    """
    bins = list(reliability)
    misses = sum(n * math.sqrt(2.0 / math.pi * p * (1.0 - p) / n) for p, _, n in bins)
    return misses / max(sum(n for _, _, n in bins), 1)


def _auc(score: NDArray[np.float64], label: NDArray[np.float64]) -> float:
    """Return the share of (click, no click) pairs in the right order, ties counted half; 0.5 without pairs."""
    from scipy.stats import rankdata

    positive = label == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return 0.5
    ranks = rankdata(score)[positive].sum()
    return float((ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
