"""Credit for each item of a slate: the change in Q that its click caused, as estimated by the critic.

Letters: B transitions, C clicks in them, M rows of the buffer, K slate size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from hsrl_agent.buffers import SlateReplayBuffer, SlateSamples
from hsrl_gym.envs.core import LEAVES_BELOW, append_clicked

# Values (B,) of observations at patience (B,).
Value = Callable[[dict[str, Tensor], Tensor], Tensor]


def difference_rewards(batch: SlateSamples, gains: Tensor, value: Value, gamma: float) -> Tensor:
    """Return the credit of each item, (B, K): Q of the transition minus Q without that item's click.

    The dynamics are known: clicked items are appended to the history, and patience follows from the number of clicks.
    So the next state without the click of item k can be constructed, and the critic evaluates it:

        D_k = r(n) - r(n - 1) + gamma (V(s') - V(s'_-k)),  0 for an item without a click,

    where n items were clicked, and s'_-k lacks item k in the history and the patience that the n-th click adds (its
    mean, where a rule depends on more than n). An item that is clicked now and spoils later clicks gets the blame. The
    advantage of the slate shows this only through the noise of the other items (difference rewards: Wolpert & Tumer
    2002; Foerster et al. 2018).

    Args:
        batch: B transitions.
        gains: (K + 1, 2), what the n-th click adds to reward and patience; see `click_gains`.
        value: V; takes observations of B' states and their patience (B',), returns (B',).
        gamma: discount.
    """
    n_users = len(batch.clicks)
    # `nonzero` makes the host wait for the GPU, once per vector step.
    users, slots = batch.clicks.nonzero(as_tuple=True)  # of C clicks
    # Each transition as it was, then one copy per click that lacks it: B + C states.
    row = torch.cat([torch.arange(n_users, device=users.device), users])
    clicks, patience = batch.clicks[row], batch.next_patience[row]
    clicks[n_users:].scatter_(1, slots.unsqueeze(1), 0.0)
    reward_lost, patience_lost = gains[batch.clicks.sum(1).long()[users]].unbind(1)  # (C,)
    patience[n_users:] -= patience_lost
    history = append_clicked(batch.observations["history"].long()[row], batch.slates[row], clicks)
    after = {"profile": batch.next_observations["profile"][row], "history": history}
    # Without a click, a user who left may have stayed, or the other way round. A session that ended for another reason
    # than patience has ended in either case.
    ended = (batch.terminated > 0) & (batch.next_patience >= LEAVES_BELOW)
    stays = (patience >= LEAVES_BELOW) & ~ended[row]
    as_it_was, without = (value(after, patience) * stays).split([n_users, len(users)])
    worth = reward_lost + gamma * (as_it_was[users] - without)
    return torch.zeros_like(batch.clicks).index_put((users, slots), worth)


def click_gains(buffer: SlateReplayBuffer) -> Tensor:
    """Return what the n-th click of a slate adds to reward and patience, (K + 1, 2), estimated from a buffer.

    It is the difference of the means at n and n - 1 clicks. Where one of the two never occurred, it is the slope of a
    linear fit over all counts. Row 0 is 0.
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
