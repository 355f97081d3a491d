"""Small runs of the churn protocols, and what they score on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hsrl_agent.evaluation.churn import Judges, Resident, open_catalog, still
from hsrl_agent.evaluation.churn_table import PROTOCOL as TABLE
from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.run import learn
from hsrl_agent.evaluation.scoring import Scores
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_gym.bundle.contents import Bundle
from hsrl_gym.items.catalog import Catalog

TERMS = {"held_back": 0.5, "arrivals": "random", "onboarding": True}
OF_TABLE = {"impressions": 2, "later": [16, 32], "check_every": 16, "give_up": 32}
OF_DAYS = {"every": 2, "arrive": 0.2, "n_days": 2}


def settings_of(method: str) -> dict[str, Any]:
    return {"hsrl": {"pretrain_epochs": 0}, "sl": {"max_epochs": 1}, "hac": {"learning_starts": 0}}.get(method, {})


def a_spec(spec: RunSpec, method: str, **terms: Any) -> RunSpec:
    kwargs = {**TERMS, **OF_TABLE, **terms}
    quick = replace(spec, steps=64, method=method, settings=settings_of(method))
    return replace(quick, protocol=TABLE, protocol_kwargs=kwargs)


def at_home(spec: RunSpec, bundle: Bundle, **terms: Any) -> tuple[Resident, Judges]:
    """Return an agent after a little learning with half of the items held back, and its judges."""
    own = a_spec(spec, spec.method, **terms)
    method = resolve(own.method, own.settings)
    turnover = open_catalog(still(own), own, bundle)
    learned = learn(own, method, bundle=bundle, with_curve=False, catalog=turnover.catalog, onboarding={})
    new = np.isin(np.arange(bundle.n_items + 1), still(own).first_waiting(bundle))
    return Resident(learned.agent, method, learned.envs, turnover.catalog, True), Judges(own, method, bundle, new)


@dataclass
class Scored:
    """What was scored at a stage.

    Attributes:
        steps: user-steps that the agent had learned from.
        live: items on sale where it was scored.
        vectors, at_home: (N + 1, D), of the items there and in the agent's own catalog.
        generator: state of torch's global one just before.
    """

    steps: int
    live: set[int]
    vectors: NDArray[np.float32]
    at_home: NDArray[np.float32]
    generator: bytes


def watch(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scored]:
    """Return what judges will have scored, by stage, in the order of the stages."""
    found: dict[str, Scored] = {}
    score = Judges.score

    def watched(judges: Judges, stage: str, resident: Resident, catalog: Catalog | None = None) -> Scores:
        items, agent = catalog or resident.catalog, resident.agent
        vectors = (items.vectors.copy(), resident.catalog.vectors.copy())
        steps, live = getattr(agent, "num_timesteps", 0), set(items.live_items.tolist())
        found[stage] = Scored(steps, live, *vectors, torch.get_rng_state().numpy().tobytes())
        return score(judges, stage, resident, catalog)

    monkeypatch.setattr(Judges, "score", watched)
    return found
