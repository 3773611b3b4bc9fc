"""Every number in the tables of a report stands in the bundle's CSVs, cell by cell."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bundle_commands
from benchmarks.process import ROOT
from tests.report_tables import (
    BEHIND,
    KNOWN,
    NUMBER,
    ReadTable,
    Sources,
    doubt,
    doubts,
    in_markdown,
    in_page,
)

BUNDLES = sorted(path.parent for path in (ROOT / "results").glob("reference-*/samples.csv"))


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda path: path.name)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle as it was measured, its report written anew."""
    folder = tmp_path_factory.mktemp("numbers") / "bundle"
    shutil.copytree(request.param, folder)
    bundle_commands.write_reports(folder)
    return folder


def test_every_cell_of_both_reports_stands_in_the_csvs(folder: Path) -> None:
    page = in_page((folder / "report.html").read_text())
    text = in_markdown((folder / "report.md").read_text())
    assert {table.place for table in page} == {*KNOWN, *BEHIND}
    assert {table.place for table in text} == set(KNOWN)
    assert all(table.rows for table in page + text)
    assert doubts(folder, page) == []
    assert doubts(folder, text) == []


def test_both_reports_have_the_same_tables(folder: Path) -> None:
    page = in_page((folder / "report.html").read_text())
    shown = [table for table in page if table.place not in BEHIND]
    text = in_markdown((folder / "report.md").read_text())

    def order(table: ReadTable) -> tuple[int, list[str]]:
        return list(KNOWN).index(table.place), table.columns

    assert sorted(shown, key=order) == sorted(text, key=order)


def altered(text: str) -> Iterator[str]:
    """A cell with another last digit, of each number in it."""
    for number in NUMBER.finditer(text):
        place = number.end() - 1 - number.group().endswith("%")
        digit = str((int(text[place]) + 1) % 10)
        yield text[:place] + digit + text[place + 1 :]


def test_a_number_typed_by_hand_is_found(folder: Path) -> None:
    """Whatever number of whatever cell is altered."""
    source = Sources(folder)
    count = 0
    for table in in_page((folder / "report.html").read_text()):
        for cells in table.cells():
            # Another launch may have measured the very same.
            for column in cells.keys() - {"launch"}:
                for wrong in altered(cells[column]):
                    assert doubt(source, table.place, cells | {column: wrong}), (column, wrong)
                    count += 1
    assert count > 1000


def test_a_number_of_another_row_is_found(folder: Path) -> None:
    """Two figures of a table in each other's place."""
    text = (folder / "report.md").read_text()
    ranking, *_ = in_markdown(text)
    column = ranking.columns.index("ms a step")
    rows = [list(row) for row in ranking.rows]
    rows[0][column], rows[1][column] = rows[1][column], rows[0][column]
    assert len(doubts(folder, [replace(ranking, rows=rows)])) == 2
    # And in the text itself.
    swapped = text.replace(ranking.rows[0][column], "9.99", 1)
    assert swapped != text
    assert doubts(folder, in_markdown(swapped))


def test_a_column_without_a_source_is_found(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    renamed = re.sub(r">GFLOP/s<", ">TFLOP/s<", page, count=1)
    assert any("no source is known" in one for one in doubts(folder, in_page(renamed)))
