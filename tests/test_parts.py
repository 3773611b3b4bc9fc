"""Parts of a run: one launch each, on whatever nodes there were, merged into one bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import run_all
from benchmarks import exit_codes
from benchmarks.analysis import statistics
from benchmarks.analysis.between_runs import parts
from benchmarks.analysis.findings import compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.errors import UsageError
from benchmarks.reports.run import nodes as report_nodes
from benchmarks.schema.tables import MEASURED
from tests.synthetic_bundles import write_bundle

TIMES = {"jax scan": 1.0, "jax scan (control)": 1.0, "pytorch eager": 2.0}


def write_part(place: Path, number: int, node: str = "", factor: float = 1.0) -> Path:
    """A part with one launch, all of whose step times are `factor` times as long."""
    times = {case: factor * milliseconds for case, milliseconds in TIMES.items()}
    folder = write_bundle(place / f"part-{number}", times, launches=1, seed=number)
    record = json.loads((folder / "environment.json").read_text())
    record["run"] |= {"part": number, "seed": number, "launches": 1}
    (folder / "environment.json").write_text(json.dumps(record))
    for path in folder.glob("*.csv"):
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        names = MEASURED[path.stem].names
        rows = rows.reindex(columns=names, fill_value="")
        if "seed" in rows:
            rows["seed"] = str(number)
        rows.to_csv(path, index=False)
    for name in MEASURED:
        if not (folder / f"{name}.csv").exists():
            (folder / f"{name}.csv").write_text(",".join(MEASURED[name].names) + "\n")
    if node:
        (place / f"part-{number}{parts.NODE}").write_text(f"{node}\n")
    return folder


def merged(place: Path, folders: list[Path]) -> Bundle:
    (place / "whole").mkdir()
    parts.merge(parts.read_parts(folders), place / "whole")
    return Bundle.read(place / "whole")


def test_rows_are_copied_and_launches_numbered(tmp_path: Path) -> None:
    """One part is missing: the seeds of the others are kept, and the report says so."""
    folders = [write_part(tmp_path, number, "secret-host") for number in (3, 0, 1)]
    bundle = merged(tmp_path, folders)
    assert bundle.problems == ()
    launches = bundle.tables["launches"].drop_duplicates("launch")
    assert launches["launch"].tolist() == [0, 1, 2]
    assert launches["seed"].tolist() == [0, 1, 3]
    for name in ("samples", "certificates", "rounds"):
        rows = sum(len(Bundle.read(one).tables[name]) for one in folders)
        assert len(bundle.tables[name]) == rows
    run = bundle.environment.run
    assert (run.launches, run.finished_launches, run.part) == (4, 3, None)
    said = report_nodes.notes(bundle)
    assert said == [
        "Launches that are missing: 1 of 4.",
        "All launches ran on one node: how nodes differ is in no interval.",
    ]
    held = b"".join(path.read_bytes() for path in (tmp_path / "whole").rglob("*.*"))
    assert b"secret-host" not in held


def changed(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change to an environment.json; `field` as in "machine.cpu"."""
    record, name = field.split(".")
    return lambda content: content[record].update({name: value})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changed("machine.cpu", "another"), "cpu "),
        (changed("machine.system", "Linux 9"), "system "),
        (changed("machine.memory_gib", 999), "memory "),
        (changed("packages.jax", "9.9"), "jax "),
        (changed("run.threads", 1), "threads "),
        (changed("workload.batch_size", 7), "batch size "),
    ],
)
def test_kinds_are_not_merged(
    change: Callable[[dict[str, Any]], None], problem: str, tmp_path: Path
) -> None:
    folders = [write_part(tmp_path, number) for number in (0, 1)]
    path = folders[1] / "environment.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=f"not of one kind: {problem}"):
        parts.read_parts(folders)


