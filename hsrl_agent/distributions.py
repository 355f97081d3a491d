"""A distribution over slates of K different items, from one score per item.

Letters: B users, K slate size, N items, C candidates.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from hsrl_gym.errors import HsrlError, unknown_name

_MINUS_INFINITY = -1e9  # finite stand-in for -inf: sums of -inf have no gradient
LIKELIHOODS = ("plackett_luce", "independent", "unnormalised")


class SlateDistribution:
    """Slates drawn item by item, without replacement, with odds exp(score).

    Sampling adds Gumbel noise to the scores and takes the K largest, which is an exact draw. The likelihood of an item
    of a slate is one of:

    - "plackett_luce": softmax of the scores over the live items that are not yet in the slate. This is the likelihood
      of the draw itself. The items must be in the order in which they were drawn.
    - "independent": softmax over all live items, as if each item were drawn first. Its gradient is biased once some
      items are shown almost surely.
    - "unnormalised": the score itself. For SIDs that is the product of token probabilities (eq. 14 as written). Codes
      that no item has keep their share of the probability.

    The items are either all of a catalog, or C candidates of each user. An item that is no candidate has no likelihood.
    """

    def __init__(self, scores: Tensor, likelihood: str = "plackett_luce", items: Tensor | None = None) -> None:
        """Take scores (B, N) float, in log units; -inf for items that cannot be shown.

        Args:
            scores: of the items 1..N; or (B, C), of the items of that shape.
            likelihood: one of `LIKELIHOODS`.
            items: (B, C) ids of the candidates, different ones for a user; 0, with the score -inf, for padding.

        Raises:
            HsrlError: for an unknown likelihood.
        """
        if likelihood not in LIKELIHOODS:
            raise unknown_name("likelihood", likelihood, LIKELIHOODS)
        self.scores, self.likelihood, self.items = scores, likelihood, items

    @cached_property
    def item_log_probs(self) -> Tensor:
        """Log-likelihood of every item as the first of a slate, (B, N) or (B, C), made on demand."""
        return self.scores if self.likelihood == "unnormalised" else self.scores.log_softmax(1)

    def log_prob_of_items(self, items: Tensor) -> Tensor:
        """Return log pi of each item of slates (B, K) of ids in 1..N, (B, K).

        With "plackett_luce" an item's likelihood is given the items before it.
        """
        if self.likelihood != "plackett_luce":
            return self.scores_at(items, self.item_log_probs)
        scores, columns = self._scores_and_columns(self.scores.clamp(min=_MINUS_INFINITY), items, _MINUS_INFINITY)
        shown = scores.gather(1, columns)
        others = scores.scatter(1, columns, _MINUS_INFINITY).logsumexp(1, keepdim=True)
        left = torch.cat([others, shown.flip(1)], dim=1).logcumsumexp(1)[:, 1:].flip(1)  # log-sum of what is left
        return (shown - left).masked_fill(shown <= _MINUS_INFINITY, -torch.inf)

    def scores_at(self, items: Tensor, scores: Tensor | None = None) -> Tensor:
        """Return the scores of items (B, K), or what stands for them in another tensor of that shape, (B, K).

        An item that is no candidate has -inf.
        """
        scores, columns = self._scores_and_columns(self.scores if scores is None else scores, items, -torch.inf)
        return scores.gather(1, columns)

    def _scores_and_columns(self, scores: Tensor, items: Tensor, missing: float) -> tuple[Tensor, Tensor]:
        """Return the scores and the columns (B, K) of items in them; with candidates, a last column for the others."""
        if self.items is None:
            return scores, items - 1
        same = items.unsqueeze(2) == self.items.unsqueeze(1)  # (B, K, C)
        columns = same.byte().argmax(2).where(same.any(2), scores.shape[1])
        return functional.pad(scores, (0, 1), value=missing), columns

    def log_prob(self, items: Tensor) -> Tensor:
        """Return the mean over K of `log_prob_of_items`, (B,), for slates (B, K) (eq. 22)."""
        return self.log_prob_of_items(items).mean(1)

    def entropy(self) -> Tensor:
        """Return the entropy of the first draw, (B,), in nats, with 0 log 0 = 0."""
        log_p = self.scores.log_softmax(1)
        return -(log_p.exp() * log_p.clamp(min=torch.finfo(log_p.dtype).min)).sum(1)

    def sample(self, slate_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Return item ids (B, K), drawn without replacement (Gumbel top-K).

        Raises:
            HsrlError: if a user has fewer than K candidates.
        """
        uniform = torch.rand(self.scores.shape, generator=generator, device=self.scores.device)
        gumbel = -(-uniform.clamp(min=1e-20).log()).log()
        return self._best(self.scores + gumbel, slate_size)

    def mode(self, slate_size: int) -> Tensor:
        """Return the ids of the K items with the highest scores, best first, (B, K).

        Raises:
            HsrlError: if a user has fewer than K candidates.
        """
        return self._best(self.scores, slate_size)

    def _best(self, scores: Tensor, slate_size: int) -> Tensor:
        if self.items is None:
            return scores.topk(slate_size, dim=1).indices + 1
        best = scores.topk(min(slate_size, scores.shape[1]), dim=1)
        if best.values.shape[1] < slate_size or best.values.isneginf().any():
            raise HsrlError(f"got fewer than {slate_size} live candidates for a user, expected one for each slot.")
        return self.items.gather(1, best.indices)
