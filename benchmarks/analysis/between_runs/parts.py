"""Parts of a run: launches that were made one by one, on whatever nodes there were, as one bundle.

A part is a bundle of one launch (`--part NUMBER`). Beside it may lie a file of the same name with
the ending NODE, which says where it was made. Merging copies the rows, numbers the launches, and
gives the nodes pseudonyms; what these stand for stays outside the bundle. Nodes of unlike kind are
not merged: a ratio within a round holds for the kind of machine that the round ran on.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.analysis import statistics
from benchmarks.analysis.between_runs.environments import properties
from benchmarks.bundle import files
from benchmarks.bundle.reader import Bundle, read_environment
from benchmarks.bundle.records import Environment
from benchmarks.errors import UsageError
from benchmarks.schema.tables import MEASURED

NODE = ".node"
"""The ending of the file that says on which node a part was made."""
MAY_DIFFER = ("launches", "CPUs used", "boost", "on battery", "memory (GiB)")
"""Properties that nodes of one kind may differ in; memory by what firmware keeps for itself."""
GIB = 1.0
"""Memory of nodes of one kind differs by less."""
MOST_NAMED = 3
FAR = 3.5
"""A node is off if it is farther from the others than this many of their typical distances."""
FEWEST_OFF = 0.05
"""And by at least this share."""
FEWEST_NODES = 4
"""With fewer, nobody can say which one is off."""


@dataclass(frozen=True)
class Part:
    """One launch of a run, and where it was made; the node is empty where that is not known."""

    folder: Path
    environment: Environment
    node: str = ""

    @property
    def number(self) -> int:
        """The number of its launch."""
        assert self.environment.run.part is not None
        return self.environment.run.part


def read_parts(folders: Sequence[Path]) -> list[Part]:
    """The parts in these folders, in the order of their launches.

    Raises UsageError where a folder has no part, two have the same one, or kinds differ.
    """
    parts = []
    for folder in folders:
        environment = read_environment(folder)
        if environment.run.part is None:
            raise UsageError(f"{folder}: is a run of its own and no part of one; leave it out")
        if environment.run.state != "complete":
            raise UsageError(f"{folder}: {environment.run.state}; make this part again")
        whole = folder.resolve()
        beside = whole.with_name(whole.name + NODE)
        node = beside.read_text("utf-8", "replace").strip() if beside.is_file() else ""
        parts.append(Part(folder, environment, node))
    parts.sort(key=lambda part: part.number)
    for one, other in pairwise(parts):
        if one.number == other.number:
            raise UsageError(f"{one.folder} and {other.folder} are both launch {one.number}")
        if problem := unlike(one.environment, other.environment):
            raise UsageError(f"{one.folder} and {other.folder} are not of one kind: {problem}")
    return parts


def unlike(one: Environment, other: Environment) -> str:
    """In what two parts differ that may not be merged; empty where they are of one kind."""
    first, second = properties(one), properties(other)
    differing = [
        f"{name} {first.get(name, 'none')} / {second.get(name, 'none')}"
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name) and name not in MAY_DIFFER
    ]
    if abs(one.machine.memory_gib - other.machine.memory_gib) >= GIB:
        differing.append(f"memory {one.machine.memory_gib:g} / {other.machine.memory_gib:g} GiB")
    for what in ("cases", "floors"):
        if getattr(one.run, what) != getattr(other.run, what):
            differing.append(what)
    more = f" and {len(differing) - MOST_NAMED} more" if len(differing) > MOST_NAMED else ""
    return ", ".join(differing[:MOST_NAMED]) + more


def merge(parts: Sequence[Part], folder: Path) -> dict[str, str]:
    """Write the bundle of all parts into an empty folder; returns the pseudonym of each node.

    Raises OSError where it cannot be written, and UsageError where a part's tables are not those of
    this version.
    """
    names = [part.node for part in parts if part.node]
    pseudonyms = {name: f"node {n}" for n, name in enumerate(dict.fromkeys(names), 1)}
    with ExitStack() as stack:
        tables = {
            name: stack.enter_context((folder / f"{name}.csv").open("xb")) for name in MEASURED
        }
        for name, file in tables.items():
            file.write((",".join(MEASURED[name].names) + "\n").encode())
        for launch, part in enumerate(parts):
            for name, file in tables.items():
                if name != "outcomes":
                    file.writelines(_rows(part, name, launch, pseudonyms))
        tables["outcomes"].writelines(_outcomes(parts))
    files.write_text(folder, "environment.json", _environment(parts))
    for part in parts:
        for log in sorted((part.folder / "logs").glob("*.txt")):
            # Of a case that failed in several, what it printed first.
            if not (folder / "logs" / log.name).exists():
                content = files.read_bytes(part.folder, f"logs/{log.name}")
                files.write_bytes(folder, f"logs/{log.name}", content)
    return pseudonyms


def _lines(part: Part, name: str) -> list[bytes]:
    """The rows of one table of a part, without the ends of their lines and without empty ones."""
    lines = files.read_bytes(part.folder, f"{name}.csv").split(b"\n")
    if lines[0].rstrip(b"\r") != ",".join(MEASURED[name].names).encode():
        raise UsageError(f"{part.folder}/{name}.csv: has other columns; make this part again")
    return [line for one in lines[1:] if (line := one.rstrip(b"\r"))]


def _rows(part: Part, name: str, launch: int, pseudonyms: Mapping[str, str]) -> Iterator[bytes]:
    """The rows of one table of a part, with the number of its launch in the whole run."""
    node = pseudonyms.get(part.node, "").encode() if name == "launches" else b""
    number = f"{launch},".encode()
    for line in _lines(part, name):
        _, _, rest = line.partition(b",")
        yield number + rest + node + b"\n"


def _outcomes(parts: Sequence[Part]) -> Iterator[bytes]:
    """A row for each case that was skipped, or that failed in any part, with the first reason."""
    names = MEASURED["outcomes"].names
    found: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for launch, part in enumerate(parts):
        lines = (line.decode("utf-8", "replace") for line in _lines(part, "outcomes"))
        for cells in csv.reader(lines):
            row = dict(zip(names, cells, strict=False))
            found.setdefault(row.get("case", ""), []).append((launch, row))
    for rows in found.values():
        launch, row = rows[0]
        if row.get("status") == "failed":
            row["launch"] = str(launch)
            if len(rows) < len(parts):
                row["reason"] = f"{row['reason']} (in {len(rows)} of {len(parts)} launches)"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([row.get(name, "") for name in names])
        yield text.getvalue().encode()


def _environment(parts: Sequence[Part]) -> str:
    """The environment of the whole run, which is that of its first part."""
    first = parts[0].environment
    run = replace(
        first.run,
        part=None,
        parts=None,
        launches=max(max(part.number + 1, part.environment.run.parts or 0) for part in parts),
        finished_launches=len(parts),
        seeds=tuple(part.environment.run.seed for part in parts),
        out_of_time=any(part.environment.run.out_of_time for part in parts),
    )
    finished = max(part.environment.finished or "" for part in parts)
    whole = replace(first, run=run, finished=finished or None)
    return json.dumps(whole.to_json(), indent=2, ensure_ascii=False) + "\n"


def off_nodes(bundle: Bundle) -> dict[str, float]:
    """The nodes that are unlike the others: how many times as long their steps take, by pseudonym.

    A node's time is the median over cases of each case's, against what it takes on all nodes.
    """
    if bundle.nodes.nunique() < FEWEST_NODES:
        return {}
    logs = statistics.step_seconds(bundle.undisturbed_samples).apply(np.log)
    by_node = logs.groupby(level="node").median()
    distance: pd.Series[Any] = by_node.sub(by_node.median()).median(axis=1)
    typical = 1.4826 * float(distance.abs().median())
    off = distance[distance.abs() > max(FAR * typical, np.log1p(FEWEST_OFF))]
    return {str(node): float(np.exp(value)) for node, value in off.items()}
