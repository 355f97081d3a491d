"""A synthetic world whose users are known exactly. `envs.synthetic_log.write_log` writes logs of its sessions."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsrl_gym.data.log import HISTORY_LENGTH
from hsrl_gym.errors import unknown_name
from hsrl_gym.users.clicked import Items, effects_of_clicks


@dataclass(frozen=True)
class WorldConfig:
    """Sizes and behaviour of a `SyntheticWorld`.

    Attributes:
        name: of the shape, for provenance.
        n_items: N.
        slate_size: K.
        n_item_features: F; the first `n_latent` + 1 mix latent position and sweetness, the others are noise.
        n_profile: P, numeric; a user's interest on arrival is a linear function of the profile.
        n_users: users that sessions are drawn from.
        n_clusters: C, topics of the catalog.
        n_latent: D, dimension of the latent space.
        base: logit of a click on an average item by an indifferent user.
        taste: weight of the match between the user's interest and the item.
        quality: standard deviation of item quality, which all users share.
        sweetness: correlation of quality with sweetness. Sweet items are clicked now and make the user weary later.
        weariness: logit lost on every item per unit of the history's mean sweetness.
        drift: how far interest moves towards the clicked items.
        satiation: logit lost on items of a cluster that fills the whole recent history.
        tolerated: share of the history that one cluster may fill before satiation begins.
    """

    name: str
    n_items: int
    slate_size: int
    n_item_features: int
    n_profile: int
    n_users: int = 2000
    n_clusters: int = 12
    n_latent: int = 5
    base: float = 1.0
    taste: float = 1.5
    quality: float = 1.5
    sweetness: float = 0.8
    weariness: float = 4.0
    drift: float = 1.0
    satiation: float = 12.0
    tolerated: float = 0.15


WORLDS = {
    "rl4rs": WorldConfig("rl4rs", n_items=283, slate_size=9, n_item_features=40, n_profile=16),
    "ml1m": WorldConfig("ml1m", n_items=3706, slate_size=10, n_item_features=24, n_profile=16, n_clusters=18),
}


def shape_named(name: str) -> WorldConfig | None:
    """Return the shape of that name: one of `WORLDS`, or "ml1m-1000" for ml1m with 1,000 items; None for others."""
    shape, _, n_items = name.partition("-")
    if name in WORLDS or shape not in WORLDS or not re.fullmatch(r"[1-9]\d{1,6}", n_items):
        return WORLDS.get(name)
    return replace(WORLDS[shape], name=name, n_items=int(n_items))


# Matches `SyntheticWorld.source` and nothing else.
_SOURCE = re.compile(r"SyntheticWorld\('([A-Za-z0-9._-]+)', seed=(\d{1,18})\)")


def world_of(source: str) -> dict[str, str | int] | None:
    """Return shape and seed of the world that wrote a log of this source, None for all other sources."""
    found = _SOURCE.fullmatch(source)
    return {"shape": found[1], "seed": int(found[2])} if found else None


class SyntheticWorld:
    """Users with latent interests that drift with the clicks. They tire of a repeated cluster and of sweet items.

    With z_i the latent position of item i, c(i) its cluster, s_i its sweetness, h the history (at most H clicked
    items), n its length and m = n / (n + 10), the logit of a click is

        base + taste <u(profile) + drift m mean_h z, z_i> + quality_i - weariness m mean_h s
             - satiation max(0, share of c(i) in the window of H - tolerated).

    Sweet items are liked more (quality correlates with s) but lower all later logits. So the best next slate does not
    make the best session.

    The logit depends on profile, history and item alone, as a learned user's does, so the two can be compared. The
    world is a `ClickModel`: `SlateCore(by_profile(world, profiles), ...)` plays it.
    """

    def __init__(self, config: WorldConfig | str, seed: int = 0) -> None:
        """Draw the catalog and the users from `seed`.

        Raises:
            HsrlError: for an unknown shape.
        """
        if isinstance(config, str):
            shape = shape_named(config)
            if shape is None:
                raise unknown_name("world", config, WORLDS)
            config = shape
        self.config, self.seed = config, seed
        generator = np.random.default_rng(seed)
        centres = generator.normal(size=(config.n_clusters, config.n_latent))
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        crowd = generator.dirichlet(np.full(config.n_clusters, 3.0))
        cluster = generator.choice(config.n_clusters, size=config.n_items + 1, p=crowd)
        latent = centres[cluster] + 0.25 * generator.normal(size=(config.n_items + 1, config.n_latent))
        latent[0] = 0.0
        sweet = generator.normal(size=config.n_items + 1)
        sweet[0] = 0.0
        plain = generator.normal(size=config.n_items + 1)
        quality = config.quality * (config.sweetness * sweet + np.sqrt(1.0 - config.sweetness**2) * plain)
        visible = np.column_stack([latent, sweet])
        mixing = generator.normal(size=(visible.shape[1], visible.shape[1]))
        features = generator.normal(size=(config.n_items + 1, config.n_item_features))
        features[:, : visible.shape[1]] = visible @ mixing + 0.05 * generator.normal(size=visible.shape)
        features[0] = 0.0
        self.item_features = features.astype(np.float32)
        self.profiles = generator.normal(size=(config.n_users, config.n_profile)).astype(np.float32)
        to_interest = generator.normal(size=(config.n_profile, config.n_latent)) / np.sqrt(config.n_profile)
        self.latent = torch.as_tensor(latent, dtype=torch.float32)  # (N + 1, D)
        self.quality = torch.as_tensor(quality, dtype=torch.float32)  # (N + 1,)
        self.sweet = torch.as_tensor(sweet, dtype=torch.float32)  # (N + 1,)
        self.cluster = torch.as_tensor(cluster)  # (N + 1,)
        self.to_interest = torch.as_tensor(to_interest, dtype=torch.float32)  # (P, D)

    @property
    def source(self) -> str:
        """The source of every log that this world writes; `world_of` reads it."""
        return f"SyntheticWorld('{self.config.name}', seed={self.seed})"

    def __call__(self, profile: Tensor, history: Tensor, slate: Tensor) -> Tensor:
        """Return click logits (B, K); see `ClickModel`."""
        config = self.config
        items = Items(self.latent, self.sweet, self.cluster, config.n_clusters)
        drift, mood, fatigue = effects_of_clicks(config, items, history, slate)
        match = torch.einsum("bd,bkd->bk", profile @ self.to_interest + drift, self.latent[slate])
        return config.base + config.taste * match + self.quality[slate] + mood - fatigue

    def appeal(self, profiles: Tensor) -> NDArray[np.float64]:
        """Return the odds (M, N) of a click on each item, by users with profiles (M, P) and an empty history."""
        items = torch.arange(1, self.config.n_items + 1).expand(len(profiles), -1)
        nothing = torch.zeros(len(profiles), HISTORY_LENGTH, dtype=torch.long)
        return np.exp(self(profiles, nothing, items).double().numpy())

    def to(self, device: torch.device) -> SyntheticWorld:
        """Return the same world with its tables on `device`."""
        other = copy.copy(self)
        for name in ("latent", "quality", "sweet", "cluster", "to_interest"):
            setattr(other, name, getattr(self, name).to(device))
        return other
