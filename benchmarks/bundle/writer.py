"""Writes a run's bundle as the run goes.

Rows are flushed one by one, so whatever ends a run, what was measured is on disk.
"""

import csv
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bundle.folders import file_name
from benchmarks.bundle.records import Environment
from benchmarks.schema.tables import MEASURED

LINE_ENDS = re.compile(r"[\r\n\0]+")


@dataclass(frozen=True)
class Rows:
    """Appends rows that have some columns in common, such as those of one case in one launch."""

    writer: "BundleWriter"
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
        self._files = {name: (folder / f"{name}.csv").open("w", newline="") for name in MEASURED}
        self._writers = {
            name: csv.DictWriter(file, MEASURED[name].names, lineterminator="\n")
            for name, file in self._files.items()
        }
        for name, writer in self._writers.items():
            writer.writeheader()
            self._files[name].flush()

    def append(self, table: str, **row: Any) -> None:
        """Append one row and flush it; columns that are not named stay empty.

        Raises ValueError where the table has no such column.
        """
        # A row is one line, so that a damaged line is one damaged row.
        row = {n: LINE_ENDS.sub(" ", v) if isinstance(v, str) else v for n, v in row.items()}
        self._writers[table].writerow(row)
        self._files[table].flush()

    def rows(self, **columns: Any) -> Rows:
        """A writer of rows that all have `columns`."""
        return Rows(self, columns)

    def write_environment(self, environment: Environment) -> None:
        """Write environment.json, or replace it when more is known."""
        # Whatever ends the run, the file is there as a whole.
        unfinished = self.folder / "environment.json.part"
        text = json.dumps(environment.to_json(), indent=2, ensure_ascii=False)
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
