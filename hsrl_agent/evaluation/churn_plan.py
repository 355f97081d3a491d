"""The runs of the churn table and the churn figure: methods, each with and without onboarding."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from hsrl_agent.evaluation import churn_days, churn_table
from hsrl_agent.evaluation.churn import READ_NO_VECTORS, can_follow
from hsrl_agent.evaluation.plugins import record_of, resolve
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.tasks import Task
from hsrl_agent.methods import METHODS
from hsrl_gym.bundle.folder import read_manifest
from hsrl_gym.errors import HsrlError

TABLE, FIGURE = "churn", "churn_days"  # kinds of a comparison
KINDS = (TABLE, FIGURE)
ONBOARDING = {"yes": (True,), "no": (False,), "both": (False, True)}
WITH_ONBOARDING = "onboarding"
STEPS, EPISODES, DAYS = 9_600, 300, 21
COMPARED = ("popularity", "oracle", "sl", "a2c-pretrained", "hac-pretrained", "hsrl-two-tower", "hsrl-items", "hsrl")
PROTOCOLS: dict[str, tuple[str, Mapping[str, Any]]] = {
    TABLE: (
        churn_table.PROTOCOL,
        {
            "held_back": 0.5,
            "impressions": 20,
            "later": [1_600, 3_200, 9_600],
            "check_every": 800,
            "give_up": 6_400,
        },
    ),
    FIGURE: (churn_days.PROTOCOL, {"held_back": 0.8, "arrive": 0.1, "every": 15}),
}


def kind_of_call(given: argparse.Namespace) -> str:
    """Return the kind of comparison that a call asks for.

    Raises:
        HsrlError: for options that belong to another kind.
    """
    kinds = {"figurechurn": FIGURE, "tablechurn": TABLE}
    what = f"figure{given.figure}" if given.figure else f"table{given.table or 2}"
    what = kinds.get(what, what)
    if given.onboarding and what not in KINDS:
        raise HsrlError(f"got --onboarding for {what}, where no item is new; ask for --table churn or --figure churn.")
    for name in ("days", "warmup"):
        if getattr(given, name) and what != FIGURE:
            raise HsrlError(f"got --{name} for {what}, which has none; ask for --figure churn.")
    return what


def default_methods() -> tuple[str, ...]:
    """Return the methods of the churn table that there are."""
    return tuple(name for name in COMPARED if name in METHODS)


def churn_specs(
    what: str,
    tasks: Sequence[Task],
    methods: Sequence[str],
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    numbers: Mapping[str, Any],
    onboarding: str,
    n_days: int,
) -> list[RunSpec]:
    """Return the runs, in the order of the tables.

    Args:
        what: one of `KINDS`.
        tasks, methods, seeds: whom to compare, and where.
        settings: `Settings` by the name of a task.
        numbers: steps, sessions and so on, as `RunSpec` has them.
        onboarding: "yes", "no" or "both"; methods that look at no vectors run without it.
        n_days: of the figure.

    Raises:
        HsrlError: for a method that cannot be led from one catalog to another; for onboarding where the codebook has no
            behaviour vectors.
    """
    protocol, asked = PROTOCOLS[what]
    own = {**asked, **({"n_days": n_days} if what == FIGURE else {})}
    specs = []
    for task in tasks:
        if onboarding != "no" and read_manifest(task.folder)["provenance"].get("codebook") == "features":
            raise HsrlError(
                f"{task.name}: got a codebook of features, expected behaviour vectors for onboarding; build the bundle "
                "with --codebook behaviour, or ask for --onboarding no."
            )
        for name in methods:
            chosen = settings[task.name]
            if not can_follow(resolve(name, chosen.of(name))):
                raise HsrlError(f"got the method {name!r}, which cannot follow a catalog that changes.")
            for is_onboarded in ONBOARDING[onboarding] if name not in READ_NO_VECTORS else (False,):
                kwargs = {**own, "arrivals": _arrivals(task), "onboarding": is_onboarded}
                variant = f"{record_of(name).label}, {WITH_ONBOARDING}" if is_onboarded else ""
                specs += [
                    RunSpec(
                        task=task.name,
                        env=task.env,
                        method=name,
                        seed=seed,
                        bundle=task.bundle,
                        settings=chosen.of(name),
                        env_kwargs=task.env_kwargs,
                        variant=variant,
                        protocol=protocol,
                        protocol_kwargs=kwargs,
                        settings_name=chosen.name,
                        **numbers,
                    )
                    for seed in seeds
                ]
    return specs


def _arrivals(task: Task) -> str:
    """Return which items are held back: in a log of real users, those that it shows last."""
    return "random" if "synthetic" in read_manifest(task.folder)["source"].lower() else "latest"


def n_user_steps(spec: RunSpec) -> int:
    """Return how many user-steps a run of either protocol takes, at most."""
    asked = spec.protocol_kwargs
    if spec.protocol == churn_table.PROTOCOL:
        return int(spec.steps + asked["later"][-1] + asked["give_up"])
    if spec.protocol == churn_days.PROTOCOL:
        return int(spec.steps + asked["n_days"] * asked["every"] * spec.n_envs)
    return spec.steps
