"""A step of a session as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hsrl_gym.bundle.folder import Bundle
from hsrl_gym.envs.core import SessionParams

_LABEL_WIDTH = 44


def render_step(bundle: Bundle, params: SessionParams, shown: Mapping[str, Any] | None) -> str:
    """Return one line a slot (item, SID, click) and one for reward and patience; `shown` is None before a step."""
    if shown is None:
        return f"a new user, patience {params.initial_patience:.1f}"
    lines = [f"step {shown['step']} of at most {params.max_steps}"]
    for slot, (item, tokens, click) in enumerate(
        zip(shown["slate"], shown["slate_tokens"], shown["clicks"], strict=True), start=1
    ):
        label = bundle.item_labels[item]
        label = label if len(label) <= _LABEL_WIDTH else label[: _LABEL_WIDTH - 1] + "…"
        sid = "-".join(str(token) for token in tokens)
        lines.append(f"  {slot:>2}  {label:<{_LABEL_WIDTH}}  SID {sid:<10}  {'click' if click else '  .'}")
    patience = max(shown["patience"], 0.0)
    bar = "#" * round(20 * patience / params.initial_patience)
    leaves = "  the user leaves" if shown["patience"] < 1 else ""
    n_clicks = int(sum(shown["clicks"]))
    lines.append(f"  {n_clicks} of {len(shown['clicks'])} clicked, reward {shown['reward']:.3f}")
    lines.append(f"  patience {patience:5.2f} |{bar:<20}|{leaves}")
    return "\n".join(lines)
