"""Reads a bundle: environment.json, and the tables with the columns and types of the schema."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from benchmarks.bundle import files
from benchmarks.bundle.folders import file_name
from benchmarks.bundle.records import Environment
from benchmarks.errors import UsageError
from benchmarks.schema import repetition_in
from benchmarks.schema.tables import MEASURED, TABLES

MOST_OUTPUT_BYTES, MOST_LINE = 65_536, 1_000
"""What is read of a log at most, from its end, and how many characters of a line are shown."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A run as it was measured."""

    folder: Path
    environment: Environment
    tables: dict[str, pd.DataFrame]
    """The measured tables by name."""

    @property
    def undisturbed_samples(self) -> pd.DataFrame:
        """The samples that estimates rest on."""
        return undisturbed(self.tables["samples"], self.tables["rounds"])

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a bundle; raises UsageError where a file is missing or not of this program."""
        return cls(
            folder=folder,
            environment=read_environment(folder),
            tables={table: read_table(folder, table) for table in MEASURED},
        )


def undisturbed(samples: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """The samples of rounds that no other load on the machine disturbed.

    A launch keeps all its rounds if more than half were disturbed: then that is how the machine is.
    """
    disturbed_share = rounds.groupby("launch")["disturbed"].mean()
    noisy = rounds["launch"].map(disturbed_share) > 0.5
    excluded = rounds.loc[rounds["disturbed"].astype(bool) & ~noisy, ["launch", "round"]]
    marked = samples.merge(excluded, how="left", on=["launch", "round"], indicator="source")
    return marked[marked["source"] == "left_only"].drop(columns="source")


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """One table of a bundle, with the schema's columns in its order.

    Columns that older bundles lack are empty, but for `repetition`, which is read from the names of
    the cases. Raises UsageError where the file cannot be read, or lacks another column.
    """
    path, table = folder / f"{name}.csv", TABLES[name]
    types = {column.name: column.dtype for column in table.columns}
    if table.added_later and not path.exists():
        return pd.DataFrame({column: pd.Series(dtype=dtype) for column, dtype in types.items()})
    try:
        content = _read_csv(path, types)
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError:
        raise UsageError(f"{path}: is not a CSV file; is {folder} a bundle?") from None
    if "repetition" in types and "repetition" not in content and "case" in content:
        content["repetition"] = content["case"].map(repetition_in).astype("int64")
    for column in table.columns:
        if column.added_later and column.name not in content:
            content[column.name] = float("nan")
    missing = [column for column in table.names if column not in content]
    if missing:
        raise UsageError(
            f"{path}: has no column {', '.join(missing)}; the bundle was written by another "
            "version of this program, which can read it"
        )
    return content[table.names]


def _read_csv(path: Path, types: dict[str, str]) -> pd.DataFrame:
    """A CSV with the types of its columns; where a cell is of another type, as pandas takes it."""
    try:
        return pd.read_csv(path, dtype=types)  # type: ignore[arg-type]
    except ValueError:
        return pd.read_csv(path)


def read_environment(folder: Path) -> Environment:
    """The environment.json of a bundle; raises UsageError where it is not one."""
    path = folder / "environment.json"
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError:
        raise UsageError(f"{path}: is not JSON; is {folder} a bundle?") from None
    if not isinstance(content, dict) or not {"machine", "workload", "run"} <= content.keys():
        raise UsageError(f"{path}: describes no run; is {folder} a bundle?")
    try:
        return Environment.from_json(content)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def end_of_output(folder: Path, case: str, lines: int = 8) -> list[str]:
    """The last lines that a failed case's worker printed, the ends of long ones left out."""
    try:
        content = files.read_bytes(folder, f"logs/{file_name(case)}.txt", last=MOST_OUTPUT_BYTES)
    except FileNotFoundError:
        return []
    except (OSError, UsageError) as error:
        return [f"not shown: {error}"]
    printed = content.decode("utf-8", "replace").strip().splitlines()[-lines:]
    return [line[:MOST_LINE] + "…" * (len(line) > MOST_LINE) for line in printed]


def _unreadable(path: Path, error: OSError) -> UsageError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UsageError(f"{path}: no such file; is {path.parent} a bundle of this version?")
    return UsageError(f"{path}: cannot be read ({error.strerror})")
