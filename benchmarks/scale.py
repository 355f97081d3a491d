"""What a catalog costs: learned weights, memory, time of a decision and of an update, against its size.

    python benchmarks/scale.py --sizes 1000,10000,100000,1000000

HSRL that recalls candidates (`n_candidates`) stands beside the same algorithm in item space. Catalogs are random, with
a SID for each item; users are random, too, for what they click does not change the time. Times are those of the
processor, which other programs do not add to, and the rounds go through all sizes in turn, so that a machine that is
slow for a while is so for all of them: read the ratios.

Item space at many items needs a number for each user and item, several times over; what would need more than
`--most` such numbers is not run, and has no entry.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsrl_agent.evaluation.terminal import make_console, run_command, say
from hsrl_gym.errors import HsrlError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hsrl_agent import HSRL
    from hsrl_agent.buffers import SlateSamples
    from hsrl_agent.evaluation.report.table import Table
    from hsrl_gym.items.codebook import Codebook

SIZES = (1_000, 10_000, 100_000, 1_000_000)
K, H, P = 10, 50, 30  # slate size, history length, profile width: those of the ML-1M shape
N_LEVELS, VOCABULARY = 3, 128
N_USERS, BATCH = 32, 256  # users of a decision, transitions of an update


@dataclass
class Entry:
    """The cost of a method at one size.

    Attributes:
        method: "HSRL" or "item space".
        n_items: N.
        weights: learned numbers.
        megabytes: of weights, their averages and target, and tables of the items.
        seconds: of each round, by what was timed; nothing where it was not run.
    """

    method: str
    n_items: int
    weights: int
    megabytes: float
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def milliseconds(self, what: str) -> float | None:
        """Return the median of the rounds, in milliseconds; None if there was none."""
        taken = self.seconds.get(what)
        return None if not taken else 1e3 * statistics.median(taken)


TIMED = {
    "decide": f"Decision, {N_USERS} users",
    "update": f"Update, {BATCH} transitions",
    "follow": "Follow a move of 3 items",
}


def random_codebook(n_items: int, seed: int = 0) -> Codebook:
    """Return a codebook with a SID for each item, and vectors near the sum of its centroids."""
    from hsrl_gym.items.codebook import Codebook

    generator, shape = np.random.default_rng(seed), (VOCABULARY,) * N_LEVELS
    codes = np.stack(np.unravel_index(generator.choice(int(np.prod(shape)), n_items, replace=False), shape), 1)
    centroids = tuple(
        generator.normal(size=(VOCABULARY, 32)).astype(np.float32) / 2**level for level in range(N_LEVELS)
    )
    vectors, features = np.zeros((n_items + 1, 32), np.float32), np.zeros((n_items + 1, 16), np.float32)
    vectors[1:] = sum(table[codes[:, level]] for level, table in enumerate(centroids))
    features[1:] = generator.normal(size=(n_items, 16))
    return Codebook(
        centroids=centroids,
        codes=np.vstack([np.full((1, N_LEVELS), -1), codes]).astype(np.int32),
        mean=np.zeros(16, np.float32),
        scale=np.ones(16, np.float32),
        features=features,
        priority=np.zeros(n_items + 1, np.float32),
        vectors=vectors,
        to_vector=np.zeros((16, 32), np.float32),
    )


def make_agent(codebook: Codebook, policy_kwargs: dict[str, Any]) -> HSRL:
    """Return HSRL over a catalog, without an environment, and a batch that each update takes."""
    from gymnasium import spaces
    from stable_baselines3.common.logger import configure

    from hsrl_agent import HSRL
    from hsrl_gym.envs.actions import SlateSpace
    from hsrl_gym.items.catalog import Catalog

    settings: dict[str, Any] = {"pretrain_epochs": 0, "device": "cpu", "policy_kwargs": policy_kwargs}
    agent = HSRL("HSRLPolicy", None, **settings, _init_setup_model=False)  # type: ignore[arg-type]
    n_items = len(codebook.codes) - 1
    agent.observation_space = spaces.Dict(
        {
            "profile": spaces.Box(-np.inf, np.inf, (P,), np.float32),
            "history": spaces.Box(0, n_items, (H,), np.int64),
        }
    )
    nvec = np.tile(codebook.vocabulary, K).astype(np.int64)
    agent.action_space, agent.n_envs = SlateSpace(nvec, Catalog(codebook, K), K), N_USERS
    agent._setup_model()
    agent.set_logger(configure(None, []))
    return agent


def random_batch(n_users: int, n_items: int, seed: int = 0) -> SlateSamples:
    """Return transitions of users with histories of any length, who were shown random slates."""
    import torch

    from hsrl_agent.buffers import SlateSamples

    generator = torch.Generator().manual_seed(seed)
    history = torch.randint(1, n_items + 1, (n_users, H), generator=generator)
    history *= torch.arange(H) >= torch.randint(0, H, (n_users, 1), generator=generator)
    seen = {"profile": torch.randn(n_users, P, generator=generator), "history": history}
    starts = torch.randint(0, n_items, (n_users, 1), generator=generator)
    slates = (starts + torch.arange(K) * (n_items // K)) % n_items + 1
    clicks = (torch.rand(n_users, K, generator=generator) < 0.3).float()
    some = torch.rand(n_users, generator=generator)
    return SlateSamples(seen, seen, slates, clicks, some, 0 * some, 15 + some, 12 + some, credits=0.1 * clicks)


def actions_of(agent: HSRL, n_items: int) -> dict[str, tuple[Callable[[], Any], int]]:
    """Return what is timed, by name, and how many users each call has."""
    users, batch = random_batch(N_USERS, n_items).observations, random_batch(BATCH, n_items)
    seen = {name: column.numpy() for name, column in users.items()}
    agent.replay_buffer.sample = lambda batch_size: batch  # type: ignore[method-assign,assignment,misc]
    return {
        "decide": (lambda: agent.predict(seen), N_USERS),
        "update": (lambda: agent.train(1, BATCH), BATCH),
        "follow": (lambda: follow_a_move(agent), 1),
    }


def follow_a_move(agent: HSRL) -> None:
    """Move three items to other vectors, as onboarding does, and let the policy follow; the catalog's part counts."""
    catalog = agent.policy.catalog
    catalog.move([1, 2, 3], -catalog.vectors[[1, 2, 3]])
    agent.policy.follow()


