"""Say at the end how the blocks of the documentation were tested."""

from __future__ import annotations

from collections import Counter

from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print how many blocks ran, were parsed, and were skipped."""
    reports = [report for kind in ("passed", "skipped") for report in terminalreporter.stats.get(kind, [])]
    found = Counter(
        str(value)
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "block" and (report.when == "call")
    )
    if found:
        terminalreporter.write_line(
            f"documentation: {found['run']} blocks ran, {found['parse']} were parsed, {found['skip']} were skipped"
        )
