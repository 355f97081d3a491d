"""Action modes: how an action names a slate of distinct live items, by SIDs, by items, or by a point in item space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.items.codebook import Codebook
from hsrl_gym.items.nodes import Ids

HYPER_WIDTH = 32
_ROWS_AT_ONCE = 4096  # bounds the working memory for the removal of repeats


class SlateSpace(spaces.MultiDiscrete):
    """A MultiDiscrete space that knows its catalog, so that a policy can be built from the space alone.

    Attributes:
        catalog: the items, and which of them are on sale now.
        codebook: the items at the start.
        slate_size: K.
    """

    def __init__(self, nvec: NDArray[np.int64], catalog: Catalog, slate_size: int) -> None:
        super().__init__(nvec)
        self.catalog, self.codebook = catalog, catalog.codebook
        self.slate_size = slate_size

    def __eq__(self, other: object) -> bool:
        """Return whether the same actions have the same meaning: the codebooks must be equal too."""
        if isinstance(other, SlateSpace) and not np.array_equal(self.codebook.codes, other.codebook.codes):
            return False
        return super().__eq__(other)


class SlateBox(spaces.Box):
    """A Box of hyper-actions that knows its catalog; see `SlateSpace`."""

    def __init__(self, width: int, catalog: Catalog, slate_size: int) -> None:
        super().__init__(-1.0, 1.0, (width,), dtype=np.float32)
        self.catalog, self.codebook = catalog, catalog.codebook
        self.slate_size = slate_size


class ActionMode:
    """How actions name slates.

    Attributes:
        space: action space of one user.

    Raises:
        HsrlError: for a slate larger than the live catalog.
    """

    space: spaces.Space[Any]

    def __init__(self, catalog: Catalog, slate_size: int, device: torch.device) -> None:
        self.catalog, self.slate_size, self.device = catalog, slate_size, device

    def check(self, actions: Any) -> None:
        """Raise HsrlError unless `actions` (B, n) are in the space."""
        values = np.asarray(actions)
        width = self.space.shape[0] if self.space.shape else 0
        if values.ndim != 2 or values.shape[1] != width or values.dtype.kind not in "iuf":
            raise HsrlError(f"got actions of shape {values.shape} and type {values.dtype}, expected (B, {width}).")
        self._check_values(values)

    def _check_values(self, actions: NDArray[Any]) -> None:
        raise NotImplementedError  # abstract

    def decode(self, actions: Tensor) -> Tensor:
        """Return slates (B, K) int64 of distinct item ids for actions (B, n)."""
        raise NotImplementedError  # abstract

    def masks(self) -> NDArray[np.bool_]:
        """Return the flat mask (sum(nvec),) bool of choices that lead to a live item, in sb3-contrib's form."""
        raise HsrlError("got action masks of a continuous action mode, expected `sid` or `item`.")


