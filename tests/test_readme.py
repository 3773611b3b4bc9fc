"""The README quotes what a committed bundle holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.analysis.findings import Bundle, find
from benchmarks.machine.settings import ROOT
from benchmarks.reports.run import markdown

QUOTE = re.compile(r"<!-- from (\S+?);.*?-->\n(.*?)\n<!-- end -->", re.DOTALL)

BUNDLES = sorted(path.parent for path in (ROOT / "results" / "reference").glob("*/report.md"))


def test_quoted_tables_are_in_their_reports() -> None:
    quotes = QUOTE.findall((ROOT / "README.md").read_text())
    assert quotes
    for path, table in quotes:
        assert table in (ROOT / path).read_text()


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.name)
def test_reports_follow_from_their_csvs(folder: Path) -> None:
    bundle = Bundle.read(folder)
    assert markdown(bundle, find(bundle)) == (folder / "report.md").read_text()
