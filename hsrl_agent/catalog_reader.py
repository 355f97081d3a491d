"""How policies and agents keep up with the catalog of their environment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hsrl_gym.errors import HsrlError
from hsrl_gym.items.catalog import Catalog


class CatalogReader:
    """Mixin: takes over what has changed in a catalog. A subclass says in `_refresh` what it keeps of an item."""

    _catalog: Catalog
    _seen_version = 0

    @property
    def catalog(self) -> Catalog:
        """The items as they are now. An environment in the same process shares it."""
        return self._catalog

    def follow(self, catalog: Catalog | None = None) -> None:
        """Take over what has changed in the catalog; it happens by itself before each score.

        Args:
            catalog: to follow from now on; None for the present one. A loaded policy has a copy, as it was when saved.

        Raises:
            HsrlError: for a catalog of another codebook: tokens would not mean the same.
        """
        if catalog is not None and catalog is not self._catalog:
            if not catalog.codebook.has_space_of(self._catalog.codebook):
                raise HsrlError("got a catalog with other centroids or another number of items, expected the same.")
            self._catalog, changed = catalog, np.arange(1, catalog.n_items + 1)
        elif self._catalog.version == self._seen_version:
            return
        else:
            changed = self._catalog.changed_since(self._seen_version)
        self._seen_version = self._catalog.version
        if len(changed):
            self._refresh(changed)

    def _refresh(self, items: NDArray[np.integer]) -> None:
        """Take over the present state of items (M,)."""
