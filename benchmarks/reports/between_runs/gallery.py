"""A site of many bundles: by machine, by version and by date, and each bundle's page.

Milliseconds of different machines never stand in one ranking: what is set side by side are ratios
to the attained floor of the same rounds, of runs on one kind of machine and with one version of the
floor.
"""

from collections.abc import Mapping

import pandas as pd

from benchmarks.analysis.statistics import ends
from benchmarks.reports.cases import comparable_cases
from benchmarks.reports.formats import MS, as_interval, counted, number, text
from benchmarks.reports.sections import Column, Document, Figure, Part, Section, Table
from benchmarks.reports.summary import Summary

TITLE = "One network, one Adam: results by machine, version and date"
NO_FLOOR = "without a floor"
INTRODUCTION = (
    "Each row is a run of its own; its page has everything. What may be compared: cases of one "
    "run, by its verdicts; over runs on one kind of machine, ratios to the attained floor, if the "
    "floor is of one version. What may not: milliseconds of different machines or days."
)
BUNDLE = Column("run", "bundle", text=True, link="page")
RUNS = [
    BUNDLE,
    Column("date", "date", text=True),
    Column("machine", "machine", text=True),
    Column("workload", "workload", text=True),
    Column("versions", "versions", text=True),
    Column("launches", "launches"),
    Column("resolution", "resolution", ".1%"),
    Column("fastest at the limit", "fastest", text=True),
]


def machine_of(summary: Summary) -> str:
    """The kind of machine that a run was measured on, and how much of it."""
    machine, run = summary.environment.machine, summary.environment.run
    gpus = [*machine.gpus] if any(case.device == "gpu" for case in run.cases) else []
    return ", ".join([*gpus, machine.cpu, counted(run.threads, "thread")])


def floor_of(summary: Summary) -> str:
    """The version of the floor that ratios are taken to."""
    version = summary.environment.run.floor_version
    return NO_FLOOR if summary.tables["floors"].empty else f"floor version {version or 1}"


def precision_of(summary: Summary) -> str:
    """The precision and the device of the run's cases."""
    cases = summary.tables["summary"]
    named = dict.fromkeys(zip(cases["precision_found"], cases["device"], strict=True))
    return ", ".join(f"{precision} on the {device.upper()}" for precision, device in named)


def versions_of(summary: Summary) -> str:
    """The versions of the frameworks, as far as they are known."""
    names = ("torch", "tensorflow", "keras", "jax", "flax", "optax", "numpy")
    packages = summary.environment.packages
    return ", ".join(f"{name} {packages[name]}" for name in names if name in packages)


def workload_of(summary: Summary) -> str:
    """The network and the batch."""
    workload = summary.environment.workload
    sizes = "-".join(str(size) for size in workload.layer_sizes)
    return f"{sizes}, batch {workload.batch_size}"


def document(
    summaries: Mapping[str, Summary], pages: Mapping[str, str]
) -> tuple[Document, dict[str, pd.DataFrame]]:
    """The first page of the site, and the rows behind each of its figures, by name.

    `pages` has the address of each bundle's page.
    """
    rows = pd.DataFrame([
        {
            "bundle": name,
            "page": pages[name],
            "date": summary.environment.started[:10],
            "machine": machine_of(summary),
            "workload": workload_of(summary),
            "versions": versions_of(summary),
            "launches": summary.environment.run.finished_launches,
            "resolution": summary.resolution,
            "fastest": _fastest(summary),
            "place": "; ".join([machine_of(summary), workload_of(summary), precision_of(summary),
                                floor_of(summary)]),
        }
        for name, summary in summaries.items()
    ]).sort_values(["date", "bundle"], ascending=[False, True])  # fmt: skip
    by_version = rows[["versions", "bundle", "page", "machine", "date"]].sort_values("versions")
    columns = [Column("versions", "versions", text=True), BUNDLE, *RUNS[1:3]]
    sections, histories = [], {}
    for place_number, (place, of_place) in enumerate(rows.groupby("place", sort=True)):
        names = list(of_place.sort_values("date")["bundle"])
        history = _history(names, summaries)
        if len(history) and not str(place).endswith(NO_FLOOR):
            name = f"history_{place_number}"
            sections.append(Section(str(place), _of_place(name, names, history, summaries)))
            histories[name] = history
    lead = f"{counted(len(rows), 'run')} on {counted(rows['machine'].nunique(), 'machine')}."
    by_date = [Section("Runs by date", [Table(RUNS, rows)])]
    by_date += [Section("Runs by version", [Table(columns, by_version)])]
    return Document(TITLE, [lead], INTRODUCTION, [*by_date, *sections]), histories


def _fastest(summary: Summary) -> str:
    """The cases of the last tier that share its first rank."""
    cases = summary.tables["summary"]
    first = cases[(cases["rank"] == 1) & (cases["tier"] == "limit")]
    return ", ".join(first["case"])


def _history(names: list[str], summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Each case's times the floor in each of these runs."""
    of_runs = [
        comparable_cases(summaries[name].tables["summary"])
        .dropna(subset="x_floor")
        .assign(run=name)
        for name in names
    ]
    return pd.concat(of_runs)[["case", "run", *ends("x_floor")]].sort_values("case", kind="stable")


def _of_place(
    figure: str, names: list[str], history: pd.DataFrame, summaries: Mapping[str, Summary]
) -> list[Part]:
    """The runs on one kind of machine, the oldest first."""
    cells: dict[str, dict[str, str]] = {}
    for row in history.to_dict("records"):
        cells.setdefault(row["case"], {})[row["run"]] = as_interval()(row, "x_floor")
    frame = pd.DataFrame([{"case": case, **of_case} for case, of_case in cells.items()])
    floors = [
        f"{name} {number(summaries[name].tables['floors']['step_ms'].min(), MS)} ms"
        for name in names
    ]
    about = (
        "Times the attained floor, within the rounds of each run; 95% intervals. The attained "
        f"floor itself: {', '.join(floors)}."
    )
    shown = [Column("case", "case", text=True), *(Column(name, name) for name in names)]
    if len(names) == 1:
        return [text(about), Table(shown, frame)]
    finding = f"{counted(len(names), 'run')}, from {names[0]} to {names[-1]}."
    drawn = Figure(figure, "Times the attained floor, run by run", finding)
    return [text(about), drawn, Table(shown, frame)]
