"""The command `hsrl-agent`: compare methods, render finished results again, list the methods."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hsrl_agent.evaluation.terminal import make_console, run_command, say

if TYPE_CHECKING:  # imported where it is used, so that --help comes at once
    from hsrl_agent.evaluation.options import Parser

_HELP = """usage: hsrl-agent COMMAND [options]

  compare   learn, score and compare; print the paper's tables, draw its figures
  report    write and print the tables and figures of finished results again
  methods   list the methods and their settings

hsrl-agent COMMAND --help says more; hsrl-agent --version prints the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status, 2 after one line for a wrong call."""
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    if name in ("-h", "--help"):
        print(_HELP)
        return 0
    if name == "--version":
        from hsrl_gym import __version__

        print(f"hsrl-agent {__version__}")
        return 0
    if name == "compare":
        from hsrl_agent.evaluation.compare import main as compare

        return compare(rest)
    works: dict[str, Callable[[Namespace], int]] = {"report": _report, "methods": _methods}

    def work() -> int:
        given = parser(name).parse_args(rest)  # refuses a command that is none
        return works[name](given)

    return run_command(f"hsrl-agent {name}" if name in works else "hsrl-agent", work)


def parser(name: str) -> Parser:
    """Return the parser of a command's options.

    Raises:
        HsrlError: for an unknown command.
    """
    from hsrl_agent.evaluation import compare, options
    from hsrl_agent.evaluation.report.write import KINDS
    from hsrl_gym.errors import unknown_name

    if name == "compare":
        return compare.parser()
    if name == "methods":
        about = "List the methods: name, label, action mode and settings."
        made = options.Parser(prog="hsrl-agent methods", description=about)
        made.add_argument("--all", action="store_true", help="also the settings that Stable-Baselines3 declares")
        return made
    if name != "report":
        raise unknown_name("command", name, ("compare", "report", "methods"))
    about = "Write and print the tables and figures of finished results."
    made = options.Parser(prog="hsrl-agent report", description=about)
    made.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="results.jsonl, or its folder")
    made.add_argument("--out", type=options.folder, required=True, metavar="DIR", help="folder of the tables")
    made.add_argument("--what", choices=KINDS, help="which tables (those of the kind of the results)")
    return made


def _report(given: Namespace) -> int:
    from hsrl_agent.evaluation.report.write import kind_of, print_report, write_report
    from hsrl_agent.evaluation.store import read_together

    results = read_together(given.paths)
    seeds = {
        task: sorted({one.spec.seed for one in results if one.spec.task == task})
        for task in dict.fromkeys(result.spec.task for result in results)
    }
    what = given.what or kind_of(results)
    console = make_console()
    files = write_report(results, given.out, what, seeds)
    print_report(console, results, what, seeds)
    for path in files:
        say(console, f"written: {path}")
    return 0


def _methods(given: Namespace) -> int:
    from hsrl_agent.evaluation.plugins import settings_of
    from hsrl_agent.evaluation.report.table import Column, Table
    from hsrl_agent.method import Method
    from hsrl_agent.methods import METHODS

    def settings(method: Method) -> str:
        return ", ".join(settings_of(method, given.all)) or ("those of SB3" if settings_of(method) else "none")

    columns: list[Column[Method]] = [
        Column("name", "Name", lambda method: method.name),
        Column("label", "Label", lambda method: method.label),
        Column("action_mode", "Action mode", lambda method: method.action_mode),
        Column("learns", "Learns", lambda method: "online" if method.learns_online else "offline"),
        Column("settings", "Settings", settings),
    ]
    console = make_console()
    table = Table("Methods", columns, list(METHODS.values())).rich(console.width)
    for column in table.columns:
        column.justify = "left"
    console.print(table)
    if not given.all:
        say(console, "The settings that Stable-Baselines3 declares are left out; --all shows them too.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
