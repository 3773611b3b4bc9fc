"""Damaged bundles: whole rows are reported, damaged ones named, and nothing else happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.bundle.checks import check_table, describe_damage
from benchmarks.bundle.reader import Bundle, read_environment
from benchmarks.bundle.writer import BundleWriter
from benchmarks.errors import UsageError
from benchmarks.reports.run import document as report
from benchmarks.schema.tables import IDENTITY, MEASURED, Column, Table
from tests.support import runs
from tests.support.damage import Files, damage, read_files, small_bundle, try_all, write_files
from tests.synthetic_bundles import write_bundle

LINE = 3
"""The line of a file that is damaged; the others stay whole."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Findings]:
    bundle = Bundle.read(small_bundle(tmp_path_factory.mktemp("whole") / "bundle"))
    return bundle, compute_findings(bundle)


@pytest.fixture(scope="module")
def files(whole: tuple[Bundle, Findings]) -> Files:
    return read_files(whole[0].folder)


def lines_of(files: Files, name: str) -> list[str]:
    """The lines of a table; one that has a single row gets LINE by a second case."""
    lines = (files[f"{name}.csv"] or b"").decode().splitlines()
    return lines if len(lines) >= LINE else [*lines, lines[-1].replace("pytorch", "numpy")]


def content(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def with_cell(lines: list[str], column: str, cell: str) -> bytes:
    """The table with another cell in LINE."""
    cells = lines[LINE - 1].split(",")
    cells[lines[0].split(",").index(column)] = cell
    return content([*lines[: LINE - 1], ",".join(cells), *lines[LINE:]])


def wrong_cells(column: Column) -> Iterator[str]:
    """Cells that the column cannot hold, by what the schema says of it."""
    yield '"'
    yield "a\0b"
    yield "a,b"
    if not column.may_be_empty:
        yield ""
    if column.kind != "text" or column.choices or column.name in IDENTITY:
        yield "something"
    if column.kind in ("integer", "number"):
        yield from ("0,5", "1_000", "0x1F", "-inf", "1.5.2", "١", "None")
        if not column.may_be_empty:
            yield "nan"
        if column.highest < inf:
            yield from ("inf", "9" * 400, f"{2 * column.highest:.0f}")
        yield f"{column.lowest - 1:g}"
    if column.kind == "integer":
        yield "0.5"


@pytest.mark.parametrize("table", MEASURED.values(), ids=lambda table: table.name)
def test_no_cell_is_used_that_its_column_cannot_hold(
    table: Table, whole: tuple[Bundle, Findings], files: Files
) -> None:
    lines, described = lines_of(files, table.name)[: LINE + 1], whole[0].environment
    rows, problems = check_table(content(lines), table, described)
    assert problems == []
    for column in table.columns:
        for cell in wrong_cells(column):
            damaged, (problem,) = check_table(with_cell(lines, column.name, cell), table, described)
            assert problem.line == LINE, (column.name, cell)
            assert problem.column in (column.name, ""), (column.name, cell)
            assert len(damaged) == len(rows) - 1


@pytest.mark.parametrize("table", [MEASURED["samples"], MEASURED["rounds"]])
def test_a_damaged_row_is_named_in_the_report(table: Table, files: Files, tmp_path: Path) -> None:
    lines = lines_of(files, table.name)
    damaged: Files = {f"{table.name}.csv": with_cell(lines, table.names[0], "")}
    bundle = Bundle.read(write_files(files | damaged, tmp_path / "bundle"))
    text = report.document(bundle, compute_findings(bundle)).markdown()
    line = f"Left out as damaged: 1 row of {table.name}.csv (line {LINE}, {table.names[0]}: is empt"
    assert line in text


@pytest.mark.parametrize("table", MEASURED.values(), ids=lambda table: table.name)
def test_columns_that_are_missing_or_there_twice_are_refused(table: Table, files: Files) -> None:
    rows = [line.split(",") for line in lines_of(files, table.name)[: LINE + 1]]
    for index, column in enumerate(table.columns):
        cells = slice(index, index + 1)
        fewer, more = (
            content(
                [",".join([*row[:index], *row[cells] * times, *row[index + 1 :]]) for row in rows]
            )
            for times in (0, 2)
        )
        with pytest.raises(ValueError, match=f"names the column '{column.name}' twice"):
            check_table(more, table)
        if column.added_later or column.name == "repetition":
            assert check_table(fewer, table)[1] == []
        else:
            with pytest.raises(ValueError, match=f"has no column {column.name} in its first line"):
                check_table(fewer, table)


def test_a_table_of_a_spreadsheet_is_refused(files: Files, tmp_path: Path) -> None:
    table = (files["samples.csv"] or b"").replace(b",", b";")
    place = write_files(files | {"samples.csv": table}, tmp_path / "bundle")
    with pytest.raises(
        UsageError, match=r"samples\.csv: has no column launch, seed, round, … .*commas"
    ):
        Bundle.read(place)


@pytest.mark.parametrize("table", MEASURED.values(), ids=lambda table: table.name)
def test_of_equal_rows_one_is_kept_and_of_unequal_ones_none(
    table: Table, whole: tuple[Bundle, Findings], files: Files
) -> None:
    lines, described = lines_of(files, table.name), whole[0].environment
    rows, _ = check_table(content(lines), table, described)
    again, (problem,) = check_table(content([*lines, lines[LINE - 1]]), table, described)
    pd.testing.assert_frame_equal(again, rows)
    assert f"repeats line {LINE}" in str(problem)
    other = next(one for one in table.columns[::-1] if one.name not in table.key)
    cell = {"flag": "True", "text": "skipped", "integer": "7", "number": "0.125"}[other.kind]
    if table.name == "certificates":
        other, cell = next(one for one in table.columns if one.name == "bound"), "0.5"
    changed = with_cell(lines, other.name, cell).decode().splitlines()[LINE - 1]
    if changed == lines[LINE - 1]:
        changed = with_cell(lines, other.name, "False").decode().splitlines()[LINE - 1]
    neither, problems = check_table(content([*lines, changed]), table, described)
    assert [problem.line for problem in problems] == [LINE, len(lines) + 1]
    pd.testing.assert_frame_equal(neither, rows.drop(index=LINE - 2).reset_index(drop=True))


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("case", "jax eager", "'jax eager' is no case that environment.json lists"),
        ("device", "gpu", "'gpu' is not cpu, as in environment.json"),
        ("seed", "5", "'5' is not 0, that of the launch"),
        ("launch", "1", "'0' is not 1, that of the launch"),
    ],
)
def test_rows_agree_with_the_environment(
    whole: tuple[Bundle, Findings], files: Files, column: str, cell: str, message: str
) -> None:
    without = {"outcomes", *(["rounds"] if column in IDENTITY else [])}
    # Trainings have seeds of their own.
    without |= {"learning", "trainings"} if "launch" in message else set()
    for name in MEASURED.keys() - without:
        lines = lines_of(files, name)
        _, (problem,) = check_table(
            with_cell(lines, column, cell), MEASURED[name], whole[0].environment
        )
        assert message in str(problem), name


