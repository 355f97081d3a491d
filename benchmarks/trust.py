"""Test what the package promises: kills, damaged files, equal seeds, flat memory, and tests that notice mistakes.

    make trust
    python benchmarks/trust.py --short
    python benchmarks/trust.py --only fuzz --cases 2000 --seed 1

It takes at most 20 minutes on two cores, and writes OUT/REPORT.md. Files that a reader could not bear are in
OUT/failures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promises import determinism, fuzz, kills, memory, mutation
from promises.promise import Finding, Say, report, table


@dataclass(frozen=True)
class Part:
    """One promise to test.

    Attributes:
        option: that says how much of it.
        help: on that option.
        usual: the number without the option.
        short: the number with --short.
        run: tests so much of it.
    """

    option: str
    help: str
    usual: int
    short: int
    run: Callable[[int, argparse.Namespace, Say], Finding]


PARTS: Mapping[str, Part] = {
    "kills": Part("kills", "kills of commands", 60, 2, lambda n, given, say: kills.run(n, given.seed, say)),
    "fuzz": Part(
        "cases",
        "damaged logs and bundles",
        100_000,
        1_500,
        lambda n, given, say: fuzz.run(n, given.seed, given.jobs, given.out, say),
    ),
    "determinism": Part(
        "methods", "methods that learn twice", 99, 3, lambda n, given, say: determinism.run(n, given.seed, say)
    ),
    "memory": Part("steps", "user-steps", 2_000_000, 100_000, lambda n, given, say: memory.run(n, given.seed, say)),
    "mutants": Part(
        "mutants", "mutants of the core", 240, 4, lambda n, given, say: mutation.run(n, given.seed, given.jobs, say)
    ),
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from hsrl_agent.evaluation import options

    made = options.Parser(prog="trust.py", description=__doc__.splitlines()[0])
    made.add_argument("--only", type=options.names, metavar="PART,..", help=f"any of {', '.join(PARTS)} (all)")
    made.add_argument("--short", action="store_true", help="a minute in all: smaller numbers for what no option names")
    for part in PARTS.values():
        usual = f"({part.usual:,}; {part.short:,} with --short)"
        made.add_argument(f"--{part.option}", type=options.whole_number, metavar="N", help=f"{part.help} {usual}")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of every draw (0)")
    made.add_argument("--jobs", type=options.whole_number, default=2, metavar="N", help="processes (2)")
    made.add_argument("--out", type=options.folder, default=Path("results/trust"), help="folder (results/trust)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0; 1 if a promise is not kept; 2, after one line, for a call that cannot be run; 130 if interrupted."""
    from hsrl_agent.evaluation.terminal import run_command  # not at the top: mutants are imported after this file

    return run_command("trust.py", lambda: work(arguments))


def work(arguments: Sequence[str] | None) -> int:
    """Test the promises one after the other; the report is written after each, in case of an interruption."""
    import torch

    from hsrl_agent.evaluation.provenance import device_name, git_commit
    from hsrl_agent.evaluation.terminal import INTERRUPTED, make_console, say
    from hsrl_gym.errors import unknown_name

    given = parser().parse_args(arguments)
    names = given.only or tuple(PARTS)
    for name in names:
        if name not in PARTS:
            raise unknown_name("part", name, PARTS)
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    state = f"commit {(git_commit() or 'unknown')[:8]}; {device_name('cpu')}; {given.jobs} processes; seed {given.seed}"
    command = " ".join(["python benchmarks/trust.py", *(sys.argv[1:] if arguments is None else arguments)])
    console, tested = make_console(), list[Finding]()
    for name in names:
        part = PARTS[name]
        n = getattr(given, part.option) or (part.short if given.short else part.usual)
        try:
            tested.append(_tested(name, part, n, given, lambda text: say(console, text)))
        except KeyboardInterrupt:
            print(
                f"trust.py: interrupted in {name}; {given.out / 'REPORT.md'} has the parts before it.", file=sys.stderr
            )
            return INTERRUPTED
        (given.out / "REPORT.md").write_text(report(state, command, tested), encoding="utf-8")
    console.print(table(tested))
    for one in tested:
        for note in one.notes:
            say(console, f"- {note}")
    say(console, f"written: {given.out / 'REPORT.md'}")
    return int(not all(one.kept for one in tested))


def _tested(name: str, part: Part, n: int, given: argparse.Namespace, say: Say) -> Finding:
    try:
        return part.run(n, given, say)
    except Exception as error:  # what cannot be tested is no promise kept, and the other parts go on
        what = " ".join(f"{type(error).__name__}: {error}".split())[:1_000]
        return Finding(f"{name}: could not be tested", part.help, "none", False, [what])


if __name__ == "__main__":
    sys.exit(main())