def memory(agent: HSRL) -> float:
    """Return the megabytes of weights, of the averages that Adam keeps of them, and of tables, each storage once."""
    policy = agent.policy
    tensors = [*policy.state_dict(keep_vars=True).values(), *policy.buffers()]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    averages = 2 * sum(weight.numel() * 4 for group in policy.optimizer.param_groups for weight in group["params"])
    return (sum(storages.values()) + averages) / 1e6


def measure(options: argparse.Namespace) -> list[Entry]:
    """Return the costs of both methods at all sizes."""
    entries, timed = [], []
    methods: dict[str, dict[str, Any]] = {
        "HSRL": {"n_candidates": options.candidates},
        "item space": {"semantic_ids": False},
    }
    for n_items in options.sizes:
        codebook = random_codebook(n_items)
        for method, policy_kwargs in methods.items():
            if method == "item space" and n_items * N_USERS > options.most:
                continue
            agent = make_agent(codebook, policy_kwargs)
            weights = sum(weight.numel() for weight in agent.policy.network.parameters())
            entries.append(Entry(method, n_items, weights, memory(agent)))
            for what, (action, n_users) in actions_of(agent, n_items).items():
                if method == "HSRL" or n_items * n_users <= options.most:
                    timed.append((action, entries[-1].seconds.setdefault(what, [])))
            print(f"{method}, {n_items:,} items: made", file=sys.stderr, flush=True)
    for _, action_and_seconds in ((turn, pair) for turn in range(options.rounds + 1) for pair in timed):
        action, seconds = action_and_seconds
        before = time.process_time()
        action()
        seconds.append(time.process_time() - before)
    for _, seconds in timed:
        del seconds[0]  # the first call makes buffers
    return entries