def test_a_training_has_a_seed_of_the_run(whole: tuple[Bundle, Findings], files: Files) -> None:
    environment = whole[0].environment
    later = replace(environment, run=replace(environment.run, seed=3))
    for name in ("learning", "trainings"):
        rows, problems = check_table(content(lines_of(files, name)), MEASURED[name], later)
        assert rows.empty
        assert "is below 3, the first of the run" in describe_damage(problems)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"batch_size": "64"}, "'64' is not 32, as in environment.json"),
        ({"launch": "7", "seed": "7"}, "'7' is beyond the "),
    ],
)
def test_rows_of_another_run_are_left_out(
    whole: tuple[Bundle, Findings], files: Files, cells: dict[str, str], message: str
) -> None:
    lines = lines_of(files, "samples")
    for column, cell in cells.items():
        lines = with_cell(lines, column, cell).decode().splitlines()
    _, (problem,) = check_table(content(lines), MEASURED["samples"], whole[0].environment)
    assert message in str(problem)


@pytest.mark.parametrize(
    ("change", "damage", "kept"),
    [
        (lambda old: old[:-1], "the line is torn", -1),
        (lambda old: old + b"\0" * 300, "the line is torn", 0),
        (lambda old: old + b"\0" * 30 + b"\n", "has NUL bytes", 0),
        (lambda old: old[:-1] + b"\xff\n", "is not UTF-8", -1),
        (lambda old: old + b'"0,0\n', "is not CSV", 0),
        (lambda old: old + b"\n\n", "", 0),
        (lambda old: old.replace(b"\n", b"\r\n"), "", 0),
        (lambda old: b"\xef\xbb\xbf" + old, "", 0),
        (lambda _: b"", "is empty", -999),
        (lambda old: old[:30], "has a torn first line", -999),
        (lambda old: old[: old.index(b"\n") + 1], "", -999),
    ],
)
def test_files_are_damaged_line_by_line(files: Files, change: Any, damage: str, kept: int) -> None:
    for name in MEASURED:
        old = content(lines_of(files, name))
        rows, problems = check_table(change(old), MEASURED[name])
        assert len(rows) == max(0, old.count(b"\n") - 1 + kept), name
        assert damage in describe_damage(problems)
        assert bool(damage) == bool(problems)


