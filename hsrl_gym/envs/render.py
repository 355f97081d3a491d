"""One step of a session as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.envs.core import LEAVES_BELOW, SessionParams
from hsrl_gym.errors import HsrlError, unknown_name

RENDER_MODES = ("ansi",)
_LABEL_WIDTH = 44


def check_render_mode(render_mode: str | None) -> None:
    """Raise HsrlError for a render mode that does not exist; None means that nothing is rendered."""
    if render_mode not in (None, *RENDER_MODES):
        raise unknown_name("render_mode", render_mode, RENDER_MODES)


def check_rendered(render_mode: str | None) -> None:
    """Raise HsrlError if the environment was made without a render mode: it then keeps nothing to show."""
    if render_mode is None:
        raise HsrlError('render() needs a render mode; make the environment with render_mode="ansi".')


def render_step(bundle: Bundle, params: SessionParams, shown: Mapping[str, Any] | None) -> str:
    """Return one line per slot (item, SID, click), then reward and patience; `shown` is None before the first step."""
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
    leaves = "  the user leaves" if shown["patience"] < LEAVES_BELOW else ""
    n_clicks = int(sum(shown["clicks"]))
    lines.append(f"  {n_clicks} of {len(shown['clicks'])} clicked, reward {shown['reward']:.3f}")
    lines.append(f"  patience {patience:5.2f} |{bar:<20}|{leaves}")
    return "\n".join(lines)
