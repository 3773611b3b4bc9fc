"""The command `check`: say whether a bundle may be added to the published results.

It must be complete and undamaged, certified by the version that measured it, name its machine and
versions, state what it resolves, and hold nothing private. Each thing that is missing has a line;
without any the code is 0, else 1.

For example:
  python run_all.py check results/my-machine
"""

import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from backends.registry import BACKENDS
from benchmarks import exit_codes, privacy
from benchmarks.analysis.findings import Findings, compute_findings, control_of
from benchmarks.analysis.spoiled import spoiled_by
from benchmarks.bundle import files
from benchmarks.bundle.checks import describe_damage
from benchmarks.bundle.reader import Bundle
from benchmarks.bundle.records import FORMAT, Environment
from benchmarks.commands import options, report
from benchmarks.errors import UsageError
from benchmarks.plan import data
from benchmarks.reports import summary
from benchmarks.reports.sections import image
from benchmarks.schema.tables import COMPUTED, TABLES
from benchmarks.terminal import results

FEWEST_LAUNCHES = 3
KNOWN = re.compile(
    r"environment\.json|report\.md|summary\.json|figures/[a-z-]+\.svg|logs/[\w-]+\.txt"
    rf"|({'|'.join(sorted(TABLES.keys() - {'sweep'}))})\.csv"
)
"""The files that a bundle may have; its page is made again where it is published."""
CLOSE = 1e-6
"""Numbers that another processor computes may differ by as much, as a share."""
FRACTION = re.compile(r"-?\d+\.\d+")
MOST_MIB = 20