def test_a_table_that_lacks_all_rows_of_a_case_is_named(files: Files, tmp_path: Path) -> None:
    """The lines are whole, yet a launch that finished must have left some for every case."""
    for name in ("samples", "accuracy", "certificates", "ledger", "launches", "rounds"):
        heading, *lines = lines_of(files, name)
        kept = [line for line in lines if line.startswith("0,0,") and "numpy eager" in line]
        changed: Files = {f"{name}.csv": content([heading, *kept])}
        bundle = Bundle.read(write_files(files | changed, tmp_path / "bundle"))
        lacks = "launch 0 and 1 more" if name == "rounds" else "jax compiled in launch 0 and 4 more"
        if name == "certificates":
            # They are taken in the first launch alone.
            lacks = "jax compiled in launch 0 and 1 more"
        assert describe_damage(bundle.problems) == f"Damaged: {name}.csv has no rows of {lacks}."


@pytest.mark.parametrize("line", [2, pytest.param(70, marks=pytest.mark.slow)])
def test_no_damage_makes_a_certificate_pass(files: Files, tmp_path: Path, line: int) -> None:
    """A check that is missing proves nothing, nor does one that says of itself that it passed."""

    def certified(lines: list[str]) -> dict[str, bool]:
        # Without readings of the accuracy, which take long to analyse.
        readings = content(lines_of(files, "accuracy")[:1])
        changed = files | {"certificates.csv": content(lines), "accuracy.csv": readings}
        bundle = Bundle.read(write_files(changed, tmp_path / "bundle"))
        return dict(compute_findings(bundle).summary[["case", "certified"]].to_numpy())

    lines = lines_of(files, "certificates")
    case = lines[line - 1].split(",")[2]
    assert certified(lines)[case]
    failed = lines[line - 1].replace("e-12,1e-09,True", "e-2,1e-09,False")
    assert failed != lines[line - 1]
    for replacement in (
        [],
        [failed],
        [failed.replace("False", "maybe")],
        [failed.replace("False", "True")],
    ):
        found = certified([*lines[: line - 1], *replacement, *lines[line:]])
        assert not found.pop(case)
        assert found.pop("pytorch eager") is False
        assert all(found.values())


def test_a_case_whose_outcome_is_damaged_is_not_reported_as_measured(
    files: Files, tmp_path: Path
) -> None:
    heading, row = lines_of(files, "outcomes")[:2]
    row = row.replace("pytorch", "numpy").replace("skipped", "faild")
    changed = files | {"outcomes.csv": content([heading, row])}
    found = compute_findings(Bundle.read(write_files(changed, tmp_path / "bundle"))).summary
    assert found.set_index("case").at["numpy eager", "status"] == "failed"


