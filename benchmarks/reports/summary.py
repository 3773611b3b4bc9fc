"""summary.json: the results of a run in one file, which everything that shows them is made from.

It holds what the run was (environment.json), the computed tables, and the report in sentences,
tables and names of figures. Page, markdown, figures, exports, gallery and notebooks read it and
compute nothing; benchmarks/schema/summary.schema.json describes it for other programs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pandas as pd

from benchmarks.analysis.findings import NOT_IN_ALL, Findings
from benchmarks.bundle import files
from benchmarks.bundle.reader import RESTORE, Bundle, refuse_constant
from benchmarks.bundle.records import Environment
from benchmarks.errors import UsageError
from benchmarks.reports.run import certificates
from benchmarks.reports.run import document as run
from benchmarks.reports.sections import Document
from benchmarks.schema import frames
from benchmarks.schema.tables import COMPUTED, LARGEST, TABLES

FILE, FORMAT = "summary.json", 1
SCHEMA = Path(__file__).parents[1] / "schema" / "summary.schema.json"
LARGEST_NUMBER = 1e300
"""No number of a table is larger; no count is larger than LARGEST."""
MARGINS = "margins"
"""The table beside those of the schema: of certificates.csv, what came closest to its bound."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The results of a run."""

    environment: Environment
    resolution: float
    """Relative difference that the run's typical pair does not tell apart; NaN without one."""
    tables: Mapping[str, pd.DataFrame]
    """The computed tables by name, as in the bundle's CSVs, and MARGINS."""
    report: Document

    def to_json(self) -> dict[str, Any]:
        """The summary as a JSON object, in which null is what is not known or not finite."""
        resolution = self.resolution if np.isfinite(self.resolution) else None
        return {
            "format": FORMAT,
            "environment": self.environment.to_json(),
            "resolution": resolution,
            "tables": {name: _table_to_json(rows) for name, rows in self.tables.items()},
            "report": self.report.to_json(),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The summary that `to_json` has written; raises ValueError for what cannot be one."""
        tables = {name: _read_table(name, table) for name, table in content["tables"].items()}
        resolution = content["resolution"]
        return cls(
            environment=Environment.from_json(content["environment"]),
            resolution=np.nan if resolution is None else resolution,
            tables=tables,
            report=Document.from_json(content["report"]),
        )


def _table_to_json(rows: pd.DataFrame) -> dict[str, Any]:
    """A table as its columns' names and its rows."""
    return {"columns": list(rows.columns), "rows": frames.plain_rows(rows)}


def _columns(name: str) -> list[str]:
    """The columns of a table of a summary; raises ValueError for a name that it has none of."""
    if name == MARGINS:
        return list(certificates.MARGINS)
    if name not in COMPUTED:
        raise ValueError(f"there is no table {name[:30]!r}")
    return TABLES[name].names


def _read_table(name: str, content: dict[str, Any]) -> pd.DataFrame:
    """A table as it was written; raises ValueError where it is not one of this version."""
    names = _columns(name)
    if content["columns"] != names:
        raise ValueError(f"the table {name} has other columns")
    kinds = {column.name: column.kind for column in TABLES[name].columns} if name in TABLES else {}
    for row in content["rows"]:
        if len(row) != len(names):
            raise ValueError(f"a row of the table {name} has {len(row)} cells")
        for column, value in zip(names, row, strict=True):
            if not _fits(value, kinds.get(column, "")):
                raise ValueError(f"the table {name} has a {column} that cannot be {value!r:.30}")
    return _typed(name, pd.DataFrame(content["rows"], columns=names))


def _fits(value: Any, kind: str) -> bool:
    """Whether a column of this kind may hold a value."""
    if value is None or not kind:
        return True
    if kind in ("text", "flag"):
        return isinstance(value, str if kind == "text" else bool)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= (LARGEST if kind == "integer" else LARGEST_NUMBER)


def _typed(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """A table whose columns have the types of the schema; texts that are not known are empty."""
    typed = rows.copy()
    kinds = {column.name: column for column in TABLES[name].columns} if name in TABLES else {}
    for column in typed:
        kind = kinds.get(str(column))
        if kind is None:
            typed[column] = typed[column].infer_objects()
        elif kind.kind == "text":
            typed[column] = typed[column].astype(object).where(typed[column].notna(), "")
        else:
            typed[column] = typed[column].astype(cast(Any, kind.dtype))
    return typed


def summarise(bundle: Bundle, findings: Findings) -> Summary:
    """The summary of a bundle."""
    tables = {name: getattr(findings, name) for name in COMPUTED if hasattr(findings, name)}
    for name in NOT_IN_ALL:
        if tables[name].empty:
            del tables[name]
    tables |= {MARGINS: certificates.margins(bundle.tables["certificates"])}
    return Summary(
        environment=bundle.environment,
        resolution=findings.resolution,
        tables={name: _typed(name, rows) for name, rows in tables.items()},
        report=run.document(bundle, findings),
    )


def write(summary: Summary, folder: Path) -> None:
    """Write summary.json, a table's row a line, so that changes can be read."""
    content = summary.to_json()
    files.write_text(folder, FILE, as_text(content) + "\n")


def as_text(content: Any, depth: int = 0) -> str:
    """JSON with a line for each entry of the outer four levels."""
    if depth == 4 or not content or not isinstance(content, dict | list):
        return json.dumps(content, ensure_ascii=False, allow_nan=False)
    pad = "\n" + " " * (depth + 1)
    if isinstance(content, dict):
        entries = [
            f"{json.dumps(key)}: {as_text(value, depth + 1)}" for key, value in content.items()
        ]
        return f"{{{pad}{f',{pad}'.join(entries)}{pad[:-1]}}}"
    return f"[{pad}{f',{pad}'.join(as_text(value, depth + 1) for value in content)}{pad[:-1]}]"


def read(folder: Path) -> Summary:
    """The summary of a bundle as it was written; raises UsageError where there is none."""
    path = folder / FILE
    write_it = f"write it with: python run_all.py report {folder}"
    try:
        content = json.loads(files.read_bytes(folder, FILE), parse_constant=refuse_constant)
        # Half of a surrogate pair is nothing that can be written.
        json.dumps(content, ensure_ascii=False).encode()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); {write_it}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: is not JSON; {write_it}") from None
    if problem := problem_of(content):
        raise UsageError(f"{path}: {problem}; {write_it}")
    try:
        return Summary.from_json(content)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise UsageError(f"{path}: {error}; {RESTORE}") from None


def problem_of(content: Any) -> str:
    """Where a JSON value departs from the schema; empty where it does not."""
    # Not above: it takes time to import.
    import jsonschema

    schema = json.loads(SCHEMA.read_text("utf-8"))
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema).iter_errors(content)
    )
    # Of a long message, the end says what is wrong.
    return f"{error.json_path}: {error.message[-100:]}" if error else ""
