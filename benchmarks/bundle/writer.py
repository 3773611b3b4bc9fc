"""A run's bundle: the folder that holds all a run has found, written as it goes.

Raw rows are flushed one by one, so whatever ends a run, what was measured is on disk.
"""

from __future__ import annotations

import csv
import json
import os
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.errors import UsageError
from benchmarks.schema import ADDED_LATER, COLUMNS, COLUMNS_ADDED_LATER


def check_folder(asked: Path | None) -> None:
    """Raise UsageError where the folder asked for holds something already, or cannot be made."""
    if asked is None:
        return
    try:
        _check_folder(asked)
    except OSError as error:
        raise UsageError(f"--output {asked}: cannot be used ({error.strerror})") from None


def _check_folder(asked: Path) -> None:
    if asked.exists() and not asked.is_dir():
        raise UsageError(f"--output {asked}: is a file, not a folder")
    if asked.is_dir() and any(asked.iterdir()):
        raise UsageError(f"--output {asked}: is not empty; name a new folder")
    nearest = next(path for path in (asked, *asked.absolute().parents) if path.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        raise UsageError(f"--output {asked}: {nearest} cannot be written to")


def create_folder(asked: Path | None, results: Path, name: str) -> Path:
    """Make the bundle's folder: the one asked for, or a new one under `results`."""
    check_folder(asked)
    folder = asked
    if folder is None:
        stem = f"{datetime.now():%Y-%m-%d-%H%M}-{name}"
        candidates = [results / stem, *(results / f"{stem}-{n}" for n in range(2, 100))]
        folder = next(path for path in candidates if not path.exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder


@dataclass(frozen=True)
class Rows:
    """Appends rows that have some columns in common, such as those of one case in one launch."""

    writer: BundleWriter
    columns: dict[str, Any]

    def append(self, table: str, *records: Any, **columns: Any) -> None:
        """Append one row to a table.

        `records` are dataclasses whose fields are columns; where two have a field in common, the
        later one counts.
        """
        row = {name: value for record in records for name, value in asdict(record).items()}
        self.writer.append(table, **self.columns, **row, **columns)


class BundleWriter:
    """Appends rows to the tables of a bundle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, TextIOWrapper] = {}
        self._writers: dict[str, csv.DictWriter[str]] = {}
        for table, columns in COLUMNS.items():
            file = (folder / f"{table}.csv").open("w", newline="", buffering=1)
            self._files[table] = file
            self._writers[table] = csv.DictWriter(file, columns, lineterminator="\n")
            self._writers[table].writeheader()

    def append(self, table: str, **row: Any) -> None:
        """Append one row and flush it; columns that are not named stay empty.

        Raises ValueError where the table has no such column.
        """
        self._writers[table].writerow(row)
        self._files[table].flush()

    def rows(self, **columns: Any) -> Rows:
        """A writer of rows that all have `columns`."""
        return Rows(self, columns)

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Write environment.json, or replace it when more is known."""
        text = json.dumps(environment, indent=2, ensure_ascii=False)
        # Whatever ends the run, the file is there as a whole.
        unfinished = self.folder / "environment.json.part"
        unfinished.write_text(text + "\n")
        unfinished.replace(self.folder / "environment.json")

    def keep_output(self, case: str, output: str) -> None:
        """Keep what a failed case's worker printed, in logs/."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        (logs / f"{file_name(case)}.txt").write_text(output)

    def close(self) -> None:
        """Close the tables."""
        for file in self._files.values():
            file.close()


def file_name(case: str) -> str:
    """A case's name as a file's."""
    return "-".join(re.findall(r"\w+", case))


def end_of_output(folder: Path, case: str, lines: int = 8) -> str:
    """The last lines that a failed case's worker printed; empty where it printed none."""
    path = folder / "logs" / f"{file_name(case)}.txt"
    return "\n".join(path.read_text().strip().splitlines()[-lines:]) if path.exists() else ""


def read_table(folder: Path, table: str) -> pd.DataFrame:
    """One table of a bundle, as written; raises UsageError where it is not one of this program."""
    path = folder / f"{table}.csv"
    if table in ADDED_LATER and not path.exists():
        return pd.DataFrame(columns=list(COLUMNS[table]))
    try:
        content = pd.read_csv(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError:
        raise UsageError(f"{path}: is not a CSV file; is {folder} a bundle?") from None
    for column in COLUMNS_ADDED_LATER.get(table, ()):
        if column not in content:
            content[column] = float("nan")
    missing = [column for column in COLUMNS[table] if column not in content]
    if missing:
        raise UsageError(
            f"{path}: has no column {', '.join(missing)}; the bundle was written by another "
            "version of this program, which can read it"
        )
    return content


def read_environment(folder: Path) -> dict[str, Any]:
    """The environment.json of a bundle; raises UsageError where it is not one."""
    path = folder / "environment.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError:
        raise UsageError(f"{path}: is not JSON; is {folder} a bundle?") from None
    if not isinstance(content, dict) or not {"machine", "workload", "run"} <= content.keys():
        raise UsageError(f"{path}: describes no run; is {folder} a bundle?")
    return content


def _unreadable(path: Path, error: OSError) -> UsageError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UsageError(f"{path}: no such file; is {path.parent} a bundle of this version?")
    return UsageError(f"{path}: cannot be read ({error.strerror})")


def check_report(asked: Path | None) -> None:
    """Raise UsageError where a report cannot be written to the file asked for."""
    if asked is None:
        return
    if asked.exists():
        raise UsageError(f"--output {asked}: exists already; name a new file")
    if not os.access(asked.absolute().parent, os.W_OK):
        raise UsageError(f"--output {asked}: {asked.absolute().parent} cannot be written to")
