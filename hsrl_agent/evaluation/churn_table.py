"""The protocol of the churn table: half of the catalog is held back while an agent learns, and then comes.

A change is scored in a copy of the catalog, before anybody has learned from it. Then all items are replaced for good,
and learning goes on; and so it does, in a branch of its own, after 60% were replaced.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsrl_agent.evaluation.churn import (
    REWARD,
    Judges,
    Resident,
    entry,
    open_catalog,
    settle,
    still,
    twin,
)
from hsrl_agent.evaluation.curve import Progress
from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.run import make_eval_envs, make_result
from hsrl_agent.evaluation.scoring import undisturbed
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.tasks import bundle_folder
from hsrl_gym.bundle.folder import load_bundle
from hsrl_gym.items.catalog import Catalog

PROTOCOL = f"{__name__}:churn"
BEFORE, ADDED, KNOWN, SEEN = "before", "added", "known_vectors", "impressions"
REPLACED = {30: "replaced_30", 60: "replaced_60", 100: "replaced_100"}  # percent: stage
BACK = "steps_until_back"  # user-steps until `ENOUGH` of "before" is back after 60%; the limit if it never is
IS_BACK = "is_back"  # 1 if it is
STEPS_SEEN = "steps_until_seen"  # user-steps that the impressions took
MEDIAN_SEEN = "median_impressions"  # of the new items at that stage, where the mean is as many as were asked for
NEVER_SEEN = "share_never_shown"  # of the new items, at that stage
IS_SEEN = "is_seen"  # 1 if there were as many impressions as were asked for before `_OVERTIME` ran out
_OVERTIME = 100  # times the user-steps that the impressions take if every slot holds a new item
ENOUGH = 0.95


def after(steps: int) -> str:
    """Return the stage that many user-steps after all items were replaced."""
    return f"after_{steps}"


def churn(spec: RunSpec, progress: Progress) -> RunResult:
    """Learn with items held back, and score what changes of the catalog cost, at once and after more learning.

    `protocol_kwargs` hold `held_back` and `arrivals` as in `Churn`, `onboarding`, `impressions` (how often new items
    are shown, on average, before the stage of that name), `later` (user-steps after all were replaced, rising), and
    `check_every` and `give_up` (user-steps between scores after 60% were replaced, and of the last one).

    The `score` of the result is that before anything changed; all else is in `extra`, see `churn.entry`.
    """
    started_at = datetime.now(timezone.utc)
    asked = spec.protocol_kwargs
    method = resolve(spec.method, spec.settings)
    bundle = load_bundle(bundle_folder(spec.env, spec.bundle))
    catalog = open_catalog(still(spec), spec, bundle).catalog
    held_back = still(spec).first_waiting(bundle)
    learned, resident = settle(spec, method, bundle, catalog, progress, asked["later"][-1])
    began = time.perf_counter()
    judges = Judges(spec, method, bundle, np.isin(np.arange(bundle.n_items + 1), held_back))
    before = judges.score(BEFORE, resident)
    plan = Replacement(catalog, held_back, spec.seed)
    added = twin(catalog)
    added.change(arrive=held_back)
    judges.score(ADDED, resident, added)
    judges.score(REPLACED[30], resident, plan.applied(twin(catalog), 30))
    if resident.changes:
        with undisturbed(resident.agent):
            _recover(judges, resident.branch(bundle), plan)
    else:
        judges.score(REPLACED[60], resident, plan.applied(twin(catalog), 60))
    plan.applied(catalog, 100)
    judges.score(REPLACED[100], resident)
    _when_known(judges, resident, held_back)
    done = 0
    for steps in asked["later"] if resident.changes else ():
        resident.live(steps - done)
        judges.score(after(steps), resident)
        done = steps
    seconds = time.perf_counter() - began
    envs = make_eval_envs(spec, method.action_mode, 1, bundle=bundle, catalog=twin(catalog))
    return make_result(spec, learned, envs, before, started_at, seconds, extra=judges.found)


class Replacement:
    """Which items go and which come when a share of the live ones is replaced: the more, the same ones first."""

    def __init__(self, catalog: Catalog, held_back: NDArray[Any], seed: int) -> None:
        """Draw the order in which the live items of a catalog go; those held back come in their own."""
        self.leaving = np.random.default_rng(seed).permutation(catalog.live_items)
        self.coming = held_back

    def applied(self, catalog: Catalog, percent: int) -> Catalog:
        """Return the catalog, in which that share of the live items was replaced."""
        n_leaving, n_coming = (len(items) * percent // 100 for items in (self.leaving, self.coming))
        catalog.change(retire=self.leaving[:n_leaving], arrive=self.coming[:n_coming])
        return catalog


def _recover(judges: Judges, resident: Resident, plan: Replacement) -> None:
    """Replace 60% for good, and live on until enough of the reward before is back."""
    asked = judges.spec.protocol_kwargs
    plan.applied(resident.catalog, 60)
    scores = judges.score(REPLACED[60], resident)
    wanted = ENOUGH * judges.found[entry(BEFORE, REWARD)]
    steps = 0
    while scores.reward.mean() < wanted and steps < asked["give_up"]:
        resident.live(asked["check_every"])
        steps += asked["check_every"]
        scores = judges.score(f"{REPLACED[60]}_after_{steps}", resident)
    judges.found[BACK], judges.found[IS_BACK] = float(steps), float(scores.reward.mean() >= wanted)


def _when_known(judges: Judges, resident: Resident, new: NDArray[Any]) -> None:
    """Score the same agent with items that were seen some times, and with items whose true vectors are known."""
    if judges.bundle.codebook.to_vector is not None and resident.reads_vectors:
        known = twin(resident.catalog)
        known.move(new, judges.bundle.codebook.vectors[new])
        judges.score(KNOWN, resident, known)
    if resident.observes:
        _when_seen(judges, resident, new)


def _when_seen(judges: Judges, resident: Resident, new: NDArray[Any]) -> None:
    """Score the agent in the catalog as it is after new items (M,) were seen some times on average."""
    visitor, wanted = resident.branch(judges.bundle), judges.spec.protocol_kwargs["impressions"]
    sessions = visitor.envs.get_attr("sessions")[0]
    onboarder, slate_size = sessions.onboarder, sessions.actions.slate_size
    most, steps = _OVERTIME * wanted * len(new) / slate_size, 0
    with undisturbed(resident.agent):
        while float(onboarder.impressions[new].double().mean()) < wanted and steps < most:
            visitor.act(judges.spec.n_envs)
            steps += judges.spec.n_envs
    counts = onboarder.impressions[new].double()
    judges.found[STEPS_SEEN] = float(steps)
    judges.found[IS_SEEN] = float(counts.mean() >= wanted)
    judges.found[MEDIAN_SEEN] = float(counts.median())
    judges.found[NEVER_SEEN] = float((counts == 0).double().mean())
    judges.score(SEEN, resident, visitor.catalog)
