"""Checks a table against the schema: what is whole is kept, what is damaged is left out and named.

A row is whole if every cell holds what its column can hold, if the row agrees with what
environment.json lists, and if no other row has its key. Nothing here knows how a file came to be
damaged; a full disk, a power cut and a spreadsheet look alike.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from backends.ladder import FLOOR
from benchmarks.bundle.records import CaseRecord, Environment, Run
from benchmarks.schema import repetition_in
from benchmarks.schema.tables import IDENTITY, Column, Table, shown

EXAMPLES = 2
"""The number of damaged rows of a table that a report names one by one."""
MOST_LAUNCHES = 1000
"""More launches than this are not looked for, whatever environment.json says of their number."""

Row = dict[str, Any]
"""The values of a row by column; None where a cell is empty."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A row that was left out, or a file that lacks rows."""

    file: str
    line: int | None
    """Line of the file, of which the first has the columns' names; None for the whole file."""
    column: str
    """Empty where no single column is to blame."""
    message: str
    case: str = ""
    """The case that the row names, where it is one of the bundle's."""

    def __str__(self) -> str:
        where = f"line {self.line}{self.column and f', {self.column}'}: "
        return self.message if self.line is None else where + self.message


class DamageError(ValueError):
    """A row cannot be used: the column to blame, and what was found."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column, self.message = column, message


def describe_damage(problems: Iterable[Problem]) -> str:
    """What was left out and what is missing, in a line with a few examples; empty for nothing."""
    by_file: dict[str, list[Problem]] = {}
    for problem in problems:
        by_file.setdefault(problem.file, []).append(problem)
    left_out, missing = [], []
    for file, of_file in by_file.items():
        rows = [str(problem) for problem in of_file if problem.line is not None]
        if rows:
            examples = "; ".join([*rows[:EXAMPLES], *(["…"] if len(rows) > EXAMPLES else [])])
            count = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
            left_out.append(f"{count} of {file} ({examples})")
        if lacks := [str(problem) for problem in of_file if problem.line is None]:
            missing.append(f"{file} {' and '.join(lacks)}")
    parts = [f"Left out as damaged: {', '.join(left_out)}."] if left_out else []
    parts += [f"Damaged: {', '.join(missing)}."] if missing else []
    return " ".join(parts)


def find_missing(tables: dict[str, pd.DataFrame], run: Run) -> list[Problem]:
    """The tables that lack rows of launches that finished, of cases that ran to the end of them."""
    outcomes = set(tables["outcomes"]["case"])
    cases = [one.case for one in run.cases if one.case not in outcomes and one.mode != FLOOR]
    launches = range(min(run.finished_launches, MOST_LAUNCHES))
    expected: dict[tuple[int | str, ...], str] = {
        (launch, case): f"{case} in launch {launch}" for launch in launches for case in cases
    }
    problems = []
    for name in ("samples", "accuracy", "certificates", "ledger", "launches", "rounds"):
        columns, wanted = ["launch", "case"], expected
        if name == "rounds":
            columns, wanted = ["launch"], {(launch,): f"launch {launch}" for launch in launches}
        if name == "certificates":
            wanted = {key: about for key, about in expected.items() if key[0] == 0}
        there = set(tables[name][columns].itertuples(index=False, name=None))
        missing = [about for key, about in wanted.items() if key not in there]
        if missing and cases:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            message = f"has no rows of {missing[0]}{more}"
            problems.append(Problem(file=f"{name}.csv", line=None, column="", message=message))
    return problems


def check_table(
    content: bytes, table: Table, environment: Environment | None = None
) -> tuple[pd.DataFrame, list[Problem]]:
    """The whole rows of a CSV file, with the schema's columns, and a problem for each other row.

    Rows must agree with the `environment`, if it is given. Raises ValueError where the first line
    does not name the columns: the message says what is missing.
    """
    file = f"{table.name}.csv"
    heading, *lines = content.split(b"\n")
    if not lines:
        message = "has a torn first line" if content else "is empty"
        return as_frame([], table), [Problem(file=file, line=None, column="", message=message)]
    names = _names(heading)
    _check_names(names, table)
    rows: dict[int, Row] = {}
    problems: dict[int, DamageError] = {}
    cases = _listed(environment.run) if environment else {}
    named: dict[int, str] = {}
    read = _reader(names, table)
    for number, line in enumerate(lines, start=2):
        if not line.strip(b"\r"):
            continue
        try:
            if number == len(lines) + 1:
                raise DamageError("", "the line is torn: it has no end")
            cells = _cells(line, len(names))
            if "case" in table.names and (case := cells[names.index("case")]) in cases:
                named[number] = case
            row = read(cells)
            if environment:
                _check_agreement(row, environment, cases, of_launch="launch" in table.key)
            _check_certificate(row)
            rows[number] = row
        except DamageError as damage:
            problems[number] = damage
    problems |= _repeated(rows, table.key)
    whole = [row for number, row in rows.items() if number not in problems]
    return as_frame(whole, table), [
        Problem(
            file=file,
            line=number,
            column=damage.column,
            message=damage.message,
            case=named.get(number, ""),
        )
        for number, damage in sorted(problems.items())
    ]


def as_frame(rows: Sequence[Row], table: Table) -> pd.DataFrame:
    """The rows as a table with the types of the schema."""
    return pd.DataFrame(
        {
            column.name: pd.Series([row[column.name] for row in rows], dtype=column.dtype)
            for column in table.columns
        }
    )


def _names(heading: bytes) -> list[str]:
    """The columns that the first line names."""
    try:
        # Spreadsheets put a mark before the first column.
        return _split(heading.decode("utf-8-sig"))
    except (UnicodeDecodeError, csv.Error):
        return []


def _check_names(names: Sequence[str], table: Table) -> None:
    """Raise ValueError unless every column is named once; columns of other versions do no harm."""
    optional = {column.name for column in table.columns if column.added_later}
    optional |= {"repetition"} if "case" in names else set()
    missing = [name for name in table.names if name not in {*names, *optional}]
    if missing:
        few = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise ValueError(
            f"has no column {few} in its first line, which must name the columns, with commas "
            "between them; restore the file from a copy"
        )
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        name = shown(repeated[0])
        raise ValueError(f"names the column {name} twice; restore the file from a copy")


def _split(line: str) -> list[str]:
    """The cells of one line; raises csv.Error where its quotes are not in pairs."""
    return next(csv.reader([line.removesuffix("\r")], strict=True), [])


def _cells(line: bytes, count: int) -> list[str]:
    """The cells of one line, which must be `count`; raises DamageError."""
    try:
        cells = _split(line.decode())
    except UnicodeDecodeError:
        raise DamageError("", "is not UTF-8") from None
    except csv.Error as error:
        raise DamageError("", f"is not CSV ({error})") from None
    if b"\0" in line:
        raise DamageError("", "has NUL bytes")
    if len(cells) != count:
        raise DamageError("", f"has {len(cells)} cells instead of {count}")
    return cells


def _reader(names: Sequence[str], table: Table) -> Any:
    """A function from the cells of a row to its values; it raises DamageError."""
    position = {name: index for index, name in enumerate(names)}
    # Most cells repeat: each text is read once for each column.
    columns: list[tuple[Column, int | None, dict[str, Any]]] = [
        (column, position.get(column.name), {}) for column in table.columns
    ]

    def read(cells: list[str]) -> Row:
        row: Row = {}
        for column, index, known in columns:
            if index is not None:
                cell = cells[index]
            else:
                # Older bundles lack the column.
                cell = str(repetition_in(row["case"])) if column.name == "repetition" else ""
            if cell not in known:
                try:
                    known[cell] = column.read(cell)
                except ValueError as error:
                    raise DamageError(column.name, str(error)) from None
            row[column.name] = known[cell]
        return row

    return read


def _listed(run: Run) -> dict[str, CaseRecord]:
    """The cases and floors that a row may be of, by name."""
    return {case.case: case for case in (*run.cases, *run.floors)}


def _check_agreement(
    row: Row, environment: Environment, cases: dict[str, CaseRecord], *, of_launch: bool
) -> None:
    """Raise DamageError where a row departs from what environment.json says of it.

    A row that is `of_launch` has the launch's seed, others one of their own, from the run's on.
    """
    run = environment.run
    if "case" in row:
        listed = cases.get(row["case"])
        if listed is None:
            name = shown(row["case"])
            raise DamageError("case", f"{name} is no case that environment.json lists")
        for name in IDENTITY:
            if row[name] != (expected := getattr(listed, name)):
                found = shown(str(row[name]))
                raise DamageError(name, f"{found} is not {expected}, as in environment.json")
    if "seed" in row and of_launch and row["seed"] != (seed := run.seed_of(row["launch"])):
        raise DamageError("seed", f"'{row['seed']}' is not {seed}, that of the launch")
    if "seed" in row and row["seed"] < run.seed:
        raise DamageError("seed", f"'{row['seed']}' is below {run.seed}, the first of the run")
    # One more than have finished may have begun.
    if (row.get("launch") or 0) > run.finished_launches:
        finished = f"{run.finished_launches} finished by environment.json, counted from 0"
        raise DamageError("launch", f"'{row['launch']}' is beyond the {finished}")
    size = row.get("batch") or environment.workload.batch_size
    if row.get("batch_size", size) != size:
        raise DamageError(
            "batch_size", f"'{row['batch_size']}' is not {size}, as in environment.json"
        )


def _check_certificate(row: Row) -> None:
    """Raise DamageError where a check of a certificate contradicts itself."""
    if "not_read" not in row:
        return
    error, bound, passed = row["relative_error"], row["bound"], row["passed"]
    if (error is None) != (row["not_read"] is not None):
        raise DamageError("relative_error", "must be there, or else why it was not read")
    if passed != (error is None or (bound is not None and error <= bound < 1)):
        raise DamageError("passed", f"'{passed}' contradicts the error and its bound")


def _repeated(rows: dict[int, Row], key: Sequence[str]) -> Iterator[tuple[int, DamageError]]:
    """The rows whose key another row has: all but the first of equal ones, all of unequal ones."""
    if not key:
        return
    by_key: dict[tuple[Any, ...], list[int]] = {}
    for number, row in rows.items():
        by_key.setdefault(tuple(row[name] for name in key), []).append(number)
    for first, *others in by_key.values():
        conflicting = any(rows[number] != rows[first] for number in others)
        for number in [*([first] if conflicting else []), *others]:
            what = "contradicts" if conflicting else "repeats"
            other = first if number != first else others[0]
            yield number, DamageError("", f"{what} line {other}: same {', '.join(key)}")