def table(entries: Sequence[Entry], title: str) -> Table[Entry]:
    """Return the costs as a table; the ratios are to the smallest size of the same method."""
    from hsrl_agent.evaluation.report.table import Column, Table

    smallest = {entry.method: entry for entry in sorted(entries, key=lambda entry: -entry.n_items)}

    def ratio(entry: Entry, what: str) -> float | None:
        own, least = entry.milliseconds(what), smallest[entry.method].milliseconds(what)
        return None if own is None or least is None else own / least

    columns: list[Column[Entry]] = [
        Column("method", "Method", lambda entry: entry.method),
        Column("items", "Items", lambda entry: entry.n_items, digits=0),
        Column("weights", "Learned weights", lambda entry: entry.weights, digits=0),
        Column("megabytes", "Memory, MB", lambda entry: entry.megabytes, digits=0),
    ]
    for what, label in TIMED.items():
        columns += [
            Column(f"{what}_ms", f"{label}, ms", lambda entry, what=what: entry.milliseconds(what), digits=1),  # type: ignore[misc]
            Column(f"{what}_ratio", "ratio", lambda entry, what=what: ratio(entry, what), digits=2),  # type: ignore[misc]
        ]
    return Table(title, tuple(columns), entries)


def figure(entries: Sequence[Entry]) -> Figure:
    """Return the times against the number of items, one panel for each thing that was timed."""
    from hsrl_agent.evaluation.report.figures import new_figure, tidy
    from hsrl_agent.methods import METHODS

    looks = {"HSRL": METHODS["hsrl"].look, "item space": METHODS["hsrl-items"].look}
    drawn = new_figure(11.0, 3.6)
    for axes, (what, label) in zip(drawn.subplots(1, len(TIMED), squeeze=False)[0], TIMED.items(), strict=True):
        for method, look in looks.items():
            points = [(e.n_items, e.milliseconds(what)) for e in entries if e.method == method and e.seconds.get(what)]
            if points:
                axes.plot(*zip(*points, strict=True), color=look.colour, marker=look.marker, label=method)
        axes.set(xscale="log", yscale="log", xlabel="items", ylabel="milliseconds", title=label)
        axes.legend()
        tidy(axes)
    return drawn


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from hsrl_agent.evaluation.options import Parser, folder, whole_number, whole_numbers

    made = Parser(prog="scale.py", description="Measure what a catalog costs, against its size.")
    add = made.add_argument
    add("--sizes", type=whole_numbers, default=SIZES, metavar="N,..", help="items (1000,10000,100000,1000000)")
    add("--candidates", type=whole_number, default=512, metavar="C", help="that HSRL recalls (512)")
    add("--rounds", type=whole_number, default=9, metavar="N", help="times that each is timed (9)")
    add("--most", type=whole_number, default=40_000_000, metavar="N", help="users times items in item space (4e7)")
    add("--threads", type=whole_number, default=1, metavar="N", help="torch threads (1)")
    add("--out", type=folder, default=Path("results/scale"), metavar="DIR", help="folder (results/scale)")
    return made


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and write it and the figure; return 0.

    Raises:
        HsrlError: for sizes that are too small for the slates or too large for the SIDs.
    """
    import torch

    from hsrl_agent.evaluation.provenance import device_name, git_commit, versions
    from hsrl_agent.evaluation.report.figures import write_png
    from hsrl_agent.files import write_text

    least, largest = 2 * K, VOCABULARY**N_LEVELS
    if not least <= min(options.sizes) <= max(options.sizes) <= largest:
        raise HsrlError(f"got --sizes {','.join(map(str, options.sizes))}, expected {least} to {largest:,} items.")
    torch.set_num_threads(options.threads)
    entries = measure(options)
    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    commit = (git_commit() or "unknown")[:8]
    title = (
        f"{device_name('cpu')}, {threads}; {options.candidates} candidates; torch {versions()['torch']}; "
        f"commit {commit}"
    )
    made = table(entries, title)
    write_text(options.out / "scale.md", f"# Cost of a catalog\n\n{title}\n\n{made.markdown()}\n")
    write_text(options.out / "scale.csv", made.frame().to_csv(index=False))
    write_png(figure(entries), options.out / "scale.png")
    console = make_console()
    console.print(made.rich(console.width))
    say(console, f"written: {options.out / 'scale.md'}, scale.csv, scale.png")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    return run_command("scale.py", lambda: run(parser().parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
