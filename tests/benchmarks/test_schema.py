"""The schema describes every table that is written, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import run_all
from backends.contract import EPSILON_HAT, PRECISIONS, TEXTBOOK
from benchmarks.analysis.findings import compute_findings, control_of, write
from benchmarks.bundle.checks import check_table
from benchmarks.bundle.reader import Bundle, read_table
from benchmarks.commands import sweep
from benchmarks.machine.settings import ROOT
from benchmarks.schema import (
    COMMUNICATION_SECONDS,
    HORIZON,
    HOST_SECONDS,
    INPUT_SECONDS,
    LEVELS,
    PEAK_FLOPS,
    STAGES,
    control_name,
    repetition_in,
)
from benchmarks.schema import frames as tables
from benchmarks.schema.tables import COMPUTED, IDENTITY, MEASURED, TABLES, Column, Table, read
from docs.make_bundles_page import page
from tests.synthetic_bundles import write_bundle

EMPTY_WITHOUT_FLOORS = {"peak_flops", "pass_seconds"}
EMPTY_WITHOUT_GPU = {"gpu_mhz", "gpu_celsius", "peak_device_mib", "energy_mj_per_step"}
EMPTY_WITHOUT_FAILURES = {"not_read", "reason", "diverged"}


def problems_of(folder: Path) -> list[str]:
    """The problems of every CSV in a folder, each with the name of its file."""
    paths = sorted(folder.glob("*.csv"))
    assert paths
    problems = []
    for path in paths:
        table, content = TABLES[path.stem], path.read_bytes()
        # A reader takes other columns and another order; what is written has neither.
        if (names := content.decode().splitlines()[0].split(",")) != table.names:
            problems.append(f"{path.name}: {sorted({*names} ^ {*table.names})} are out of place")
        else:
            problems += [f"{path.name}: {problem}" for problem in check_table(content, table)[1]]
    return problems


@pytest.fixture(scope="module")
def run(small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that writes every table: the tutorial's preset has readings."""
    folder = tmp_path_factory.mktemp("schema") / "bundle"
    effort = ("--preset", "tutorial", "--steps", "200", "--launches", "1")
    assert run_all.main([*small, *effort, "--output", str(folder)]) == 0
    return folder


def test_every_table_of_a_run_is_as_the_schema_has_it(run: Path) -> None:
    assert problems_of(run) == []
    written = {path.stem for path in run.glob("*.csv")}
    assert written == TABLES.keys() - {"sweep", "group_floors", "scaling"}


def test_every_column_of_a_run_has_values(run: Path) -> None:
    """So a column that stands in the schema alone is found, even one that may be empty."""
    expected = (
        EMPTY_WITHOUT_GPU | EMPTY_WITHOUT_FAILURES | EMPTY_WITHOUT_FLOORS | {"variant", "node"}
    )
    expected |= {"ranks", "batch", "reduce_seconds"}  # there are no groups
    # A tutorial's cases learn while they are timed: see test_runs.py.
    for name in MEASURED.keys() - {"outcomes", "learning", "trainings"}:
        content = pd.read_csv(run / f"{name}.csv")
        assert set(content.columns[content.isna().all()]) <= expected, name


@pytest.mark.parametrize("name", ["samples", "launches"])
def test_a_measured_column_in_the_schema_alone_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    table = MEASURED[name]
    further = replace(table.columns[-1], name="further", may_be_empty=False)
    monkeypatch.setitem(TABLES, name, replace(table, columns=(*table.columns, further)))
    folder = write_bundle(tmp_path / "bundle", {"jax compiled": 1.0})
    assert f"{name}.csv: ['further'] are out of place" in problems_of(folder)


def test_a_measured_column_in_code_alone_is_refused(tmp_path: Path) -> None:
    from benchmarks.bundle.writer import BundleWriter

    with pytest.raises(ValueError, match="further"):
        BundleWriter(tmp_path).append("rounds", launch=0, further=1)


