"""From a log to a bundle: encode, split, fit both user models and the codebook, measure fidelity, keep the pools."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.bundle.arrays import check_slate_size, check_vocabulary
from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.bundle.manifest import check_name
from hsrl_gym.data.log import InteractionLog, LoggedSlates
from hsrl_gym.errors import unknown_name
from hsrl_gym.items.behaviour import behaviour_vectors
from hsrl_gym.items.codebook import fit_codebook
from hsrl_gym.items.features import ItemFeatures, round_trip, standardize
from hsrl_gym.users.ensemble import as_one
from hsrl_gym.users.fidelity import evaluate_simulator
from hsrl_gym.users.fit import FitSettings, fit_simulator
from hsrl_gym.users.profile import fit_profile_encoder
from hsrl_gym.users.synthetic import world_of

POOL_ROWS = 20_000
TRAIN_FRACTION = 0.8
CODEBOOKS = ("behaviour", "features")


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
    codebook: str = "behaviour",
    ensemble_size: int = 1,
) -> Bundle:
    """Return the bundle of a log.

    The profile encoder, the codebook and the `train` user are fitted to the earliest 80% of the rows; the `eval` user
    is fitted to all rows. Fidelity is measured on the latest 20%. The `train` user has not seen these rows, the `eval`
    user has.

    Args:
        log: as a reader returns it, with raw profiles and features.
        n_levels: L of the codebook.
        vocabulary: V_l of the codebook.
        seed: of k-means, and of both user models' weights and batches.
        device: where the user models are fitted.
        width: d of the user models.
        settings: of the fit; None for the defaults.
        pool_rows: maximum number of logged rows in each user pool, spread evenly over time.
        progress: whether to show progress.
        codebook: vectors behind the semantic IDs: "behaviour" (see `items.behaviour`), or "features" as in the paper.
        ensemble_size: fits per user model, which is their mean. A step costs as many times more. Logs of fewer than
            about 20,000 slates need 3 or more (see `users.ensemble`).

    Raises:
        HsrlError: for an unknown codebook, a vocabulary, slates or names that no bundle may have, or a log that cannot
            be split or has clicks everywhere or nowhere.
    """
    if codebook not in CODEBOOKS:
        raise unknown_name("codebook", codebook, CODEBOOKS)
    check_vocabulary(vocabulary)
    check_slate_size(log.slate_size, log.n_items)
    check_name("name of the log", log.name)
    check_name("source of the log", log.source)
    settings = settings or FitSettings()
    world = world_of(log.source)
    train_rows, test_rows = log.split_by_time(TRAIN_FRACTION)
    encode = fit_profile_encoder(train_rows.profile, log.n_categorical)
    features = standardize(log.item_features)
    encoded = replace(log, profile=encode(log.profile), item_features=features.values, n_categorical=0)
    train_rows, test_rows = encoded.split_by_time(TRAIN_FRACTION)
    simulators, fidelity = {}, {}
    for offset, (name, rows) in enumerate({"train": train_rows, "eval": encoded}.items()):
        seeds = range(seed + offset, seed + offset + 2 * ensemble_size, 2)  # no two user models share a seed
        fits = [fit_simulator(rows, width, settings, each, device, progress, f"{name} user").cpu() for each in seeds]
        simulators[name] = as_one(fits)
        fidelity[name] = {
            "scored_on": "the latest 20% of the log",
            "seen_in_fit": name == "eval",
            **evaluate_simulator(simulators[name], test_rows).to_dict(),
        }
    users = {"train": _pool(train_rows, 0, pool_rows), "eval": _pool(test_rows, len(train_rows), pool_rows)}
    priority = np.bincount(train_rows.slate.ravel(), weights=train_rows.clicks.ravel(), minlength=log.n_items + 1)
    vectors = behaviour_vectors(simulators["train"], users["train"], seed) if codebook == "behaviour" else None
    return Bundle(
        name=log.name,
        source=log.source,
        codebook=fit_codebook(features, n_levels, vocabulary, seed, priority, vectors=vectors),
        simulators=simulators,
        users=users,
        item_labels=log.item_labels,
        profile_encoder=encode,
        provenance={
            "n_logged_slates": len(log),
            "click_rate": round(float(log.clicks.mean()), 6),
            "split": f"by time, {TRAIN_FRACTION:.0%} train",
            **_codebook_facts(codebook, n_levels, vocabulary),
            "seed": seed,
            "width": width,
            "ensemble_size": ensemble_size,
            "fit": settings.to_dict(),
            "pool_rows": pool_rows,
            **({"world": world} if world else {}),
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "scikit-learn", "numpy")},
        },
        fidelity=fidelity,
    )


def with_codebook(
    bundle: Bundle,
    n_levels: int = 3,
    vocabulary: int | Sequence[int] = 64,
    seed: int = 0,
    codebook: str = "behaviour",
) -> Bundle:
    """Return the bundle with other semantic IDs for the same items and users; the arguments are `build_bundle`'s.

    Raises:
        HsrlError: for an unknown codebook, or a vocabulary that is not positive.
    """
    if codebook not in CODEBOOKS:
        raise unknown_name("codebook", codebook, CODEBOOKS)
    check_vocabulary(vocabulary)
    old, vectors = bundle.codebook, None
    if codebook == "behaviour":
        vectors = behaviour_vectors(bundle.simulators["train"], bundle.users["train"], seed)
    features = ItemFeatures(old.features, old.mean, old.scale)
    fitted = fit_codebook(round_trip(features), n_levels, vocabulary, seed, old.priority, vectors=vectors)
    return replace(
        bundle,
        codebook=replace(
            old,
            codes=fitted.codes,
            centroids=fitted.centroids,
            n_moved=fitted.n_moved,
            vectors=old.features if vectors is None else vectors,
            to_vector=fitted.to_vector,
        ),
        provenance={**bundle.provenance, **_codebook_facts(codebook, n_levels, vocabulary)},
    )


def _codebook_facts(codebook: str, n_levels: int, vocabulary: int | Sequence[int]) -> dict[str, Any]:
    sizes = [vocabulary] * n_levels if isinstance(vocabulary, int) else list(vocabulary)
    return {"codebook": codebook, "n_levels": n_levels, "vocabulary": sizes}


def _pool(rows: LoggedSlates, first: int, most: int) -> LoggedSlates:
    """Return at most `most` of the rows, evenly spread; `first` is the number of the first row in the whole log."""
    kept: NDArray[np.intp] = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.intp)
    return LoggedSlates(
        rows.profile[kept], rows.history[kept], rows.slate[kept], rows.clicks[kept], row=(first + kept).astype(np.int64)
    )
