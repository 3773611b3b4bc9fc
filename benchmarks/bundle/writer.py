"""Writes a run's bundle as the run goes.

Rows are flushed one by one, so whatever ends a run, what was measured is on disk.
"""

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bundle.folders import file_name
from benchmarks.bundle.records import Environment
from benchmarks.privacy import public
from benchmarks.schema.tables import IDENTITY, MEASURED

FREE_TEXT = {
    column.name
    for table in MEASURED.values()
    for column in table.columns
    if column.kind == "text" and not column.choices and column.name not in IDENTITY
}
"""The columns that hold what frameworks and machine say, and so may hold more than is wanted."""
NAMED_BY_PLAN = ("git_commit", "data_sha256", "cases", "floors")
"""The fields of environment.json that are written as they are: checksums and names of cases."""


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
        shown = {
            name: public(value) if name in FREE_TEXT and isinstance(value, str) else value
            for name, value in row.items()
        }
        self._writers[table].writerow(shown)
        self._files[table].flush()

    def rows(self, **columns: Any) -> Rows:
        """A writer of rows that all have `columns`."""
        return Rows(self, columns)

    def write_environment(self, environment: Environment) -> None:
        """Write environment.json, or replace it when more is known."""
        # Whatever ends the run, the file is there as a whole.
        unfinished = self.folder / "environment.json.part"
        text = json.dumps(_public(environment.to_json()), indent=2, ensure_ascii=False)
        unfinished.write_text(text + "\n")
        unfinished.replace(self.folder / "environment.json")

    def keep_output(self, case: str, output: str) -> None:
        """Keep what a failed case's worker printed, in logs/."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        (logs / f"{file_name(case)}.txt").write_text(public(output))

    def close(self) -> None:
        """Close the tables."""
        for file in self._files.values():
            file.close()


def _public(content: Any, name: str = "") -> Any:
    """A JSON value with `public` applied to its texts, but for those NAMED_BY_PLAN."""
    if name in NAMED_BY_PLAN:
        return content
    if isinstance(content, dict):
        return {key: _public(value, key) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_public(value) for value in content]
    return public(content) if isinstance(content, str) else content
