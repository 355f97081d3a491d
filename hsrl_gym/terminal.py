"""The tables that `hsrl-gym build` and `hsrl-gym inspect` print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.users.slices import Slice, UserScore
from hsrl_gym.users.true_user import TRUE_USER


def print_bundle(bundle: Bundle) -> None:
    """Print sizes and provenance of a bundle, the fidelity of its learned users, and the use of its codebook."""
    console = Console(markup=False, emoji=False)  # names from files are texts, not instructions
    report = bundle.codebook.report()
    facts = Table(title=f"Bundle {bundle.name}", title_justify="left", show_header=False)
    facts.add_row("source", bundle.source)
    facts.add_row("items, slate size", f"{bundle.n_items:,} ({report.n_items:,} live), {bundle.slate_size}")
    facts.add_row("rows in the user pools", ", ".join(f"{name} {len(users):,}" for name, users in bundle.users.items()))
    for name, value in bundle.provenance.items():
        facts.add_row(name.replace("_", " "), _plain(value))
    console.print(facts)

    users = Table(title="Learned users, scored on the latest 20% of the log", title_justify="left")
    for heading in ("user", "trained on these rows", "slates", "AUC", "log-loss", "ECE"):
        users.add_column(heading, justify="left" if heading == "user" else "right")
    for name, fidelity in bundle.fidelity.items():
        users.add_row(
            name,
            "yes" if fidelity["seen_in_fit"] else "no",
            f"{fidelity['n_slates']:,}",
            *(f"{fidelity[key]:.4f}" for key in ("auc", "log_loss", "ece")),
        )
    console.print(users)

    codes = Table(title="Semantic IDs (perplexity: effective number of tokens in use)", title_justify="left")
    for heading in ("level", "tokens", "used", "perplexity"):
        codes.add_column(heading, justify="right")
    for level, size in enumerate(bundle.codebook.vocabulary):
        codes.add_row(str(level + 1), str(size), str(report.used_tokens[level]), f"{report.perplexity[level]:.1f}")
    console.print(codes)
    console.print(
        f"{report.n_sids:,} SIDs for {report.n_items:,} items, {report.n_collisions} collisions "
        f"({report.n_moved} items were moved to avoid collisions), "
        f"reconstruction error {report.reconstruction_error:.3f}"
    )


# Title and first column of the table of each kind of slice.
_SLICES = {
    "slot": ("by position in the slate", "slot"),
    "popularity": ("by popularity: tenths of the items, 1 = least often shown in the train pool", "tenth"),
    "history": ("by number of clicks in the history", "clicks"),
}


def print_fidelity(slices: Sequence[Slice], scores: Mapping[str, UserScore]) -> None:
    """Print the learned users slice by slice, and compare them with the true user where the bundle knows it."""
    console = Console(markup=False, emoji=False)  # names from files are texts, not instructions
    learned = [user for user in scores if user != TRUE_USER]
    for kind in dict.fromkeys(part.kind for part in slices):
        title, first = _SLICES[kind]
        table = Table(title=f"Eval pool {title} (p: mean predicted click probability)", title_justify="left")
        headings = [f"{user}\n{what}" for user in learned for what in ("AUC", "loss", "p")]
        for heading in (first, "shown", "clicked", *headings):
            table.add_column(heading, justify="left" if heading == first else "right")
        for part in (part for part in slices if part.kind == kind):
            scored = [part.scores[user] for user in learned]
            numbers = [_rounded(value) for one in scored for value in (one.auc, one.log_loss, one.predicted)]
            table.add_row(part.name, f"{part.n:,}", f"{part.observed:.3f}", *numbers)
        console.print(table)
    if TRUE_USER not in scores:
        return
    table = Table(title="Learned users compared with the true user, on the same slates", title_justify="left")
    for heading in ("user", "AUC", "log-loss", "ECE", "mean |p - p_true|"):
        table.add_column(heading, justify="left" if heading == "user" else "right")
    for user, score in scores.items():
        error = f"{score.error:.4f}" if score.error is not None else ""
        table.add_row(user, f"{score.auc:.4f}", f"{score.log_loss:.4f}", f"{score.ece:.4f}", error)
    console.print(table)


def print_verdict(sentences: Sequence[str]) -> None:
    """Print what the learned user is good for, one sentence a line."""
    console = Console(highlight=False)
    console.print("What the train user, from whom agents learn, is good for", style="italic")
    for sentence in sentences:
        console.print(f"- {sentence}", markup=False)


def _rounded(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {inner}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
