"""A distribution over slates of K different items, from one score an item."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from hsrl_gym.errors import unknown_name

_NOTHING = -1e9  # stands for -inf, whose sums have no gradient
LIKELIHOODS = ("sequential", "normalised", "bare")


class SlateDistribution:
    """Slates drawn item by item, without replacement, with odds exp(score).

    Adding Gumbel noise to the scores and taking the largest K draws exactly that. The likelihood of an item is

    - "sequential": softmax of the scores over the live items that are not yet in the slate, which is what the draw
      uses (Plackett-Luce); the items come in the order in which they were drawn;
    - "normalised": softmax over all live items, as if each item were drawn first. Where a policy is sharp enough to
      show some items nearly always, its gradient is wrong: it takes from what is shown with others of the slate, not
      from what could have been shown instead;
    - "bare": the score itself. For SIDs that is the product of token probabilities (eq. 14), of which the mass on
      codes without an item is lost.
    """

    def __init__(self, scores: Tensor, likelihood: str = "sequential") -> None:
        """Take scores (B, N) in log units, -inf for items that cannot be shown."""
        if likelihood not in LIKELIHOODS:
            raise unknown_name("likelihood", likelihood, LIKELIHOODS)
        self.scores, self.likelihood = scores, likelihood

    @cached_property
    def item_log_probs(self) -> Tensor:
        """The log-likelihood of every item as the first of a slate, (B, N); who only draws does not need it."""
        return self.scores if self.likelihood == "bare" else self.scores.log_softmax(1)

    def log_prob_of_items(self, items: Tensor) -> Tensor:
        """Return log pi(i) of item ids (B, K) in 1..N: (B, K); "sequential": given the items of the slate before i."""
        if self.likelihood != "sequential":
            return self.item_log_probs.gather(1, items - 1)
        scores = self.scores.clamp(min=_NOTHING)
        shown = scores.gather(1, items - 1)
        others = scores.scatter(1, items - 1, _NOTHING).logsumexp(1, keepdim=True)
        left = torch.cat([others, shown.flip(1)], dim=1).logcumsumexp(1)[:, 1:].flip(1)  # log sum of what was left
        return (shown - left).masked_fill(shown <= _NOTHING, -torch.inf)

    def log_prob(self, items: Tensor) -> Tensor:
        """Return the mean log-likelihood of slates (B, K), of items as `log_prob_of_items` has them: (B,) (eq. 22)."""
        return self.log_prob_of_items(items).mean(1)

    def entropy(self) -> Tensor:
        """Return the entropy of the first draw, (B,), in nats; 0 log 0 is 0."""
        log_p = self.scores.log_softmax(1)
        return -(log_p.exp() * log_p.clamp(min=torch.finfo(log_p.dtype).min)).sum(1)

    def sample(self, slate_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Return item ids (B, K), drawn without replacement (Gumbel top-K)."""
        uniform = torch.rand(self.scores.shape, generator=generator, device=self.scores.device)
        gumbel = -(-uniform.clamp(min=1e-20).log()).log()
        return (self.scores + gumbel).topk(slate_size, dim=1).indices + 1

    def mode(self, slate_size: int) -> Tensor:
        """Return the K items with the highest scores, the best first: (B, K) ids."""
        return self.scores.topk(slate_size, dim=1).indices + 1
