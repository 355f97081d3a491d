"""One step of a session as text."""

from __future__ import annotations

from hsrl_gym.envs.core import LEAVES_BELOW
from hsrl_gym.envs.render_view import View

_LABEL_WIDTH = 44


def step_text(view: View) -> str:
    """Return one line per slot (item, SID, click), then reward and patience; one line where there is no slate."""
    at = f"step {view.step} of at most {view.params.max_steps}"
    leaves = "  the user leaves" if view.step and view.patience < LEAVES_BELOW else ""
    if not view.cards:
        who = f"{at}, the last slate is not known" if view.step else "a new user"
        return f"{who}, patience {max(view.patience, 0.0):.1f}{leaves}"
    lines = [at]
    for slot, card in enumerate(view.cards, start=1):
        label = shortened(card.label, _LABEL_WIDTH)
        lines.append(f"  {slot:>2}  {label:<{_LABEL_WIDTH}}  SID {card.sid:<10}  {'click' if card.clicked else '  .'}")
    lines.append(f"  {len(view.clicked)} of {len(view.cards)} clicked, reward {view.reward:.3f}")
    lines.append(f"  patience {max(view.patience, 0.0):5.2f} {_bar(view)}{leaves}")
    return "\n".join(lines)


def step_line(view: View, width: int) -> str:
    """Return a step in one line of at most `width` characters: reward, patience, and what was clicked."""
    line = (
        f"{view.step:>4}  reward {view.reward:6.3f}  total {view.total:7.3f}  "
        f"patience {max(view.patience, 0.0):5.1f} {_bar(view)}  {len(view.clicked)} of {len(view.cards)} clicked"
    )
    return shortened(f"{line}: {'; '.join(view.clicked)}" if view.clicked else line, width)


def shortened(text: str, width: int) -> str:
    """Return at most `width` characters of a text; a cut one ends in "…"."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _bar(view: View) -> str:
    return f"|{'#' * round(20 * max(view.patience, 0.0) / view.params.initial_patience):<20}|"
