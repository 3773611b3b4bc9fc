"""Reads a bundle: environment.json, and the whole rows of its tables, typed as in the schema."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from benchmarks.bundle import files
from benchmarks.bundle.checks import Problem, as_frame, check_table, find_missing
from benchmarks.bundle.folders import file_name
from benchmarks.bundle.records import FORMAT, Environment
from benchmarks.errors import UsageError
from benchmarks.schema.tables import MEASURED, TABLES, shown

RESTORE = "restore the file from a copy, or measure again"
"""What to do where a file cannot be used at all, such as environment.json, which explains all."""

MOST_OUTPUT_BYTES, MOST_LINE = 65_536, 1_000
"""What is read of a log at most, from its end, and how many characters of a line are shown."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A run as it was measured."""

    folder: Path
    environment: Environment
    tables: dict[str, pd.DataFrame]
    """The whole rows of the measured tables, by name."""
    problems: tuple[Problem, ...] = ()
    """The rows that were left out as damaged, and tables that lack rows."""

    @property
    def undisturbed_samples(self) -> pd.DataFrame:
        """The samples that estimates rest on; with their `node`, where there are several."""
        samples = undisturbed(self.tables["samples"], self.tables["rounds"])
        nodes = self.nodes
        unknown_too = len(nodes) < self.tables["launches"]["launch"].nunique()
        if nodes.nunique() + (len(nodes) > 0 and unknown_too) < 2:
            return samples
        # A launch whose node is not known is taken for one of another node.
        unknown = "of launch " + samples["launch"].astype(str)
        return samples.assign(node=samples["launch"].map(nodes).fillna(unknown))

    @property
    def nodes(self) -> pd.Series:
        """The node of each launch; empty where the run does not say."""
        launches = self.tables["launches"].drop_duplicates("launch").set_index("launch")
        return launches["node"].dropna()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a bundle; raises UsageError where a file is missing or not of this program."""
        environment = read_environment(folder)
        read = {table: read_table(folder, table, environment) for table in MEASURED}
        tables = {table: rows for table, (rows, _) in read.items()}
        damaged = [problem for _, problems in read.values() for problem in problems]
        problems = (*damaged, *find_missing(tables, environment.run))
        return cls(folder=folder, environment=environment, tables=tables, problems=problems)


def undisturbed(samples: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """The samples of rounds that no other load on the machine disturbed.

    A launch keeps all its rounds if more than half were disturbed: then that is how the machine is.
    """
    disturbed_share = rounds.groupby("launch")["disturbed"].mean()
    noisy = rounds["launch"].map(disturbed_share) > 0.5
    excluded = rounds.loc[rounds["disturbed"].astype(bool) & ~noisy, ["launch", "round"]]
    marked = samples.merge(excluded, how="left", on=["launch", "round"], indicator="source")
    return marked[marked["source"] == "left_only"].drop(columns="source")


def read_table(
    folder: Path, name: str, environment: Environment | None = None
) -> tuple[pd.DataFrame, list[Problem]]:
    """The whole rows of one table, with the schema's columns in its order, and the damaged ones.

    Columns that older bundles lack are empty, but for `repetition`, which is read from the names of
    the cases. Rows must agree with the `environment`, if it is given. Raises UsageError where the
    file cannot be read, or lacks another column.
    """
    path, table = folder / f"{name}.csv", TABLES[name]
    try:
        return check_table(files.read_bytes(folder, path.name), table, environment)
    except FileNotFoundError as error:
        if table.added_later:
            return as_frame([], table), []
        raise _unreadable(path, error) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def read_environment(folder: Path) -> Environment:
    """The environment.json of a bundle; raises UsageError where it is not one."""
    path = folder / "environment.json"
    try:
        content = json.loads(
            files.read_bytes(folder, path.name),
            object_pairs_hook=_without_repetition,
            parse_constant=refuse_constant,
        )
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, RecursionError) as error:
        why = f" ({error})" if isinstance(error, DamagedJSONError) else ""
        raise UsageError(f"{path}: is not JSON{why}; {RESTORE}") from None
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is int and version > FORMAT:
        raise UsageError(
            f"{path}: was written by a newer version of this program (format {version}; this one "
            f"reads up to {FORMAT}): update it"
        )
    if not isinstance(content, dict) or not {"machine", "workload", "run"} <= content.keys():
        raise UsageError(f"{path}: describes no run; is {folder} a bundle?")
    try:
        return Environment.from_json(content)
    except ValueError as error:
        raise UsageError(f"{path}: {error}; {RESTORE}") from None


class DamagedJSONError(ValueError):
    """A file can be parsed, but is not what JSON allows."""


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ValueError where a name stands twice in it."""
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = next(
            name for name, times in Counter(name for name, _ in pairs).items() if times > 1
        )
        raise DamagedJSONError(f"it has {shown(repeated)} twice")
    return content


def refuse_constant(name: str) -> float:
    """Raise ValueError for NaN and the infinities, which JSON does not have."""
    raise DamagedJSONError(f"{name} is no number")


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
        return UsageError(f"{path}: no such file; is {path.parent} a bundle? If so, {RESTORE}")
    return UsageError(f"{path}: cannot be read ({error.strerror}); {RESTORE}")
