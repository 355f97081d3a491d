"""What agents do with items that were never shown: half of a catalog comes on sale after they have learned.

    python benchmarks/new_items.py --methods oracle,sl,a2c-pretrained,hac,hsrl --seeds 0,1

A share of the items is not on sale while a method learns: it cannot be shown, nor cloned from the log. Nothing is known
of how users respond to them: their vectors and semantic IDs are what `Codebook.with_items` would guess from features.
Then they come on sale, their free vectors zero, and the same weights are scored with all items without more learning.
Beside it stands the method that had all items, and the bundle's codebook, from the start. (New items stay in the
histories that users come with, and the centroids of the tokens were fitted with them.)
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsrl_agent.evaluation.compare import compare
from hsrl_agent.evaluation.curve import Progress
from hsrl_agent.evaluation.options import Parser, folder, names, whole_number, whole_numbers
from hsrl_agent.evaluation.plan import Plan
from hsrl_agent.evaluation.plugins import resolve, sorted_methods
from hsrl_agent.evaluation.pool import n_cores
from hsrl_agent.evaluation.result import RunResult
from hsrl_agent.evaluation.run import learn, make_eval_envs, make_result, make_train_envs
from hsrl_agent.evaluation.scoring import Scores, evaluate
from hsrl_agent.evaluation.settings import choose_settings
from hsrl_agent.evaluation.spec import RunSpec
from hsrl_agent.evaluation.tasks import bundle_digest, bundle_folder, make_task
from hsrl_agent.evaluation.terminal import run_command
from hsrl_agent.method import Agent, Method
from hsrl_gym.bundle.folder import Bundle, load_bundle
from hsrl_gym.errors import HsrlError

ENV = "HSRL-ML1M-v0"
METHODS = ("oracle", "sl", "a2c", "a2c-pretrained", "hac", "hac-pretrained", "hsrl")
WHAT = "new_items"
PROTOCOL = "new_items:learn_without_new_items"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 1 if a run failed; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    return run_command("new_items.py", lambda: compare(make_plan(parser().parse_args(arguments)), "new_items.py"))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = Parser(prog="new_items.py", description="Learn while some items are not on sale, then put them there.")
    add = made.add_argument
    add("--methods", type=names, default=METHODS, metavar="NAME,..", help=f"methods ({','.join(METHODS)})")
    add(
        "--seeds",
        type=whole_numbers,
        default=(0, 1),
        metavar="N,..",
        help="each one a run; it also draws which items are new (0,1)",
    )
    add("--steps", type=whole_number, default=9_600, metavar="N", help="user-steps to learn from, each time (9600)")
    add("--episodes", type=whole_number, default=500, metavar="N", help="sessions that score a run (500)")
    add("--percent-new", type=percent, default=50, metavar="N", help="of the items, 1 to 90 (50)")
    add("--bundle", metavar="DIR", help=f"users and catalog (those of {ENV})")
    add(
        "--settings",
        metavar="NAME|FILE",
        help="settings of the methods: a tuned file by name or path, or none for the code's defaults (those tuned on "
        "the bundle, if any)",
    )
    add("--jobs", type=whole_number, default=n_cores(), metavar="N", help="processes (as many as there are cores)")
    add("--out", type=folder, default=Path("results") / WHAT, help=f"folder (results/{WHAT})")
    return made


def percent(text: str) -> int:
    """Return a whole number from 1 to 90."""
    number = whole_number(text)
    if number > 90:
        raise argparse.ArgumentTypeError(f"got {text}, expected 1 to 90")
    return number


def make_plan(options: argparse.Namespace) -> Plan:
    """Return the runs that were asked for.

    Raises:
        HsrlError: for a method that cannot take what it learned to another catalog.
    """
    task = make_task(ENV, options.bundle)
    settings = choose_settings(options.settings, bundle_digest(task.folder))
    specs = []
    for name in sorted_methods(options.methods):
        if not can_transfer(resolve(name, settings.of(name))):
            raise HsrlError(f"got the method {name!r}, which cannot take what it learned to another catalog.")
        specs += [
            RunSpec(
                task.name,
                task.env,
                name,
                seed,
                options.steps,
                bundle=task.bundle,
                n_eval_episodes=options.episodes,
                n_checkpoints=1,
                settings=settings.of(name),
                protocol=PROTOCOL,
                protocol_kwargs={"percent_new": options.percent_new},
                settings_name=settings.name,
            )
            for seed in options.seeds
        ]
    return Plan(
        tuple(specs), WHAT, options.out, min(options.jobs, len(specs)), (f"{task.name}: settings: {settings.origin}.",)
    )


def can_transfer(method: Method) -> bool:
    """Return whether a method learns nothing of items, or its agent or its policy has `transfer_from`."""
    policy = method.policy
    if isinstance(policy, str):
        policy = getattr(method.agent_class, "policy_aliases", {}).get(policy)
    learners = (method.agent_class, policy)
    return method.name in ("oracle", "random") or any(hasattr(one, "transfer_from") for one in learners)


def learn_without_new_items(spec: RunSpec, progress: Progress) -> RunResult:
    """Learn without the new items and with all of them, and score both with all.

    The `score` of the result is that with all items after learning without the new ones. `extra` holds Total Reward
    "before" they come, "after", and with the "whole" catalog from the start, and "share_new", the share of new items in
    the first slates.
    """
    started_at = datetime.now(timezone.utc)
    method = resolve(spec.method, spec.settings)
    bundle = load_bundle(bundle_folder(spec.env, spec.bundle))
    book = bundle.codebook
    live = book.live_items
    n_new = len(live) * spec.protocol_kwargs["percent_new"] // 100
    new = np.sort(np.random.default_rng(spec.seed).choice(live, n_new, replace=False))
    vectors = book.vectors.copy()
    vectors[new] = book.guess_vectors(book.features[new])
    without = replace(book.deactivate(new), vectors=vectors)
    smaller, larger = (replace(bundle, codebook=each) for each in (without, without.activate(new)))
    learned, all_along = (learn(spec, method, progress, one, with_curve=False) for one in (smaller, bundle))
    renewed = method.make(
        make_train_envs(spec, method.action_mode, bundle=larger), spec.train_seed, spec.device, spec.settings
    )
    transfer(renewed, learned.agent, new)
    before = time.perf_counter()
    after = score(spec, method, renewed, larger)
    extra = {
        "before": float(score(spec, method, learned.agent, smaller).reward.mean()),
        "after": float(after.reward.mean()),
        "whole": float(score(spec, method, all_along.agent, bundle).reward.mean()),
        "share_new": share_of(spec, method, renewed, larger, new),
    }
    envs = make_eval_envs(spec, method.action_mode, bundle=larger)
    return make_result(spec, learned, envs, after, started_at, time.perf_counter() - before, extra=extra)


def transfer(agent: Agent, learned: Agent, new: NDArray[Any]) -> None:
    """Give an agent what another learned without the new items; one that learns nothing is left as it is.

    What an agent knows of an item apart from its vector starts at zero for the new ones.
    """
    policy: Any = getattr(agent, "policy", agent)
    other: Any = getattr(learned, "policy", learned)
    if not hasattr(policy, "transfer_from"):
        return
    policy.transfer_from(other)
    with torch.no_grad():
        for name, weight in policy.network.named_parameters():
            if name.endswith("item_free.weight"):
                weight[new] = 0.0
            if name.endswith("kernel_free"):  # whose first row is item 1
                weight[new - 1] = 0.0


def score(spec: RunSpec, method: Method, agent: Agent, bundle: Bundle) -> Scores:
    """Return what greedy sessions with held-out users bring in the catalog of a bundle."""
    users = make_eval_envs(spec, method.action_mode, bundle=bundle)
    return evaluate(agent, users, spec.n_eval_episodes, spec.eval_seed)


def share_of(spec: RunSpec, method: Method, agent: Agent, bundle: Bundle, items: NDArray[Any]) -> float:
    """Return the share of some items in the first slates of the users that score a run."""
    users = make_eval_envs(spec, method.action_mode, bundle=bundle)
    observation, _ = users.reset(seed=spec.eval_seed)
    *_, info = users.step(np.asarray(agent.predict(observation, deterministic=True)[0]))
    return float(np.isin(info["slate"], items).mean())


if __name__ == "__main__":
    sys.exit(main())