def test_a_missing_file_is_refused_and_a_link_not_followed(files: Files, tmp_path: Path) -> None:
    for name in files:
        place = write_files(files, tmp_path / "bundle")
        (place / name).rename(tmp_path / "elsewhere")
        if name not in {f"{table}.csv" for table, about in MEASURED.items() if about.added_later}:
            with pytest.raises(UsageError, match=rf"{name}: no such file"):
                Bundle.read(place)
        (place / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UsageError, match=f"{name}: is a link"):
            Bundle.read(place)


WRONG_ENTRIES: dict[type, tuple[Any, ...]] = {
    str: (1, True, ["a"], {}, "\ud800"),
    int: ("two", True, -1, 1.5, 10**30, [1], {}),
    float: ("two", True, -1.0, 1e300, [1.0], {}),
    bool: ("two", 1, [True], {}),
    list: ("a", 1, {}, [None], [[]], [{}]),
    dict: ("a", 1, []),
}


def entries(record: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every entry of environment.json; of the lists of cases, the first entry's too."""
    for key, value in record.items():
        yield (*path, key)
        if isinstance(value, dict) and key not in ("packages", "variables"):
            yield from entries(value, (*path, key))


def test_every_field_of_the_environment_is_checked(files: Files, tmp_path: Path) -> None:
    original = json.loads(files["environment.json"] or b"")
    for *outer, name in entries(original):
        for value in WRONG_ENTRIES[type(read_entry(original, (*outer, name)))]:
            record = json.loads(json.dumps(original))
            read_entry(record, outer)[name] = value
            (tmp_path / "environment.json").write_text(json.dumps(record))
            with pytest.raises(UsageError, match=r"environment\.json: ") as refused:
                read_environment(tmp_path)
            assert name in str(refused.value), (name, value)
            assert "\n" not in str(refused.value)


def read_entry(record: Any, path: Any) -> Any:
    for key in path:
        record = record[key]
    return record


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"python"', '"format": 3, "python"', "twice"),
        ('"format": 2', '"format": 3', r"newer version .*format 3; this one reads up to 2.*update"),
        ('"format": 2', '"format": 0', "format cannot be 0"),
        ('"state": "complete"', '"state": "paused"', "run.state cannot be 'paused'"),
        ('"2026-01-01T', '"2026-13-01T', "started cannot be '2026-13-01T"),
        ('"memory_gib": 8.0', '"memory_gib": NaN', "NaN is no number"),
        ('"memory_gib": 8.0', '"memory_gib": 1e999', "machine.memory_gib cannot be Infinity"),
        ('"memory_gib": 8.0', f'"memory_gib": {"9" * 5000}', "is not JSON"),
        ('"memory_gib": 8.0', f'"memory_gib": {"[" * 100_000}', "is not JSON"),
        ('"resident"', '"floating"', r"run.cases.input 'floating' is none of"),
        ('"numpy eager"', '"jax compiled"', "run.cases cannot name 'jax compiled' twice"),
        ("[\n      784", "[\n      0", "workload.layer_sizes cannot be 0"),
        ('"cases": [', '"cases": [], "others": [', "run.cases cannot have 0 entries"),
        ('"threads": 2', '"threads": 0', "run.threads cannot be 0"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(
    files: Files, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (files["environment.json"] or b"").decode()
    assert old in text
    (tmp_path / "environment.json").write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=message):
        read_environment(tmp_path)


def test_an_environment_that_is_no_text_is_refused(files: Files, tmp_path: Path) -> None:
    for damaged in (
        b"",
        b"[]",
        b"\0" * 99,
        (files["environment.json"] or b"")[:99],
        b'{"a": "\xff"}',
    ):
        (tmp_path / "environment.json").write_bytes(damaged)
        with pytest.raises(UsageError, match=r"environment\.json: "):
            read_environment(tmp_path)


def test_a_newer_bundle_may_be_quite_unlike_this_one(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text('{"format": 3}')
    with pytest.raises(UsageError, match="newer version"):
        read_environment(tmp_path)


def test_an_older_bundle_says_what_it_lacks(whole: tuple[Bundle, Findings]) -> None:
    bundle, found = whole
    older = replace(bundle, environment=replace(bundle.environment, format=None))
    sentence = "Written by an older version of this program: "
    assert sentence in report.document(older, found).markdown()
    assert sentence not in report.document(bundle, found).markdown()


def test_a_row_is_one_line_whatever_its_texts(tmp_path: Path) -> None:
    writer = BundleWriter(tmp_path)
    writer.append("ledger", entry="flags", value="--one\r\n--two\0")
    writer.close()
    assert (tmp_path / "ledger.csv").read_text().splitlines()[1:] == [
        f"{',' * len(('launch', 'seed', *IDENTITY))}flags,--one --two "
    ]


@pytest.mark.parametrize("times", [{"numpy floor": 1.0}, {"jax compiled": 1.0}])
def test_little_is_enough_for_a_report(times: dict[str, float], tmp_path: Path) -> None:
    place = write_bundle(tmp_path / "bundle", times, launches=1, rounds=1)
    bundle = Bundle.read(place)
    assert report.document(bundle, compute_findings(bundle)).markdown()


def test_odd_entries_of_a_ledger_are_no_figures(files: Files, tmp_path: Path) -> None:
    lines = lines_of(files, "ledger")
    odd = lines[1].rpartition(",product,")[0]
    odd_lines = [f"{odd},compiled_while_timed,many", f"{odd},programs,1e99", f"{odd},threads,"]
    changed: Files = {"ledger.csv": content([*lines, *odd_lines])}
    bundle = Bundle.read(write_files(files | changed, tmp_path / "bundle"))
    assert compute_findings(bundle).unfair == []


def test_a_bundle_without_a_row_is_reported_as_such(
    capsys: pytest.CaptureFixture[str], files: Files, tmp_path: Path
) -> None:
    headings: Files = {f"{name}.csv": content(lines_of(files, name)[:1]) for name in MEASURED}
    place = write_files(files | headings, tmp_path / "bundle")
    code, output, _ = runs.run(capsys, "report", place)
    assert code == 0
    assert "no rows of jax compiled in launch 0" in output
    assert "no result" in (place / "report.md").read_text()
    assert "no rows of jax compiled in launch 0" in (place / "report.html").read_text()


def test_damage_is_said_by_every_command(
    capsys: pytest.CaptureFixture[str], files: Files, tmp_path: Path
) -> None:
    lines = lines_of(files, "samples")
    write_files(files, tmp_path / "whole")
    changed: Files = {"samples.csv": with_cell(lines, "seconds", "fast")}
    place = write_files(files | changed, tmp_path / "damaged")
    line = "Left out as damaged: 1 row of samples.csv (line 3, seconds: 'fast' is not a number)"
    assert line in runs.run(capsys, "compare", tmp_path / "whole", place).output
    several = ("report", tmp_path / "whole", place, "--output", tmp_path / "several")
    assert runs.run(capsys, *several).code == 0
    assert line in (tmp_path / "several" / "report.md").read_text()
    (place / "samples.csv").unlink()
    for command in (("report", place), ("compare", tmp_path / "whole", place)):
        code, _, errors = runs.run(capsys, *command)
        assert code == 2
        assert "samples.csv: no such file" in errors


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    "seeds", [[*range(4), 6952], pytest.param([*range(5, 64), 5974], marks=pytest.mark.slow)]
)
def test_random_damage_is_refused_or_reported(
    whole: tuple[Bundle, Findings], files: Files, tmp_path: Path, seeds: list[int]
) -> None:
    """`python -m tests.support.damage 10000` tries more, in half an hour.

    Of the last in each list, a time of zero and an infinite loss had gone into a logarithm or mean.
    """
    for seed in seeds:
        place = write_files(damage(files, seed), tmp_path / "bundle")
        assert try_all(place, whole, tmp_path)