class _Discrete(ActionMode):
    """Actions that name leaves of the trie; a repeated item is replaced by its nearest neighbour."""

    space: SlateSpace

    def __init__(self, catalog: Catalog, slate_size: int, device: torch.device) -> None:
        super().__init__(catalog, slate_size, device)
        self.refresh()

    def refresh(self) -> None:
        """See the trie as it is now: on the CPU by views of its arrays, elsewhere by copies. `decode` does it too."""
        self._seen, self._trie = self.catalog.version, self.catalog.trie
        self._first_item = torch.as_tensor(self._trie.first_item, device=self.device)
        self._first_leaf = self._trie.first_leaf

    def decode(self, actions: Tensor) -> Tensor:
        """Return slates (B, K) of actions (B, n), by the trie as it is now."""
        if self._seen != self.catalog.version:
            self.refresh()
        slate, leaf = self._named(actions)
        return without_repeats(slate, leaf, self._trie.leaf_items)

    def _named(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the items that actions (B, n) name, repeats included, and their leaves: (B, K) each."""
        raise NotImplementedError  # abstract

    def _check_values(self, actions: NDArray[Any]) -> None:
        if actions.dtype.kind == "f":
            raise HsrlError(
                f"got actions of type {actions.dtype}, expected integers; is it an action of this action_mode?"
            )
        wrong = np.argwhere((actions < 0) | (actions >= self.space.nvec))
        if len(wrong):
            row, column = wrong[0]
            raise HsrlError(
                f"got {actions[row, column]} at position {column} of action {row}, expected an integer in "
                f"0..{self.space.nvec[column] - 1}; is it an action of this action_mode?"
            )


class SidSlate(_Discrete):
    """MultiDiscrete of K semantic IDs: nvec = [V_1, .., V_L] * K (eq. 2, 4)."""

    def __init__(self, catalog: Catalog, slate_size: int, device: torch.device) -> None:
        super().__init__(catalog, slate_size, device)
        self.space = SlateSpace(np.tile(catalog.codebook.vocabulary, slate_size).astype(np.int64), catalog, slate_size)

    def refresh(self) -> None:
        """See the trie as it is now."""
        super().refresh()
        self._children = [torch.as_tensor(table, device=self.device) for table in self._trie.next_node]

    def _named(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Walk each SID down the trie of live items: L gathers, no search (Appendix E)."""
        tokens = actions.long().view(len(actions), self.slate_size, -1)  # (B, K, L)
        leaf = self._children[0].take(tokens[:, :, 0])
        for level, children in enumerate(self._children[1:], start=1):
            leaf = children.take(leaf * children.shape[1] + tokens[:, :, level])
        return self._first_item.take(leaf), leaf

    def masks(self) -> NDArray[np.bool_]:
        """Allow a token if some live item has it at that level; the walk resolves what the prefix excludes."""
        return np.tile(np.concatenate([live.any(0) for live in self.catalog.trie.is_live]), self.slate_size)


class ItemSlate(_Discrete):
    """MultiDiscrete of K items: nvec = [N] * K; action a shows item a + 1."""

    def __init__(self, catalog: Catalog, slate_size: int, device: torch.device) -> None:
        super().__init__(catalog, slate_size, device)
        self.space = SlateSpace(np.full(slate_size, catalog.n_items), catalog, slate_size)

    def refresh(self) -> None:
        """See the trie as it is now."""
        super().refresh()
        self._leaf_of_item = torch.as_tensor(self._trie.leaf_of_item, device=self.device)

    def _named(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Name the items themselves, and instead of one that is not live the first item of the smallest SID."""
        items = actions.long() + 1
        leaf = self._leaf_of_item.take(items)
        is_live = leaf >= 0
        leaf = torch.where(is_live, leaf, self._first_leaf)
        return torch.where(is_live, items, self._first_item[self._first_leaf]), leaf

    def masks(self) -> NDArray[np.bool_]:
        """Allow live items."""
        return np.tile(self.catalog.trie.leaf_of_item[1:] >= 0, self.slate_size)


class HyperAction(ActionMode):
    """Box in [-1, 1]^d: the slate is the K live items with the largest inner product (HAC's hyper-action)."""

    space: SlateBox

    def __init__(self, catalog: Catalog, slate_size: int, device: torch.device) -> None:
        super().__init__(catalog, slate_size, device)
        self._axes = principal_axes(catalog.codebook)
        self.refresh()
        self.space = SlateBox(self._axes.axes.shape[1], catalog, slate_size)

    def refresh(self) -> None:
        """Take over the items on sale; the axes stay those of the start."""
        self._seen, live = self.catalog.version, self.catalog.live_items
        self._live = torch.as_tensor(live, device=self.device)
        self._vectors = torch.as_tensor(
            self._axes.project(self.catalog.vectors[live]), device=self.device
        )  # (N_live, d)

    def _check_values(self, actions: NDArray[Any]) -> None:
        if not (np.abs(actions) <= 1.0).all():  # a NaN fails this as well
            raise HsrlError("got a hyper-action with a value outside [-1, 1] or not a number; clip it to the space.")

    def decode(self, actions: Tensor) -> Tensor:
        """Return the top K by inner product, the best first."""
        if self._seen != self.catalog.version:
            self.refresh()
        scores = actions.to(self._vectors.dtype) @ self._vectors.T
        return self._live[scores.topk(self.slate_size, dim=1).indices]


ACTION_MODES: dict[str, type[SidSlate] | type[ItemSlate] | type[HyperAction]] = {
    "sid": SidSlate,
    "item": ItemSlate,
    "hyper": HyperAction,
}


def item_vectors(codebook: Codebook, width: int = HYPER_WIDTH) -> NDArray[np.float32]:
    """Return unit vectors (N + 1, d) of the items: the codebook's vectors on the live items' principal axes."""
    return principal_axes(codebook, width).project(codebook.vectors)


class PrincipalAxes(NamedTuple):
    """Centre (D,) and principal axes (D, d) of item vectors."""

    centre: NDArray[np.float32]
    axes: NDArray[np.float32]

    def project(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return unit vectors (M, d) of vectors (M, D)."""
        moved = (vectors - self.centre) @ self.axes
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        return (moved / np.maximum(norms, 1e-8)).astype(np.float32)


def principal_axes(codebook: Codebook, width: int = HYPER_WIDTH) -> PrincipalAxes:
    """Return the axes of the live items' vectors, at most `width`."""
    live = codebook.vectors[codebook.live_items]
    centre = live.mean(0)
    width = min(width, *live.shape)
    return PrincipalAxes(centre, np.linalg.svd(live - centre, full_matrices=False)[2][:width].T)


def without_repeats(slate: Tensor, leaf: Tensor, leaf_items: Callable[[Ids], Ids]) -> Tensor:
    """Return slates (B, K) without repeated items.

    Each slot in turn takes its own item, or else the first one of its leaf that no earlier slot has. So the j-th use
    of a leaf takes the j-th item of its bucket, and then the items of the nearest sibling.

    Args:
        slate: (B, K) item ids that the slots prefer.
        leaf: (B, K) their leaves.
        leaf_items: gives for leaves (n,) their items (n, W) in order of preference, W >= K or all live items.
    """
    in_order = slate.sort(1).values
    rows = (in_order[:, 1:] == in_order[:, :-1]).any(1).nonzero().squeeze(1)  # few slates have repeats
    if not len(rows):
        return slate
    slate = slate.clone()
    for part in rows.split(_ROWS_AT_ONCE):
        chosen, leaves = slate[part].cpu().numpy(), leaf[part].cpu().numpy()  # (R, K)
        choices = leaf_items(leaves.ravel()).reshape(*leaves.shape, -1)  # (R, K, W)
        for slot in range(1, chosen.shape[1]):
            again = np.flatnonzero((chosen[:, :slot] == chosen[:, slot, None]).any(1))
            if len(again):
                wanted, shown = choices[again, slot], chosen[again, :slot]
                taken = (wanted[:, :, None] == shown[:, None]).any(2)
                chosen[again, slot] = wanted[np.arange(len(again)), taken.argmin(1)]  # the first one not taken
        slate[part] = torch.as_tensor(chosen, device=slate.device)
    return slate