@pytest.mark.parametrize("name", sorted(COMPUTED.keys() - {"sweep"}))
def test_a_computed_column_in_code_or_schema_alone_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Sabotage of the schema: a column less (so it is in code alone), and one more."""
    times = {"jax compiled": 1.0, "pytorch compiled": 2.0, "numpy floor": 0.5}
    times |= {"pytorch ddp 2 ranks": 1.5, "numpy floor 2 ranks": 0.4}
    folder = write_bundle(tmp_path / "bundle", times)
    launches = pd.read_csv(folder / "launches.csv")
    # The faster case starts more slowly, so that it overtakes the other.
    launches.loc[launches["case"] == "jax compiled", "first_call_seconds"] = 9.0
    launches.to_csv(folder / "launches.csv", index=False)
    samples = pd.read_csv(folder / "samples.csv")
    rows = samples.drop_duplicates(["launch", "case"]).assign(
        step=0, updates=1, images=8, loss=1.0, accuracy=0.5
    )
    rows[MEASURED["readings"].names].to_csv(folder / "readings.csv", index=False)
    bundle, table = Bundle.read(folder), TABLES[name]
    assert len(getattr(compute_findings(bundle), name)), "nothing to check"
    further = replace(table.columns[-1], name="further")
    for columns in (table.columns[:-1], (*table.columns, further)):
        monkeypatch.setitem(TABLES, name, replace(table, columns=columns))
        with pytest.raises(ValueError, match=f"{name}.csv"):
            compute_findings(bundle)


def test_values_out_of_range_are_named_with_line_and_column() -> None:
    table = TABLES["accuracies"]
    row = {column.name: "1" for column in table.columns} | {"adam": "textbook"}

    def problems(**changes: str) -> list[str]:
        lines = [",".join(cells.values()) for cells in (row, row | changes)]
        content = "\n".join([",".join(row), *lines, ""])
        return [str(one) for one in check_table(content.encode(), table)[1]]

    assert problems() == []
    assert problems(test_accuracy="1.5") == [
        "line 3, test_accuracy: '1.5' is outside of 0 to 1",
    ]
    assert problems(seeds="2.5") == ["line 3, seeds: '2.5' is not a whole number"]
    assert problems(seeds="") == ["line 3, seeds: is empty"]
    assert problems(test_loss="high") == ["line 3, test_loss: 'high' is not a number"]
    assert problems(test_loss="nan", test_loss_low="") == []
    assert problems(test_loss="inf") == []
    assert problems(adam="mine") == ["line 3, adam: 'mine' is none of textbook, epsilon-hat"]
    assert problems(group="") == ["line 3, group: is empty"]


@pytest.mark.parametrize(
    "folder",
    sorted(path.parent for path in (ROOT / "results").rglob("environment.json")),
    ids=lambda folder: folder.name,
)
def test_what_is_computed_from_committed_runs_is_as_the_schema_has_it(
    folder: Path, tmp_path: Path
) -> None:
    """Some measured tables are from before the column `repetition`."""
    write(compute_findings(Bundle.read(folder)), tmp_path)
    assert problems_of(tmp_path) == []


def test_the_table_of_a_sweep_is_as_the_schema_has_it(tmp_path: Path) -> None:
    points = [
        sweep.Point(factor="width", value=value, layer_sizes=(784, value, 10), batch_size=32)
        for value in (16, 32)
    ]
    summaries = {
        point: compute_findings(
            Bundle.read(write_bundle(tmp_path / "points" / point.name, {"jax compiled": 1.0}))
        ).summary
        for point in points
    }
    sweep.write(tmp_path, summaries, Console(quiet=True))
    assert problems_of(tmp_path) == []
    assert pd.read_csv(tmp_path / "sweep.csv")["value"].tolist() == [16, 32]


def test_tables_are_read_with_the_types_of_the_schema(run: Path) -> None:
    for name, table in MEASURED.items():
        content, problems = read_table(run, name)
        assert problems == []
        assert list(content.columns) == table.names
        types = {column: str(dtype) for column, dtype in content.dtypes.items()}
        assert types == {column.name: column.dtype for column in table.columns}, name


def test_a_control_is_a_column_and_in_older_bundles_a_name(tmp_path: Path) -> None:
    times = {"jax compiled": 1.0, "jax compiled (control)": 1.0, "jax compiled (control 2)": 1.0}
    new = write_bundle(tmp_path / "new", times)
    for name in MEASURED:
        path = new / f"{name}.csv"
        content = pd.read_csv(path)
        (tmp_path / "old").mkdir(exist_ok=True)
        old = content.drop(columns="repetition", errors="ignore")
        old.to_csv(tmp_path / "old" / path.name, index=False)
        old_rows, new_rows = (read_table(folder, name)[0] for folder in (tmp_path / "old", new))
        pd.testing.assert_frame_equal(old_rows, new_rows)
    summary = compute_findings(Bundle.read(new)).summary.set_index("case")
    assert summary["repetition"].to_dict() == dict(zip(times, (0, 1, 2), strict=True))
    assert control_of(summary.reset_index()).sum() == 2
    assert summary["rank"].notna().sum() == 1


def test_the_names_of_controls_are_read_back() -> None:
    for repetition in range(4):
        assert repetition_in(control_name("jax compiled", repetition)) == repetition


def test_a_bundle_with_a_backend_that_is_not_registered_is_analysed(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", {"mxnet gluon": 1.0, "jax compiled": 2.0})
    summary = compute_findings(Bundle.read(folder)).summary.set_index("case")
    assert summary.loc["mxnet gluon", "tier"] == ""
    assert summary.loc["mxnet gluon", "rank"] == 1


def test_a_table_of_rows_refuses_other_columns() -> None:
    row: dict[str, Any] = {"case": "a", "steps": 1, "total_seconds": 1.0}
    assert list(tables.from_rows("totals", [row])) == ["case", "steps", "total_seconds"]
    for wrong in (row | {"other": 1}, {"case": "a", "steps": 1}):
        with pytest.raises(ValueError, match=r"totals\.csv"):
            tables.from_rows("totals", [wrong])


def test_the_page_is_made_from_the_schema() -> None:
    assert (ROOT / "docs" / "bundles.md").read_text() == page() + "\n", (
        "run: python -m docs.make_bundles_page > docs/bundles.md"
    )


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_columns_are_described_in_sentences(table: Table) -> None:
    assert len(set(table.names)) == len(table.names)
    assert table.about.endswith(".")
    for column in table.columns:
        assert column.about.endswith("."), column.name
        assert column.about[0].isupper() or column.about[0] in "01`p", column.name
        assert column.kind == "text" or not column.choices
        assert np.isneginf(column.lowest) or column.kind in ("integer", "number")


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("precision", PRECISIONS),
        ("adam", (TEXTBOOK, EPSILON_HAT)),
        ("level", LEVELS),
        ("stage", (*STAGES, HORIZON)),
        ("part", (HOST_SECONDS, INPUT_SECONDS, COMMUNICATION_SECONDS, PEAK_FLOPS)),
    ],
)
def test_choices_are_those_of_the_program(name: str, choices: Iterable[str]) -> None:
    columns = [one for table in TABLES.values() for one in table.columns if one.name == name]
    assert {column.choices for column in columns} == {tuple(choices)}


def test_an_estimate_is_followed_by_its_interval() -> None:
    entry = {"kind": "estimate", "unit": "ms", "highest": 5, "about": "A time."}
    columns = read({"measured": {"a": {"about": "A.", "columns": {"time": entry}}}}, "measured")
    assert columns["a"].columns == (
        Column(name="time", about="A time.", unit="ms", lowest=0, highest=5, may_be_empty=True),
        *(
            Column(
                name=f"time_{end}",
                about=f"{side} end of the 95% interval of `time`.",
                unit="ms",
                may_be_empty=True,
            )
            for end, side in (("low", "Lower"), ("high", "Upper"))
        ),
    )


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"kind": "integer"}, "about"),
        ({"kind": "whole", "about": "A count."}, "whole"),
        ({"kind": "integer", "about": "A count.", "units": "steps"}, "units"),
        ({"kind": "integer", "about": "A count.", "lowest": "none"}, "lowest"),
        ({"include": "nothing"}, "nothing"),
    ],
)
def test_a_mistake_in_the_list_of_tables_is_an_error(entry: dict[str, Any], problem: str) -> None:
    content = {"shared": {}, "measured": {"a": {"about": "A.", "columns": {"steps": entry}}}}
    with pytest.raises((KeyError, TypeError, ValueError), match=problem):
        read(content, "measured")


def test_every_case_has_the_same_columns_everywhere() -> None:
    for table in MEASURED.values():
        if "case" in table.names:
            start = table.names.index("case")
            assert tuple(table.names[start : start + len(IDENTITY)]) == IDENTITY


@pytest.mark.parametrize("cell", ["True", "TRUE", "true"])
def test_a_flag_is_read_as_spreadsheets_write_it_too(cell: str) -> None:
    assert Column(name="passed", about="A flag.", kind="flag").read(cell) is True
    with pytest.raises(ValueError, match="neither True nor False"):
        Column(name="passed", about="A flag.", kind="flag").read(f"{cell}!")
