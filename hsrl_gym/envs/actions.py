"""Action modes: how an action names a slate of distinct live items, by SIDs, by items, or by a point in item space."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog
from hsrl_gym.items.codebook import Codebook

HYPER_WIDTH = 32
_BYTES_AT_ONCE = {"cpu": 1 << 24}  # working memory for the removal of repeats
_BYTES_ELSEWHERE = 1 << 30


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
        self.catalog, self.codebook = catalog, catalog.codebook
        self.slate_size = slate_size
        self.device = device

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

    def refresh(self) -> None:
        """Take over what has changed in the catalog."""
        raise NotImplementedError  # abstract

    def masks(self) -> NDArray[np.bool_]:
        """Return the flat mask (sum(nvec),) bool of choices that lead to a live item, in sb3-contrib's form."""
        raise HsrlError("got action masks of a continuous action mode, expected `sid` or `item`.")


class _Discrete(ActionMode):
    """Actions that name leaves of the trie; a repeated item is replaced by its nearest neighbour."""

    space: SlateSpace

    def __init__(self, catalog: Catalog, slate_size: int, device: torch.device) -> None:
        super().__init__(catalog, slate_size, device)
        self._trie = catalog.trie
        self.n_items = catalog.n_items
        self.refresh()

    def refresh(self) -> None:
        device=self.device
        self._leaf_items = torch.as_tensor(self._trie.leaf_items, device=device).long()
        widths = [*self.codebook.vocabulary[1:], 1]
        self._children = [
            torch.as_tensor(table, device=device).long() * width
            for table, width in zip(self._trie.next_node, widths, strict=True)
        ]
        self._leaf_of_item = torch.as_tensor(self._trie.leaf_of_item, device=device).long()

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
        self.space = SlateSpace(np.tile(self.codebook.vocabulary, slate_size).astype(np.int64), catalog, slate_size)
        # Flat tables: a node is the offset of its row of children in the next table.
        widths = [*self.codebook.vocabulary[1:], 1]
        self._children = [
            torch.as_tensor(table, device=device).long() * width
            for table, width in zip(self._trie.next_node, widths, strict=True)
        ]

    def decode(self, actions: Tensor) -> Tensor:
        """Walk each SID down the trie of live items: L gathers, no search (Appendix E)."""
        tokens = actions.long().view(len(actions), self.slate_size, -1)  # (B, K, L)
        node = self._children[0].take(tokens[:, :, 0])
        for level, children in enumerate(self._children[1:], start=1):
            node = children.take(node + tokens[:, :, level])
        return without_repeats(self._leaf_items, node, self.n_items)

    def masks(self) -> NDArray[np.bool_]:
        """Allow a token if some live item has it at that level; the walk resolves what the prefix excludes."""
        return np.tile(np.concatenate([live.any(0) for live in self._trie.is_live]), self.slate_size)


class ItemSlate(_Discrete):
    """MultiDiscrete of K items: nvec = [N] * K; action a shows item a + 1."""

    def __init__(self, catalog: Catalog, slate_size: int, device: torch.device) -> None:
        super().__init__(catalog, slate_size, device)
        self.space = SlateSpace(np.full(slate_size, catalog.n_items), catalog, slate_size)
        self._leaf_of_item = torch.as_tensor(self._trie.leaf_of_item, device=device).long()

    def decode(self, actions: Tensor) -> Tensor:
        """Show the items; a neighbour by SID replaces a repeated item, some live item an inactive one."""
        items = actions.long() + 1
        leaf = self._leaf_of_item.take(items)
        items = torch.where(leaf >= 0, items, self._leaf_items[0, 0])
        return without_repeats(self._leaf_items, leaf.clamp(min=0), self.n_items, items)

    def masks(self) -> NDArray[np.bool_]:
        """Allow live items."""
        return np.tile(self._trie.leaf_of_item[1:] >= 0, self.slate_size)


class HyperAction(ActionMode):
    """Box in [-1, 1]^d: the slate is the K live items with the largest inner product (HAC's hyper-action)."""

    space: SlateBox

    def __init__(self, catalog: Catalog, slate_size: int, device: torch.device) -> None:
        super().__init__(catalog, slate_size, device)
        self._axes = principal_axes(self.codebook)
        self.refresh()
        self.space = SlateBox(self._axes.axes.shape[1], catalog, slate_size)

    def refresh(self) -> None:
        """Take over the items on sale; the axes stay those of the start."""
        live = self.catalog.live_items
        self._live = torch.as_tensor(live, device=self.device)
        self._vectors = torch.as_tensor(self._axes.project(self.catalog.vectors[live]), device=self.device)  # (N_live, d)

    def _check_values(self, actions: NDArray[Any]) -> None:
        if not (np.abs(actions) <= 1.0).all():  # a NaN fails this as well
            raise HsrlError("got a hyper-action with a value outside [-1, 1] or not a number; clip it to the space.")

    def decode(self, actions: Tensor) -> Tensor:
        """Return the top K by inner product, the best first."""
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


def without_repeats(options: Tensor, leaf: Tensor, n_items: int, first: Tensor | None = None) -> Tensor:
    """Return slates (B, K) without repeated items.

    Each slot in turn takes its first option that no earlier slot has. So the j-th use of a leaf takes the j-th item of
    its bucket, and then the items of the nearest sibling.

    Args:
        options: (n_leaves, W) item ids in order of preference, W >= K or all live items.
        leaf: (B, K) rows of `options`.
        n_items: N, the largest id.
        first: (B, K) item ids that the slots prefer to all options; None for the first option.
    """
    slate = options[:, 0].take(leaf) if first is None else first
    in_order = slate.sort(1).values
    repeats = (in_order[:, 1:] == in_order[:, :-1]).any(1)
    # Few slates have repeats. On a GPU, counting them forces a synchronization that costs more than doing all.
    rows = repeats.nonzero().squeeze(1) if slate.device.type == "cpu" else torch.arange(len(slate), device=slate.device)
    if not len(rows):
        return slate
    slate = slate.clone()
    n_bytes = max(n_items, leaf.shape[1] * (options.shape[1] + 1) * 8)  # per row
    n_at_once = min(max(_BYTES_AT_ONCE.get(slate.device.type, _BYTES_ELSEWHERE) // n_bytes, 1), len(rows))
    marks = torch.zeros(n_at_once, n_items + 1, dtype=torch.uint8, device=slate.device)
    for part in rows.split(n_at_once):
        chosen, choices, taken = slate[part], options[leaf[part]], marks[: len(part)]  # (R, K), (R, K, W), (R, N + 1)
        if first is not None:
            choices = torch.cat([chosen.unsqueeze(2), choices], dim=2)
        for slot, wanted in enumerate(choices.unbind(1)):
            item = wanted.gather(1, taken.gather(1, wanted).argmin(1, keepdim=True))  # the first one not taken
            taken.scatter_(1, item, 1)
            chosen[:, slot] = item.squeeze(1)
        slate[part] = chosen
        taken.scatter_(1, chosen, 0)  # reset only what was set
    return slate