def parser() -> options.Parser:
    """The command line of `check`."""
    parser = options.Parser("check", __doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle of a run")
    return parser


def main(argv: list[str], console: Console) -> int:
    """Say what a bundle lacks to be published."""
    folder: Path = parser().read(argv).bundle
    bundle = report.read_bundle("check", folder)
    findings = compute_findings(bundle)
    missing = [
        *_of_the_run(bundle, findings),
        *_of_the_records(bundle),
        *_of_the_files(folder),
        *_of_the_summary(folder, bundle, findings),
    ]
    for sentence in missing:
        results.show_line(console, f"✗ {sentence}")
    if missing:
        return exit_codes.FAILED
    results.show_line(console, f"✓ {folder} may be added")
    return exit_codes.OK


def _of_the_run(bundle: Bundle, findings: Findings) -> Iterator[str]:
    """What speaks against the run itself."""
    run = bundle.environment.run
    cases = findings.summary[~control_of(findings.summary)]
    measured = cases[cases["status"] == "measured"]
    if run.state != "complete":
        yield f"the run is not complete: {run.state}"
    if run.finished_launches < FEWEST_LAUNCHES:
        yield f"it has {run.finished_launches} launches; {FEWEST_LAUNCHES} are needed"
    if damage := describe_damage(bundle.problems):
        yield damage
    if measured.empty:
        yield "no case was measured"
    for case in measured.loc[~measured["certified"], "case"]:
        yield f"{case} is not certified"
    for case, why in measured.loc[measured["held_back"] != "", ["case", "held_back"]].to_numpy():
        yield f"{case} is {why}"
    if bundle.tables["blocks"].empty:
        yield "no timed block was certified: measure again with this version"
    if not np.isfinite(findings.resolution):
        yield "its resolution is not known: no pair of cases has an interval"
    if np.isnan(findings.control.low):
        yield "it has no control with an interval: no case was timed twice"
    for sentence in (*findings.unfair, *spoiled_by(bundle.environment, bundle.tables["ledger"])):
        yield f"its times may not be quoted: {sentence}"


def _of_the_records(bundle: Bundle) -> Iterator[str]:
    """What environment.json lacks."""
    environment, machine = bundle.environment, bundle.environment.machine
    if (environment.format or 1) < FORMAT:
        yield "it was written by an older version: measure again with this one"
    if not environment.workload.data_sha256:
        yield "the checksum of its data is not recorded"
    elif environment.workload.data_sha256 != data.load(data.EMBEDDED).sha256:
        yield "it was trained on other data than the MNIST that comes with the program"
    if not re.fullmatch(r"[0-9a-f]{40}", environment.git_commit):
        yield "the commit of the program is not recorded: measure from a checkout"
    elif environment.git_modified is not False:
        yield "the program was modified, or it is not known whether: measure from a clean checkout"
    for name in ("cpu", "cores", "cpus_available", "memory_gib", "system"):
        if not getattr(machine, name):
            yield f"machine.{name} is not recorded"
    if any(case.device == "gpu" for case in environment.run.cases) and not machine.gpus:
        yield "machine.gpus is not recorded"
    for backend in dict.fromkeys(case.backend for case in environment.run.cases):
        if backend not in BACKENDS:
            yield f"{backend} is no backend of this version"
        elif not set(BACKENDS[backend].distributions) & set(environment.packages):
            yield f"no version of {backend} is recorded"


def _of_the_files(folder: Path) -> Iterator[str]:
    """Files that a bundle does not have, and texts that tell who or where its user is."""
    size = 0
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(folder).as_posix()
        if not KNOWN.fullmatch(name):
            yield f"{name} is no file of a bundle: remove it"
            continue
        try:
            content = files.read_bytes(folder, name).decode()
        except (OSError, UsageError, ValueError) as error:
            yield f"{name} cannot be read: {error}"
            continue
        size += len(content)
        try:
            texts = list(_texts(name, content))
        except (ValueError, RecursionError):
            yield f"{name} cannot be read"
            continue
        for place, text in texts:
            if privacy.public(text) != text:
                yield f"{name}, {place}: may tell who or where its user is"
                break
    if size > MOST_MIB * 2**20:
        yield f"its files have {size / 2**20:.0f} MiB; {MOST_MIB} are allowed"


def _texts(name: str, content: str) -> Iterator[tuple[str, str]]:
    """The texts of a file and their places; none of those that are made from the other files."""
    if name == "environment.json":
        record = json.loads(content)
        # What the records do not have could be anything.
        known = json.loads(json.dumps(Environment.from_json(record).to_json()))
        if set(_leaves(record)) - set(_leaves(known)):
            raise ValueError("fields that are not known")
        for digest in (record, record["workload"]):
            digest.pop("git_commit", None)
            digest.pop("data_sha256", None)
        yield from _leaves(record)
    elif name.endswith((".csv", ".txt")):
        yield from ((f"line {n}", line) for n, line in enumerate(content.splitlines(), 1))


def _leaves(content: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """The keys and texts of a JSON value, with their places."""
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in entries:
        inner = f"{place}.{key}".lstrip(".")
        if isinstance(key, str):
            yield place, key
        if isinstance(value, dict | list):
            yield from _leaves(value, inner)
        elif isinstance(value, str):
            yield inner, value


def _of_the_summary(folder: Path, bundle: Bundle, findings: Findings) -> Iterator[str]:
    """Whether what is shown is what was measured."""
    write = (
        "does not follow from the rows that were measured; write it with: "
        f"python run_all.py report {folder}"
    )
    computed = summary.summarise(bundle, findings)
    try:
        written = summary.read(folder)
    except UsageError as error:
        yield str(error)
        return
    if not _same(written.to_json(), computed.to_json()):
        yield f"{summary.FILE} {write}"
    for name, table in computed.tables.items():
        if name in COMPUTED and not _same_csv(folder, name, table):
            yield f"{name}.csv {write}"
    if not _same_text(folder, "report.md", computed.report.markdown()):
        yield f"report.md {write}"
    figures = {path.name for path in (folder / "figures").glob("*")}
    if report.missing_packages():
        yield "its figures cannot be checked: install what draws them"
        return
    # Not above: what it needs may be missing.
    from benchmarks.reports.figures import charts, marks

    drawn = charts.drawn(computed.report.figures, computed.tables)
    wanted = {image(name): marks.image(figure).decode() for name, figure in drawn.items()}
    for name in sorted(figures - {Path(name).name for name in wanted}):
        yield f"figures/{name} is no figure of its report: remove it"
    for name, svg in wanted.items():
        if not _same_text(folder, name, svg):
            yield f"{name} {write}"


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same but for the last digits of numbers."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _same_csv(folder: Path, name: str, table: pd.DataFrame) -> bool:
    """Whether a computed CSV has the rows of a table, but for the last digits of numbers."""
    try:
        written = pd.read_csv(io.BytesIO(files.read_bytes(folder, f"{name}.csv")))
        computed = pd.read_csv(io.StringIO(table.to_csv(index=False)))
        pd.testing.assert_frame_equal(written, computed, check_dtype=False, rtol=CLOSE, atol=CLOSE)
    except (OSError, UsageError, ValueError, AssertionError):
        return False
    return True


def _same_text(folder: Path, name: str, text: str) -> bool:
    """Whether a file has a text, but for the last digits of numbers with many."""
    try:
        written = files.read_bytes(folder, name).decode()
    except (OSError, UsageError, ValueError):
        return False
    short = [FRACTION.sub(lambda found: f"{float(found[0]):.3f}", one) for one in (written, text)]
    return short[0] == short[1]
