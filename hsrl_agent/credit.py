"""Credit for each item of a slate: what its click changed, by the critic's own account.

Letters: B transitions, M rows of the buffer, K slate size, H history length.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from hsrl_agent.buffers import SlateReplayBuffer, SlateSamples
from hsrl_gym.core import LEAVES_BELOW, append_clicked

# Values (B,) of observations at patience (B,).
Value = Callable[[dict[str, Tensor], Tensor], Tensor]


def difference_rewards(batch: SlateSamples, gains: Tensor, value: Value, gamma: float) -> Tensor:
    """Return what each item's click was worth, (B, K): Q of the transition minus Q had this one click not happened.

    The state after a slate is the history with its clicks, and the patience that they left. So the state without the
    click of item k can be written down, and the critic says what that is worth:

        D_k = r(n) - r(n - 1) + gamma (V(s') - V(s'_-k)),  0 for an item without a click,

    where n items were clicked, and s'_-k lacks item k in its history and what the n-th click adds to the patience (on
    average, where a rule depends on more than n). An item that is clicked now and spoils what follows is blamed for it;
    the slate's advantage shows this only through the noise of the other items (difference rewards: Wolpert & Tumer
    2002; Foerster et al. 2018).

    Args:
        batch: B transitions.
        gains: (K + 1, 2), what the n-th click adds to reward and patience; see `click_gains`.
        value: V.
        gamma: discount.
    """
    n_users, n_slots = batch.clicks.shape
    # Each transition K + 1 times: without the click of slot 0, 1, .., and as it was.
    kept = 1.0 - functional.one_hot(torch.arange(n_slots + 1, device=gains.device), n_slots + 1)[:, :n_slots]
    clicks = (batch.clicks.unsqueeze(1) * kept).flatten(0, 1)  # (B (K + 1), K)
    slates, profile, history = (
        x.repeat_interleave(n_slots + 1, 0)
        for x in (batch.slates, batch.next_observations["profile"], batch.observations["history"].long())
    )
    lost = (gains[batch.clicks.sum(1).long()].unsqueeze(1) * batch.clicks.unsqueeze(2)).unbind(2)  # two of (B, K)
    patience = batch.next_patience.unsqueeze(1) - functional.pad(lost[1], (0, 1))  # (B, K + 1)
    after = {"profile": profile, "history": append_clicked(history, slates, clicks)}
    # One click fewer may have kept a user who left, or lost one who stayed; a session that ended otherwise has ended.
    ended = (batch.terminated > 0) & (batch.next_patience >= LEAVES_BELOW)
    stays = (patience >= LEAVES_BELOW) & ~ended.unsqueeze(1)
    values = value(after, patience.flatten()).view(n_users, n_slots + 1) * stays
    return lost[0] + gamma * (values[:, -1:] - values[:, :-1]) * batch.clicks


def click_gains(buffer: SlateReplayBuffer) -> Tensor:
    """Return what the n-th click of a slate adds to reward and patience, (K + 1, 2), estimated from a buffer.

    The difference of their means at n and n - 1 clicks; where one of the two never happened, the slope over all counts.
    The first row, of no click, is 0.
    """
    columns, filled = buffer.columns, buffer.buffer_size if buffer.full else buffer.pos
    reward, before, after = (columns[name][:filled] for name in ("reward", "patience", "next_patience"))
    results = torch.stack([reward, after - before], dim=2).flatten(0, 1)  # (M, 2)
    clicks = columns["clicks"][:filled].flatten(0, 1).long()  # (M, K)
    count = clicks.sum(1)
    of_count = functional.one_hot(count, clicks.shape[1] + 1).to(results.dtype)  # (M, K + 1)
    times = of_count.sum(0).unsqueeze(1)
    mean = of_count.T @ results / times.clamp(min=1.0)
    off = count - count.to(results.dtype).mean()
    slope = off @ results / off.square().sum().clamp(min=1e-6)  # (2,)
    both = (times[1:] > 0) & (times[:-1] > 0)
    return functional.pad(torch.where(both, mean[1:] - mean[:-1], slope), (0, 0, 1, 0))
