"""Who plays the users of a bundle: its learned users, the true user, or a user model of your own."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsrl_gym.bundle.checks import check_tables
from hsrl_gym.bundle.contents import SIMULATORS, Bundle
from hsrl_gym.data.log import LoggedSlates
from hsrl_gym.errors import HsrlError, shown, unknown_name
from hsrl_gym.users.ensemble import PreparedEnsemble
from hsrl_gym.users.large import is_large
from hsrl_gym.users.responses import ClickModel, Respond, by_profile
from hsrl_gym.users.synthetic import WORLDS, SyntheticWorld, shape_named, world_of
from hsrl_gym.users.true_user import TRUE_USER, TrueUsers

Simulator = str | ClickModel
_EXPECTED = "expected 'train', 'eval', 'true', 'package.module:factory' or a ClickModel"


def pool_of(bundle: Bundle, simulator: Simulator) -> LoggedSlates:
    """Return the pool whose users the simulator plays: "train" plays the train pool, all others the eval pool."""
    return bundle.users["train" if simulator == "train" else "eval"]


def open_simulator(bundle: Bundle, simulator: Simulator, device: torch.device, slate_size: int) -> Respond:
    """Return how the users of `pool_of(bundle, simulator)` respond.

    Args:
        bundle: whose users are played.
        simulator: "train" or "eval" for the learned users, "true" for the world that wrote the log, any `ClickModel`,
            or "package.module:factory" with a function that takes the bundle and returns a `ClickModel`. A click model
            of your own gets encoded profiles, as in the observations, on `device`.
        device: where the sessions run.
        slate_size: K, for a first call of your own click model that checks its answer.

    Raises:
        HsrlError: for an unknown name, a factory that cannot be imported or raises an error, an object that is no
            `ClickModel`, logits of another shape or that are not finite, or "true" where nobody knows the true user.
    """
    pool = pool_of(bundle, simulator)
    if simulator == TRUE_USER:
        return true_users(bundle, pool.profile, device)
    profiles = torch.as_tensor(pool.profile, device=device)
    if isinstance(simulator, str) and simulator in SIMULATORS:
        return _prepared(bundle, simulator, profiles)
    model = _from_factory(bundle, simulator) if isinstance(simulator, str) else simulator
    if not callable(model):
        raise HsrlError(f"got simulator {simulator!r}, {_EXPECTED}.")
    if isinstance(model, nn.Module):  # a copy: the caller's own keeps its device and mode
        model = copy.deepcopy(model).to(device).eval()
    rows = pool.rows(slice(0, 2)).tensors(device)
    _check_logits(model, rows.profile, rows.history, slate_size)
    return by_profile(model, profiles)


def _prepared(bundle: Bundle, name: str, profiles: Tensor) -> Respond:
    """Return how the learned users respond; loading a large bundle has left the tables of its items unchecked."""
    users = bundle.simulators[name].prepared(profiles)
    if is_large(bundle.n_items):
        for member in users.members if isinstance(users, PreparedEnsemble) else [users]:
            check_tables(f"bundle {bundle.name}, {name} user", member.model, member.tables)
    return users


def responses_of(bundle: Bundle, device: torch.device | str = "cpu") -> dict[str, Respond]:
    """Return how the eval pool responds by each learned user, and by the true user where the bundle knows it."""
    profile = bundle.users["eval"].profile
    profiles = torch.as_tensor(profile, device=device)
    responses: dict[str, Respond] = {name: model.prepared(profiles) for name, model in bundle.simulators.items()}
    if knows_world(bundle):
        responses[TRUE_USER] = true_users(bundle, profile, profiles.device)
    return responses


def knows_world(bundle: Bundle) -> bool:
    """Return whether the bundle says which `SyntheticWorld` of the package wrote its log."""
    named = _named_world(bundle)
    return named is not None and shape_named(named[0]) is not None


def open_world(bundle: Bundle) -> SyntheticWorld:
    """Return the world that wrote the log of a bundle.

    Raises:
        HsrlError: if the bundle names no world of the package, or one with another number of items.
    """
    named = _named_world(bundle)
    shape = shape_named(named[0]) if named else None
    if named is None or shape is None:
        found = f"the world {named[0]!r}" if named else bundle.source
        raise HsrlError(
            f"bundle {bundle.name} was made from {found}, expected a SyntheticWorld of the package "
            f"({', '.join(WORLDS)}), whose true user is known; use simulator='eval'."
        )
    if shape.n_items != bundle.n_items:  # before the world takes its memory
        raise HsrlError(
            f"bundle {bundle.name} has {bundle.n_items:,} items, expected the {shape.n_items:,} of its world "
            f"{named[0]!r}; use simulator='eval'."
        )
    return SyntheticWorld(*named)


def true_users(bundle: Bundle, profile: NDArray[np.float32], device: torch.device) -> TrueUsers:
    """Return how users with encoded profiles (M, P) respond in the world that wrote the bundle's log.

    Raises:
        HsrlError: if the bundle names no world of the package, or the profiles are not of that world.
    """
    return TrueUsers(open_world(bundle), bundle.profile_encoder, profile, device)


def _named_world(bundle: Bundle) -> tuple[str, int] | None:
    """Return shape and seed of the bundle's world; bundles without `provenance["world"]` name it in `source`."""
    named = bundle.provenance.get("world") or world_of(bundle.source)
    match named:
        case None:
            return None
        case {"shape": str(shape), "seed": int(seed)} if seed >= 0:
            return shape, seed
    raise HsrlError(f"bundle {bundle.name}: its world is {shown(named)}, expected a shape and a seed of 0 or more.")


