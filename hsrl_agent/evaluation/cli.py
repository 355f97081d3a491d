"""The command `hsrl-agent`: compare methods, render finished results again, list the methods."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from hsrl_agent.evaluation.terminal import make_console, run_command, say

_HELP = """usage: hsrl-agent COMMAND [options]

  compare   learn, score and compare; print the paper's tables, draw its figures
  report    write and print the tables and figures of finished results again
  methods   list the methods and their settings

hsrl-agent COMMAND --help says more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status, 2 after one line for a wrong call."""
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    if name in ("-h", "--help"):
        print(_HELP)
        return 0
    commands: dict[str, Callable[[Sequence[str]], int]] = {"compare": _compare, "report": _report, "methods": _methods}
    if name not in commands:

        def refuse() -> int:
            from hsrl_gym.errors import unknown_name

            raise unknown_name("command", name, commands)

        return run_command("hsrl-agent", refuse)
    return commands[name](rest)


def _compare(arguments: Sequence[str]) -> int:
    from hsrl_agent.evaluation.compare import main as compare

    return compare(arguments)


def _report(arguments: Sequence[str]) -> int:
    name = "hsrl-agent report"

    def work() -> int:
        from pathlib import Path

        from hsrl_agent.evaluation import options
        from hsrl_agent.evaluation.report.write import KINDS, kind_of, print_report, write_report
        from hsrl_agent.evaluation.store import read_results

        parser = options.Parser(prog=name, description="Write and print the tables and figures of finished results.")
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="results.jsonl, or its folder")
        parser.add_argument("--out", type=options.folder, required=True, metavar="DIR", help="folder of the tables")
        parser.add_argument("--what", choices=KINDS, help="which tables (those of the kind of the results)")
        given = parser.parse_args(arguments)
        results = [result for path in given.paths for result in read_results(path)]
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

    return run_command(name, work)


def _methods(arguments: Sequence[str]) -> int:
    name = "hsrl-agent methods"

    def work() -> int:
        from hsrl_agent.evaluation.options import Parser
        from hsrl_agent.evaluation.plugins import settings_of
        from hsrl_agent.evaluation.report.table import Column, Table
        from hsrl_agent.method import Method
        from hsrl_agent.methods import METHODS

        Parser(prog=name, description="List the methods: name, label, action mode and settings.").parse_args(arguments)
        columns: list[Column[Method]] = [
            Column("name", "Name", lambda method: method.name),
            Column("label", "Label", lambda method: method.label),
            Column("action_mode", "Action mode", lambda method: method.action_mode),
            Column("learns", "Learns", lambda method: "online" if method.learns_online else "offline"),
            Column("settings", "Settings", lambda method: ", ".join(settings_of(method)) or "none"),
        ]
        console = make_console()
        table = Table("Methods", columns, list(METHODS.values())).rich(console.width)
        for column in table.columns:
            column.justify = "left"
        console.print(table)
        return 0

    return run_command(name, work)


if __name__ == "__main__":
    sys.exit(main())
