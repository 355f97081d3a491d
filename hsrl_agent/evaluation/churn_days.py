"""The protocol of the churn figure: part of the catalog is replaced every day while an agent goes on learning."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np

from hsrl_agent.evaluation.churn import Judges, daily, open_catalog, settle
from hsrl_agent.evaluation.curve import Progress, point
from hsrl_agent.evaluation.plugins import resolve
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.run import make_eval_envs, make_result
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.tasks import bundle_folder
from hsrl_gym.bundle.folder import load_bundle

PROTOCOL = f"{__name__}:days"


def day_stage(day: int) -> str:
    """Return the stage at the end of a day; day 0 is that before the first change."""
    return f"day_{day}"


def days(spec: RunSpec, progress: Progress) -> RunResult:
    """Learn `spec.steps` user-steps in a still catalog, then through days that each begin with a change of it.

    `protocol_kwargs` hold `held_back`, `arrivals`, `every` (steps of a day) and `arrive`, all as in `Churn`, `n_days`,
    and `onboarding`.

    The curve of the result has the score at the end of each day in the catalog of that day, by all user-steps so far.
    The `score` is that of the last day; the numbers of all days are in `extra`, see `churn.entry`.
    """
    started_at = datetime.now(timezone.utc)
    asked = spec.protocol_kwargs
    method = resolve(spec.method, spec.settings)
    bundle = load_bundle(bundle_folder(spec.env, spec.bundle))
    turnover = open_catalog(daily(spec), spec, bundle)
    catalog = turnover.catalog
    a_day = asked["every"] * spec.n_envs
    learned, resident = settle(spec, method, bundle, catalog, progress, asked["n_days"] * a_day)
    began = time.perf_counter()
    new = np.isin(np.arange(bundle.n_items + 1), daily(spec).first_waiting(bundle))
    judges = Judges(spec, method, bundle, new)
    scores = judges.score(day_stage(0), resident)
    curve = [point(0, 0.0, scores)]
    for day in range(1, asked["n_days"] + 1):
        for _ in range(asked["every"]):
            turnover.pass_time()
        resident.live(a_day)
        scores = judges.score(day_stage(day), resident)
        curve.append(point(day * a_day, time.perf_counter() - began, scores))
    seconds = time.perf_counter() - began
    envs = make_eval_envs(spec, method.action_mode, 1, bundle=bundle, catalog=catalog)
    result = make_result(spec, learned, envs, scores, started_at, seconds, extra=judges.found)
    return replace(result, curve=tuple(curve))
