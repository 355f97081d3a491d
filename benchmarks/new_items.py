"""What agents do with items that they never could show: half of a catalog comes on sale after they have learned.

    python benchmarks/new_items.py --methods oracle,sl,a2c-log,hac,hsrl --seeds 0,1

A share of the items is not on sale while a method learns: it cannot be shown, nor cloned from the log. Nothing is known
of how users answer to these items: their vectors and semantic IDs are what `Codebook.with_items` would guess from their
features. Then they come on sale, their free vectors zero, and the same weights are scored with all items without one
more step of learning; beside it stands the method that had all items, and the bundle's codebook, from the start. (They
stay in the histories that users come with, and the other tokens' centroids were fitted with them.) Finished runs are
kept in OUT; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from configuration import read_settings, settings_for
from hsrl_agent.baselines import Supervised
from hsrl_agent.methods import Agent, find_method
from hsrl_agent.policies import SlatePolicy
from hsrl_agent.vec_env import make_vec_env, slate_vector_env
from hsrl_gym.bundle.folder import Bundle, load_bundle
from hsrl_gym.errors import HsrlError, unknown_name
from plan import Parser, listed, n_cores, whole, whole_number
from provenance import code_digest, device_name, git_commit
from report import markdown_table
from results import Row, interval, label, sort_methods, write_text
from scoring import evaluate
from spec import EVAL_SEEDS, MAX_SEED, SEED_STRIDE, bundle_digest, bundle_folder
from terminal import make_console, run_command, say
from workers import at_most_threads

ENV = "HSRL-ML1M-v0"
ABLE = ("oracle", "sl", "a2c", "a2c-log", "hac", "hac-log", "hsrl")  # which can be given another catalog
COLUMNS = {
    "before": "without the new items",
    "after": "with them, no learning since",
    "whole": "with them from the start",
    "share_new": "share of new items in the first slates",
}


@dataclass(frozen=True)
class Trial:
    """A method and a seed, and what else the result depends on."""

    method: str
    seed: int
    bundle: str
    digest: str
    steps: int
    episodes: int
    percent_new: int
    settings: dict[str, Any] = field(default_factory=dict)

    def path(self, out: Path) -> Path:
        """Return where its row stands."""
        identity = {name: value for name, value in asdict(self).items() if name != "bundle"}
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        return out / "runs" / f"{self.method}-seed{self.seed}-{key}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    return run_command("new_items.py", lambda: compare_catalogs(parser().parse_args(arguments)))


def compare_catalogs(options: argparse.Namespace) -> int:
    """Do the runs that are not finished yet, then write and print the table."""
    console = make_console()
    trials, jobs = make_trials(options)
    todo = [trial for trial in trials if not trial.path(options.out).is_file()]
    say(console, f"{len(trials)} runs: {len(todo)} to do.")
    for done, (trial, row) in enumerate(run_all(todo, jobs), 1):
        write_text(trial.path(options.out), json.dumps(row, indent=1, allow_nan=False) + "\n")
        scores = ", ".join(f"{COLUMNS[name]} {row[name]:.2f}" for name in COLUMNS)
        say(console, f"[{done}/{len(todo)}] {trial.method} seed {trial.seed}: {scores}")
    rows = [json.loads(trial.path(options.out).read_text(encoding="utf-8")) for trial in trials]
    text = table(rows)
    write_text(options.out / "new_items.md", text)
    say(console, text)
    say(console, f"written: {options.out / 'new_items.md'}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = Parser(prog="new_items.py", description="Learn while some items are not on sale, then put them there.")
    add = made.add_argument
    add("--methods", metavar="NAME,..", help=f"of {', '.join(ABLE)} (all)")
    add("--seeds", metavar="N,..", help="also of which items are new (0,1)")
    add("--steps", metavar="N", help="user-steps to learn from, each time (9600)")
    add("--episodes", metavar="N", help="sessions that score a run (500)")
    add("--percent-new", metavar="N", help="of the items (50)")
    add("--bundle", metavar="DIR", help=f"users and catalog (those of {ENV})")
    add("--jobs", metavar="N", help="processes (as many as there are cores)")
    add("--out", type=Path, default=Path("results/new_items"), help="folder (results/new_items)")
    return made


def make_trials(options: argparse.Namespace) -> tuple[list[Trial], int]:
    """Return the runs that were asked for, and how many processes.

    Raises:
        HsrlError: for anything that cannot be run as it stands.
    """
    methods = listed("--methods", options.methods, ABLE, str)
    for method in methods:
        if method not in ABLE:
            raise unknown_name("method", method, ABLE)
    folder, settings = bundle_folder(ENV, options.bundle), read_settings()
    digest = bundle_digest(folder)
    seeds = listed("--seeds", options.seeds, (0, 1), whole)
    if max(seeds) > MAX_SEED:
        raise HsrlError(f"got seed {max(seeds)}, expected 0 to {MAX_SEED}.")
    steps = whole_number("--steps", options.steps, 9_600)
    episodes = whole_number("--episodes", options.episodes, 500)
    percent_new = whole_number("--percent-new", options.percent_new, 50)
    if percent_new > 90:
        raise HsrlError(f"got --percent-new {percent_new}, expected 1 to 90.")
    own = {method: settings_for(settings, method, ENV, options.bundle) for method in methods}
    trials = [
        Trial(method, seed, str(folder), digest, steps, episodes, percent_new, own[method])
        for method in methods
        for seed in seeds
    ]
    return trials, min(whole_number("--jobs", options.jobs, n_cores()), len(trials))


def run_all(trials: Sequence[Trial], jobs: int) -> Any:
    """Yield each run with its row as it ends."""
    if not trials:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, at_most_threads, (max(1, n_cores() // jobs),)) as pool:
        running = {pool.submit(run, trial): trial for trial in trials}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run(trial: Trial) -> Row:
    """Learn without the new items and with all, score both with all of them, and return the row."""
    whole_bundle = load_bundle(trial.bundle)
    book = whole_bundle.codebook
    live = book.live_items
    new = np.sort(np.random.default_rng(trial.seed).choice(live, len(live) * trial.percent_new // 100, replace=False))
    vectors = book.vectors.copy()
    vectors[new] = book.guess_vectors(book.features[new])
    before = replace(book.deactivate(new), vectors=vectors)
    smaller, larger = (replace(whole_bundle, codebook=each) for each in (before, before.activate(new)))
    learned, all_along = (learn(trial, bundle) for bundle in (smaller, whole_bundle))
    renewed = make(trial, larger)
    take_over(renewed, learned, new)
    return {
        **asdict(trial),
        "bundle": whole_bundle.source,
        "before": score(trial, learned, smaller),
        "after": score(trial, renewed, larger),
        "whole": score(trial, all_along, whole_bundle),
        "share_new": share_of(trial, renewed, larger, new),
        "git_commit": git_commit(),
        "code": code_digest(),
        "device_name": device_name("cpu"),
    }


def make(trial: Trial, bundle: Bundle) -> Agent:
    """Return the method, as it is before it learns, in the catalog of a bundle."""
    method, seed = find_method(trial.method), trial.seed * SEED_STRIDE
    envs = make_vec_env(ENV, bundle=bundle, simulator="train", action_mode=method.action_mode)
    envs.seed(seed)
    return method.make(envs, seed, "cpu", dict(trial.settings))


def learn(trial: Trial, bundle: Bundle) -> Agent:
    """Return the method after it learned in the catalog of a bundle."""
    agent = make(trial, bundle)
    agent.learn(trial.steps)
    return agent


def take_over(agent: Agent, learned: Agent, new: NDArray[Any]) -> None:
    """Give an agent what another learned without the new items; one that learns nothing is left alone."""
    policy: Any = getattr(agent, "policy", agent)
    other: Any = getattr(learned, "policy", learned)
    if not isinstance(policy, SlatePolicy | Supervised):
        return
    policy.take_over(other)
    with torch.no_grad():
        for name, weight in policy.network.named_parameters():
            if name.endswith("item_free.weight"):
                weight[new] = 0.0
            if name.endswith("kernel_free"):  # whose first row is item 1
                weight[new - 1] = 0.0


def _users(trial: Trial, bundle: Bundle) -> Any:
    mode = find_method(trial.method).action_mode
    arguments: dict[str, Any] = {"bundle": bundle, "simulator": "eval", "action_mode": mode}
    return slate_vector_env(
        gymnasium.make_vec(ENV, num_envs=trial.episodes, vectorization_mode="vector_entry_point", **arguments)
    )


def score(trial: Trial, agent: Agent, bundle: Bundle) -> float:
    """Return the Total Reward of greedy sessions with held-out users."""
    seed = EVAL_SEEDS + trial.seed * SEED_STRIDE
    return float(evaluate(agent, _users(trial, bundle), trial.episodes, seed).reward.mean())


def share_of(trial: Trial, agent: Agent, bundle: Bundle, items: NDArray[Any]) -> float:
    """Return the share of some items in the first slates of these users."""
    users = _users(trial, bundle)
    observation, _ = users.reset(seed=EVAL_SEEDS + trial.seed * SEED_STRIDE)
    *_, info = users.step(np.asarray(agent.predict(observation, deterministic=True)[0]))
    return float(np.isin(info["slate"], items).mean())


def table(rows: Sequence[Row]) -> str:
    """Return the table as Markdown, with what a reader has to know beside it."""
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    lines = [
        [label(method), *(interval([row[name] for row in by_method[method]]).text() for name in COLUMNS)]
        for method in sort_methods(by_method)
    ]
    first = rows[0]
    seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows}))
    note = (
        f"Total Reward by the `eval` user of {ENV} ({first['bundle']}); {first['percent_new']}% of the items were not "
        f"on sale while a method learned from {first['steps']:,} user-steps (SL: from the log); by chance their share "
        f"in a slate would be {first['percent_new'] / 100:.2f}. Seeds {seeds}, {first['episodes']} sessions each."
    )
    heading = ["Method", *(f"{column} [95%]" for column in COLUMNS.values())]
    return f"# New items\n\n{markdown_table(heading, lines)}\n\n- {note}\n"


if __name__ == "__main__":
    sys.exit(main())
