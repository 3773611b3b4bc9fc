"""Writes a run's bundle as the run goes.

Each row is on disk, whole, before the next is measured; so whatever ends a run, what was measured
is kept. Where nothing more can be written, StoppedError says why.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bundle import files
from benchmarks.bundle.folders import file_name
from benchmarks.bundle.records import Environment
from benchmarks.errors import StoppedError, UsageError
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
    """Writes the tables of a bundle, environment.json and logs; raises StoppedError."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists, and has none of the files."""
        self._path = folder
        self.blocks = 0
        """The number of blocks that are on disk."""
        self._problem = ""
        self._folder = -1
        self._descriptors: dict[str, int] = {}
        self._sizes = dict.fromkeys(MEASURED, 0)
        try:
            with self._writing(folder):
                self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            for name in MEASURED:
                with self._writing(path := folder / f"{name}.csv"):
                    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
                    self._descriptors[name] = os.open(path, flags, 0o666)
                self._write(name, MEASURED[name].names)
        except BaseException:
            self.remove()
            raise

    @property
    def folder(self) -> Path:
        """The folder of the bundle, where it is now; raises StoppedError where it is no more."""
        if self._folder < 0:
            return self._path
        with suppress(OSError):
            for path in (self._path, Path(f"/proc/self/fd/{self._folder}").readlink()):
                if path.exists() and os.path.samestat(path.stat(), os.fstat(self._folder)):
                    return path
        raise StoppedError(f"{self._path}: was removed")

    def append(self, table: str, **row: Any) -> None:
        """Append one row; columns that are not named stay empty.

        Raises ValueError where the table has no such column.
        """
        names = MEASURED[table].names
        if unknown := row.keys() - set(names):
            raise ValueError(f"{table} has no columns {', '.join(sorted(unknown))}")
        # A row is one line, so that a damaged line is one damaged row.
        row = {n: LINE_ENDS.sub(" ", v) if isinstance(v, str) else v for n, v in row.items()}
        for name in FREE_TEXT & row.keys():
            row[name] = public(row[name]) if isinstance(row[name], str) else row[name]
        # What is missing has one spelling, the empty cell.
        cells = [row.get(name, "") for name in names]
        self._write(table, ["" if cell != cell else cell for cell in cells])
        self.blocks += table == "samples"

    def _write(self, table: str, cells: list[Any]) -> None:
        """Append one line to a table, whole or not at all."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        line = text.getvalue().encode("utf-8", "replace")
        descriptor = self._descriptors[table]
        with self._writing(self._path / f"{table}.csv"):
            if not os.fstat(descriptor).st_nlink:
                raise StoppedError(f"{self.folder / table}.csv: was removed")
            try:
                # A disk that has room for a part of it takes that, and refuses the rest.
                written = 0
                while written < len(line):
                    written += os.write(descriptor, line[written:])
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, self._sizes[table])
                raise
        self._sizes[table] += len(line)

    def rows(self, **columns: Any) -> Rows:
        """A writer of rows that all have `columns`."""
        return Rows(self, columns)

    def write_environment(self, environment: Environment) -> None:
        """Write environment.json, or replace it when more is known."""
        text = json.dumps(_public(environment.to_json()), indent=2, ensure_ascii=False)
        self._write_text("environment.json", f"{text}\n")

    def keep_output(self, case: str, output: str) -> None:
        """Keep what a failed case's worker printed, in logs/."""
        self._write_text(f"logs/{file_name(case)}.txt", public(output))

    def _write_text(self, name: str, text: str) -> None:
        with self._writing(self._path / name):
            files.write_text(self.folder, name, text)

    def close(self) -> None:
        """Close the tables."""
        with suppress(StoppedError):
            self._path = self.folder
        names, descriptors = list(self._descriptors), [*self._descriptors.values(), self._folder]
        self._descriptors, self._folder = {}, -1
        for name, descriptor in zip([*names, ""], descriptors, strict=True):
            with self._writing(self._path / f"{name}.csv"):
                os.close(descriptor)

    def remove(self) -> None:
        """Remove the bundle, in which nothing has been measured."""
        names = list(self._descriptors)
        with suppress(StoppedError):
            self.close()
        with suppress(OSError):
            for name in ("environment.json", *(f"{name}.csv" for name in names)):
                (self._path / name).unlink(missing_ok=True)
            self._path.rmdir()

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Raise StoppedError where a file cannot be written; it says what failed first."""
        try:
            yield
        except OSError as error:
            self._problem = self._problem or f"{path}: cannot be written ({error.strerror})"
            raise StoppedError(self._problem) from None
        except UsageError as error:
            raise StoppedError(str(error)) from None


def _public(content: Any, name: str = "") -> Any:
    """A JSON value with `public` applied to its texts, but for those NAMED_BY_PLAN."""
    if name in NAMED_BY_PLAN:
        return content
    if isinstance(content, dict):
        return {key: _public(value, key) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_public(value) for value in content]
    return public(content) if isinstance(content, str) else content