def _from_factory(bundle: Bundle, name: str) -> Any:
    """Return what the factory "package.module:function" makes of the bundle."""
    module_name, colon, function_name = name.partition(":")
    if not colon:
        raise unknown_name("simulator", name, (*SIMULATORS, TRUE_USER, "package.module:factory"))
    try:
        factory: Callable[[Bundle], Any] = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise HsrlError(
            f"got simulator {name!r}, expected package.module:factory, but it cannot be imported ({error}); is the "
            "module installed, or in the folder that you start from?"
        ) from None
    if not callable(factory):
        raise HsrlError(f"got simulator {name!r}, a {type(factory).__name__}, expected a function of the bundle.")
    try:
        model = factory(bundle)
    except HsrlError:
        raise
    except Exception as error:  # anything may go wrong in code that is not ours
        raise _failed(f"the factory {name}", error) from error
    if not callable(model):
        raise HsrlError(f"{name} returned a {type(model).__name__}, expected a ClickModel; see users.responses.")
    return model


@torch.no_grad()
def _check_logits(model: ClickModel, profile: Tensor, history: Tensor, slate_size: int) -> None:
    """Raise HsrlError unless the model answers to slates of the first items with finite logits (B, K)."""
    slate = torch.arange(1, slate_size + 1, device=profile.device).expand(len(profile), -1)
    try:
        logits = model(profile, history, slate)
    except HsrlError:
        raise
    except Exception as error:
        raise _failed("the click model of simulator=", error) from error
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != (len(profile), slate_size) or not torch.is_floating_point(logits):
        raise HsrlError(
            f"the click model of simulator= returned {shape}, expected a float tensor of logits (B, K) = "
            f"({len(profile)}, {slate_size})."
        )
    if not logits.isfinite().all():
        wrong = float(logits[~logits.isfinite()][0])
        raise HsrlError(f"the click model of simulator= returned a logit of {wrong}, expected finite numbers.")


def _failed(what: str, error: Exception) -> HsrlError:
    """Return the error for somebody else's code that raised one, as one line."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return HsrlError(f"{what} failed ({said}); expected factory(bundle) -> model(profile, history, slate) -> logits.")
