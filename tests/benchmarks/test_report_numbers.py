"""Every number in the tables of a report stands in the bundle's CSVs, cell by cell."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.commands import report as bundle_commands
from benchmarks.machine.settings import ROOT
from benchmarks.schema.tables import IDENTITY, MEASURED
from tests.support.report_sources import KNOWN, NUMBER, Sources, doubt, doubts
from tests.support.report_tables import ReadTable, in_markdown, in_page
from tests.synthetic_bundles import write_bundle

BUNDLES = sorted(path.parent for path in (ROOT / "results" / "reference").glob("*/samples.csv"))


TIMES = {
    "numpy eager": 3.0,
    "jax compiled": 1.0,
    "jax eager streamed": 2.0,
    "jax scan": 0.9,
    "jax compiled (old)": 1.1,
}


def synthetic(folder: Path) -> Path:
    """A bundle with a case not certified, one skipped, figures of a GPU and readings."""
    write_bundle(folder, TIMES, uncertified=("jax eager streamed",), skipped=("pytorch eager",))
    launches = pd.read_csv(folder / "launches.csv")
    launches["peak_device_mib"] = 512.0 + launches["launch"]
    launches["energy_mj_per_step"] = 4.321 * (1 + launches["launch"])
    launches.to_csv(folder / "launches.csv", index=False)
    rows = [
        {
            **row[["launch", "seed", *IDENTITY]],
            "step": step,
            "updates": step + 1,
            "images": 512,
            "loss": 2.3 / (1 + step + row["seed"]),
            "accuracy": 0.9 + step / 1e5 - row["seed"] / 1e3,
        }
        for _, row in launches.iterrows()
        for step in (0, 1000, 1500)
    ]
    pd.DataFrame(rows, columns=MEASURED["readings"].names).to_csv(
        folder / "readings.csv", index=False
    )
    return folder


@pytest.fixture(scope="module", params=[*BUNDLES, None], ids=lambda path: path and path.name)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, with its report written by this version."""
    folder = tmp_path_factory.mktemp("numbers") / "bundle"
    if request.param:
        shutil.copytree(request.param, folder)
    else:
        synthetic(folder)
    bundle_commands.write_reports(folder)
    return folder


def test_every_cell_of_both_reports_stands_in_the_csvs(folder: Path) -> None:
    page = in_page((folder / "report.html").read_text())
    text = in_markdown((folder / "report.md").read_text())
    assert doubts(folder, page) == []
    assert doubts(folder, text) == []


def test_no_table_is_overlooked(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    page = in_page(text)
    assert len(page) == text.count("\n<table")
    places = {table.place for table in page}
    assert {
        "Ranking",
        "Ladders",
        "Accuracy",
        "Certificates",
    } <= places
    judged = pd.read_csv(folder / "verdicts.csv")["relation"]
    assert ("Which speeds differ" in places) == ("tier" in set(judged))
    assert ("What the tutorial's loop prints" in places) == (folder / "tutorial.csv").exists()
    assert ("Where the time goes" in places) == ("floor" in (folder / "floors.csv").read_text())


def test_both_reports_have_the_same_tables(folder: Path) -> None:
    page = in_page((folder / "report.html").read_text())
    # The page shows the tables of all tiers as one.
    shown = [table for table in page if table.place != "Ranking"]
    text = in_markdown((folder / "report.md").read_text())
    text = [table for table in text if table.place != "Ranking"]

    def order(table: ReadTable) -> tuple[int, list[str]]:
        return list(KNOWN).index(table.place), table.columns

    assert sorted(shown, key=order) == sorted(text, key=order)


def altered(text: str) -> Iterator[str]:
    """The cell with the last digit of one number changed, for each number in it."""
    for number in NUMBER.finditer(text):
        place = number.end() - 1 - number.group().endswith("%")
        digit = str((int(text[place]) + 1) % 10)
        yield text[:place] + digit + text[place + 1 :]


@pytest.mark.slow
def test_a_number_typed_by_hand_is_found(folder: Path) -> None:
    """Every number of every cell, altered one at a time."""
    source = Sources(folder)
    count, as_true = 0, []
    for table in in_page((folder / "report.html").read_text()):
        for cells in table.cells():
            # Another launch may have measured the very same.
            for column in cells.keys() - {"launch"}:
                for wrong in altered(cells[column]):
                    if not doubt(source, table.place, cells | {column: wrong}):
                        as_true.append((table.place, column))
                    count += 1
    assert count > 300
    assert as_true == []


def test_a_number_of_another_row_is_found(folder: Path) -> None:
    """Two numbers of a table, swapped: a ranking's, or a ladder's where a tier has one case."""
    text = (folder / "report.md").read_text()
    steps = [table for table in in_markdown(text) if "ms a step" in table.columns]
    ranking = next(table for table in steps if len(table.rows) > 1)
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
    renamed = page.replace('"number">ms a step<', '"number">ms a block<')
    assert renamed != page
    assert any("no source is known" in one for one in doubts(folder, in_page(renamed)))