def test_a_part_twice_a_whole_run_and_a_cut_one_are_refused(tmp_path: Path) -> None:
    one = write_part(tmp_path, 0)
    twice = Path(shutil.copytree(one, tmp_path / "again"))
    with pytest.raises(UsageError, match="are both launch 0"):
        parts.read_parts([one, twice])
    whole = write_bundle(tmp_path / "whole", TIMES)
    with pytest.raises(UsageError, match="no part"):
        parts.read_parts([one, whole])
    content = json.loads((twice / "environment.json").read_text())
    content["run"] |= {"state": "interrupted", "part": 1}
    (twice / "environment.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="interrupted; make this part again"):
        parts.read_parts([one, twice])


def test_report_merges_parts_and_keeps_the_nodes_names_outside(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    undrawn: None,  # noqa: ARG001
) -> None:
    folders = [write_part(tmp_path, n, f"host-{n % 2}") for n in range(4)]
    output = tmp_path / "whole"
    arguments = ["report", *map(str, folders), "--output", str(output)]
    assert run_all.main(arguments) == exit_codes.OK
    assert "Intervals are over 2 nodes of one kind" in " ".join(capsys.readouterr().out.split())
    names = pd.read_csv(tmp_path / "whole-nodes.csv")
    assert names.to_dict("list") == {"name": ["node 1", "node 2"], "node": ["host-0", "host-1"]}
    assert "host-" not in (output / "launches.csv").read_text()
    assert not (output / "whole-nodes.csv").exists()


def simulated(nodes: int, launches: int, generator: np.random.Generator) -> pd.DataFrame:
    """Samples of two equal cases, whose ratio varies by 3% from node to node and 1% by launch."""
    rows = []
    for node in range(nodes):
        of_node = 0.03 * generator.standard_normal()
        for launch in range(launches):
            ratio = of_node + 0.01 * generator.standard_normal()
            for case, log in (("a", 0.0), ("b", ratio)):
                rows.append({"node": f"node {node}", "launch": node * launches + launch,
                             "round": 0, "case": case, "steps": 1,
                             "seconds": float(np.exp(log))})  # fmt: skip
    return pd.DataFrame(rows)


def test_intervals_cover_how_nodes_differ() -> None:
    """Over nodes, 95% of intervals hold the truth; over launches alone most do not."""
    generator = np.random.default_rng(1)
    covered = {True: 0, False: 0}
    for _ in range(300):
        samples = simulated(5, 4, generator)
        for by_node in covered:
            table = statistics.step_seconds(samples if by_node else samples.drop(columns="node"))
            found = statistics.ratio(table, "b", "a")
            covered[by_node] += found.low <= 1 <= found.high
    assert covered[True] >= 0.92 * 300
    assert covered[False] <= 0.75 * 300


def test_a_node_that_is_off_is_named(tmp_path: Path) -> None:
    factors = [1.0, 1.004, 0.996, 1.002, 1.15, 0.998]
    folders = [write_part(tmp_path, n, f"h{n}", factor) for n, factor in enumerate(factors)]
    bundle = merged(tmp_path, folders)
    assert list(parts.off_nodes(bundle)) == ["node 5"]
    assert any("node 5 is unlike the others: its steps take 1.1" in one
               for one in report_nodes.notes(bundle))  # fmt: skip
    # Two nodes cannot tell which of them is off.
    few = replace(bundle, tables=bundle.tables | {"launches": bundle.tables["launches"].assign(
        node=np.where(bundle.tables["launches"]["launch"] < 4, "node 1", "node 5"))})  # fmt: skip
    assert parts.off_nodes(few) == {}


def test_first_calls_of_jobs_all_had_empty_caches(tmp_path: Path) -> None:
    bundle = merged(tmp_path, [write_part(tmp_path, n, f"h{n}") for n in range(3)])
    findings = compute_findings(bundle)
    assert findings.summary["first_call_again_seconds"].isna().all()
    assert findings.break_even["steps"].isna().all()
