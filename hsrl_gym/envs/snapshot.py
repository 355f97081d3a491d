"""Snapshots: all that sessions and their catalog are at a moment, as named arrays, so that they go on elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsrl_gym.envs.core import SessionState
from hsrl_gym.envs.sessions import SlateSessions
from hsrl_gym.errors import HsrlError

Snapshot = dict[str, NDArray[Any]]

_PARTS = ("catalog", "turnover", "onboarder", "days")  # attributes of sessions that change while these run
_ORIGIN = "origin"


def part_of(arrays: Mapping[str, NDArray[Any]], name: str) -> Snapshot:
    """Return the arrays whose names begin with "NAME/", without that beginning."""
    begin = f"{name}/"
    return {key[len(begin) :]: values for key, values in arrays.items() if key.startswith(begin)}


def take_snapshot(sessions: SlateSessions, state: SessionState) -> Snapshot:
    """Return the sessions as arrays that share no memory with them.

    The names are those of the parts, "session/history" for instance. "origin" says as JSON, in bytes (n,) uint8, which
    environment they are of.
    """
    snapshot = {f"session/{field.name}": getattr(state, field.name).cpu().numpy().copy() for field in fields(state)}
    for name in _PARTS:
        part = getattr(sessions, name, None)
        if part is not None:
            snapshot.update({f"{name}/{key}": values for key, values in part.snapshot().items()})
    snapshot[_ORIGIN] = np.frombuffer(json.dumps(_origin(sessions)).encode(), dtype=np.uint8).copy()
    return snapshot


def check_snapshot(sessions: SlateSessions, snapshot: Snapshot, n_users: int) -> None:
    """Check all that is known of a snapshot of B = `n_users` sessions before anything is changed.

    Raises:
        HsrlError: for a snapshot of an environment that differs in users, items or rules, and for arrays that lack a
            name, or have another shape, dtype or range.
    """
    _check_origin(sessions, snapshot)
    n_others = len(np.atleast_1d(snapshot.get("session/user", np.zeros(0))))
    if n_others != n_users:
        raise HsrlError(f"got a snapshot of {n_others} sessions, expected {n_users}.")
    nobody = torch.zeros(n_users, dtype=torch.int64, device=sessions.device)
    alike = take_snapshot(sessions, sessions.core.initial(nobody, nobody))
    for name in alike.keys() - {_ORIGIN}:
        grows = 0 if name.startswith("session/") else 1  # parts have lists whose length changes
        own, other = _form(alike[name], grows), _form(snapshot.get(name), grows)
        if own != other:
            raise HsrlError(f"got a snapshot with {name} {other}, expected {own}.")
    n_items, n_pool = len(sessions.catalog.codes), len(sessions.core.profiles)
    for name, limit in (("user", n_pool), ("history", n_items), ("step", 2**31)):
        values = snapshot[f"session/{name}"]
        if ((values < 0) | (values >= limit)).any():
            raise HsrlError(f"got a snapshot with a session/{name} outside of 0 to {limit - 1}.")


def _form(array: NDArray[Any] | None, grows: int) -> str:
    """Return dtype and shape of an array in words; of one that grows, without its first length."""
    if not isinstance(array, np.ndarray):
        return "missing"
    return f"{array.dtype} with {array.ndim} axes {array.shape[grows:]}"


def restore_snapshot(sessions: SlateSessions, snapshot: Snapshot) -> SessionState:
    """Put catalog, days and beliefs back as they were, and return the state of the sessions.

    Raises:
        HsrlError: for a part that cannot be put back. Nothing is changed then.
    """
    parts = {name: part for name in _PARTS if (part := getattr(sessions, name, None)) is not None}
    before = {name: part.snapshot() for name, part in parts.items()}
    try:
        for name, part in parts.items():
            part.restore(part_of(snapshot, name))
    except Exception as error:  # arrays of the right form may still hold anything
        for name, part in parts.items():
            part.restore(before[name])
        raise HsrlError(
            f"got a snapshot whose parts do not fit together ({error}), expected that of snapshot()."
        ) from None
    rows = {field.name: snapshot[f"session/{field.name}"] for field in fields(SessionState)}
    return SessionState(**{name: torch.as_tensor(row.copy(), device=sessions.device) for name, row in rows.items()})


def _origin(sessions: SlateSessions) -> dict[str, str]:
    """Return what two environments must share so that one can go on where the other was."""
    turnover, onboarder, days = (getattr(sessions, name, None) for name in ("turnover", "onboarder", "days"))
    book, profiles = sessions.catalog.codebook, sessions.core.profiles.cpu().numpy()
    simulator = sessions.simulator
    return {
        "bundle": sessions.bundle.name,
        "items": _digest(book.codes, book.vectors, *book.centroids),
        "users": _digest(profiles),
        "simulator": simulator if isinstance(simulator, str) else type(simulator).__qualname__,
        "rules": str(sessions.params),
        "reward": str(getattr(sessions.core, "reward", sessions.params.reward)),
        "churn": str(None if turnover is None else asdict(turnover.churn)),
        "onboarding": str(None if onboarder is None else asdict(onboarder.settings)),
        "steps_per_day": str(None if days is None else days.steps),
    }


def _digest(*tables: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for table in tables:
        digest.update(f"{table.dtype}{table.shape}".encode() + np.ascontiguousarray(table).tobytes())
    return digest.hexdigest()[:16]


def _check_origin(sessions: SlateSessions, snapshot: Snapshot) -> None:
    own = _origin(sessions)
    try:
        theirs = json.loads(snapshot[_ORIGIN].tobytes())
        other = [name for name in own if theirs[name] != own[name]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise HsrlError("got arrays that are no snapshot, expected what snapshot() of an environment gave.") from None
    if other:
        name = other[0]
        raise HsrlError(
            f"got a snapshot of an environment with {name} {str(theirs[name])[:200]}, expected {own[name]}; make the "
            "environment with the arguments that the other one had."
        )
