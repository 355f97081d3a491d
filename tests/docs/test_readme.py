"""README and CONTRIBUTING: length, links, and numbers that stand in the table they come from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "benchmarks" / "results"
NUMBER = re.compile(r"\d+\.\d\d \[[^\]]+\]")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_files(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


@pytest.mark.parametrize(
    ("page", "table"), [("README.md", "table2/table2.md"), ("docs/guides/your-logs.md", "ml100k/table2.md")]
)
def test_numbers_stand_in_the_table(page: str, table: str) -> None:
    rows = [
        line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if NUMBER.search(line) and "|" in line
    ]
    written = (TABLES / table).read_text(encoding="utf-8").splitlines()
    assert rows
    for row in rows:
        label = row.split("|")[1].strip().strip("*")
        known = "\n".join(line for line in written if line.split("|")[1:2] == [f" {label} "])
        assert known, f"{page}: got a row {label!r}, expected one of {table}"
        for number in NUMBER.findall(row):
            assert number in known, f"{page}: got {number} for {label}, expected a cell of {table}"
