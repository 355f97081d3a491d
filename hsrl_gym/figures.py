"""The pictures of a bundle: reliability and fidelity of the learned users, token use of the codebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsrl_gym.items.codebook import Codebook
from hsrl_gym.users.slices import Slice

_KINDS = {
    "slot": "place in the slate",
    "popularity": "items, rarest tenth to most shown",
    "history": "clicks in the history",
}
_COLOURS = {"train": "C0", "eval": "C1", "true": "0.35"}


def draw_reliability(fidelity: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """Draw observed click rate over predicted click probability for each simulator, with 95% error bars."""
    from matplotlib.figure import Figure

    n_panels = max(len(fidelity), 1)  # an empty one for a bundle without fidelity
    figure = Figure(figsize=(4.5 * n_panels, 4.2), layout="constrained")
    panels = figure.subplots(1, n_panels, squeeze=False)[0]
    for axes, (name, values) in zip(panels, fidelity.items(), strict=False):
        predicted, observed, count = (np.array(column) for column in zip(*values["reliability"], strict=True))
        error = 1.96 * np.sqrt(np.maximum(observed * (1.0 - observed), 1e-9) / count)
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfect")
        axes.errorbar(predicted, observed, yerr=error, fmt="o", markersize=4, color="C0", label="20 equal bins, 95%")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted click probability", ylabel="observed click rate")
        note = "its own training data" if values["seen_in_fit"] else "held-out time"
        axes.set_title(
            f"{name} user, on {note}\n"
            f"AUC {values['auc']:.4f}, log-loss {values['log_loss']:.4f}, ECE {values['ece']:.4f}",
            fontsize=10,
        )
        axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_fidelity(slices: Sequence[Slice], path: str | Path) -> None:
    """Draw, per slice, each user model's mean prediction minus the observed click rate, and its AUC.

    The grey band is the 95% interval of the observed rate: a point inside it is no evidence of an error.
    """
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(part.kind for part in slices))
    figure = Figure(figsize=(4.2 * len(kinds), 5.6), layout="constrained")
    panels = figure.subplots(2, len(kinds), squeeze=False, sharex="col", sharey="row")
    for column, kind in enumerate(kinds):
        own = [part for part in slices if part.kind == kind]
        place = np.arange(len(own))
        observed, n = (np.array([getattr(part, name) for part in own]) for name in ("observed", "n"))
        error = 1.96 * np.sqrt(np.maximum(observed * (1.0 - observed), 1e-9) / n)
        upper, lower = panels[:, column]
        upper.fill_between(place, -error, error, color="0.85", linewidth=0)
        upper.axhline(0.0, color="0.6", linewidth=1)
        for user in own[0].scores:
            style = {"color": _COLOURS.get(user), "marker": "o", "markersize": 3.5, "linewidth": 1.2, "label": user}
            upper.plot(place, [part.scores[user].predicted - part.observed for part in own], **style)
            lower.plot(place, [part.scores[user].auc for part in own], **style)
        lower.set_xticks(place, [part.name for part in own])
        lower.set_xlabel(_KINDS.get(kind, kind))
    panels[0, 0].set_ylabel("predicted minus observed\nclick rate")
    panels[1, 0].set_ylabel("AUC")
    panels[0, 0].legend(frameon=False, title="user")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_codebook_use(codebook: Codebook, path: str | Path) -> None:
    """Draw the number of items per token, most used first, one panel per level."""
    from matplotlib.figure import Figure

    report = codebook.report()
    figure = Figure(figsize=(3.6 * len(codebook.centroids), 3.2), layout="constrained")
    panels = figure.subplots(1, len(codebook.centroids), squeeze=False)[0]
    for level, (axes, size) in enumerate(zip(panels, codebook.vocabulary, strict=True)):
        use = np.bincount(codebook.codes[codebook.live_items, level], minlength=size)
        axes.bar(np.arange(size), np.sort(use)[::-1], width=1.0, color=f"C{level}")
        axes.set_title(f"level {level + 1}: perplexity {report.perplexity[level]:.1f} of {size}", fontsize=10)
        axes.set(xlabel="token, most used first", ylabel="items" if level == 0 else "")
    figure.suptitle(f"{report.n_items} items, {report.n_sids} SIDs, {report.n_collisions} collisions", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
