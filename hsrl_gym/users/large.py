"""Large catalogs: from what size on they are treated otherwise, and in what.

With `LARGE_FROM` items or more, most items have few clicks, and nothing may take time or memory of users times items.
So for a large catalog (`is_large`), and for no other:

- `synthetic_log.write_log` draws slates from cumulative chances instead of a race of all items;
- `fit.fit_simulator` fits the network to item content alone, then the weights of single items in closed form, under a
  Gaussian prior (`item_effects`);
- `click_model.UserResponseModel` computes the rows of its tables that a batch needs, instead of all;
- `behaviour.behaviour_vectors` measures a sample of the items and predicts the others;
- `folder.load_bundle` maps the arrays of a bundle into memory instead of reading them, and the items' tables, which
  depend on them, are checked when a user is played.

Smaller catalogs give the same logs, users and bundles, to the last bit, as if this module were not there.
"""

from __future__ import annotations

LARGE_FROM = 20_000  # items


def is_large(n_items: int) -> bool:
    """Return whether a catalog of N items is large."""
    return n_items >= LARGE_FROM
