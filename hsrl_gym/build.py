"""From a log to a bundle: encode, split, fit the codebook and both users, measure, keep the pools."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.bundle import Bundle, UserPool
from hsrl_gym.codebook import fit_codebook
from hsrl_gym.data.log import InteractionLog
from hsrl_gym.data.profile import fit_profile_encoder
from hsrl_gym.train_simulator import FitSettings, evaluate_simulator, fit_simulator

POOL_ROWS = 20_000
TRAIN_FRACTION = 0.8


def build_bundle(
    log: InteractionLog,
    n_levels: int = 3,
    vocabulary: int | Sequence[int] = 64,
    seed: int = 0,
    device: str = "cpu",
    width: int = 32,
    settings: FitSettings | None = None,
    pool_rows: int = POOL_ROWS,
    progress: bool = True,
) -> Bundle:
    """Return the bundle of a log.

    The earliest 80% of the rows fit the profile encoder, the codebook's priorities and the `train` user; all rows fit
    the `eval` user. Fidelity is measured on the latest 20%, which the `train` user has not seen and the `eval` user
    has.

    Args:
        log: what a reader returned.
        n_levels: L of the codebook.
        vocabulary: V_l of the codebook.
        seed: of k-means and of both users' weights and batches.
        device: where the users are fitted.
        width: d of the users.
        settings: of the fit.
        pool_rows: most logged rows kept in each user pool, evenly over time.
        progress: whether to show a progress bar.

    Raises:
        HsrlError: if the log cannot be split or has nothing to learn from.
    """
    settings = settings or FitSettings()
    train_rows, test_rows = log.split_by_time(TRAIN_FRACTION)
    encode = fit_profile_encoder(train_rows.profile, log.n_categorical)
    clicks_per_item = np.bincount(
        train_rows.slate.ravel(), weights=train_rows.clicks.ravel(), minlength=log.n_items + 1
    )
    codebook = fit_codebook(log.item_features, n_levels, vocabulary, seed, priority=clicks_per_item)
    encoded = replace(log, profile=encode(log.profile), item_features=codebook.features, n_categorical=0)
    train_rows, test_rows = encoded.split_by_time(TRAIN_FRACTION)
    simulators, fidelity = {}, {}
    for offset, (name, rows) in enumerate({"train": train_rows, "eval": encoded}.items()):
        model = fit_simulator(rows, width, settings, seed + offset, device, progress, f"{name} user")
        simulators[name] = model.cpu()
        fidelity[name] = {
            "scored_on": "the latest 20% of the log",
            "seen_in_fit": name == "eval",
            **evaluate_simulator(simulators[name], test_rows).to_dict(),
        }
    return Bundle(
        name=log.name,
        source=log.source,
        codebook=codebook,
        simulators=simulators,
        users={"train": _pool(train_rows, pool_rows), "eval": _pool(test_rows, pool_rows)},
        item_labels=log.item_labels,
        profile_encoder=encode,
        provenance={
            "n_logged_slates": len(log),
            "click_rate": round(float(log.clicks.mean()), 6),
            "split": f"by time, {TRAIN_FRACTION:.0%} train",
            "n_levels": n_levels,
            "vocabulary": list(codebook.vocabulary),
            "seed": seed,
            "width": width,
            "fit": settings.to_dict(),
            "pool_rows": pool_rows,
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "scikit-learn", "numpy")},
        },
        fidelity=fidelity,
    )


def _pool(log: InteractionLog, most: int) -> UserPool:
    rows: NDArray[np.intp] = np.linspace(0, len(log) - 1, min(most, len(log))).round().astype(np.intp)
    return UserPool(log.profile[rows], log.history[rows], log.slate[rows], log.clicks[rows])
