"""The report of a bundle; every figure in it stands in one of the bundle's CSVs."""

from backends.registry import BACKENDS, title_of
from benchmarks.analysis.between_runs.environments import commit
from benchmarks.analysis.certified import NOT_REACHED, UNCERTIFIED
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.bundle.reader import Bundle, end_of_output
from benchmarks.reports import sections
from benchmarks.reports.cases import comparable_groups, measured, ranked, span
from benchmarks.reports.formats import (
    MISSING,
    MS,
    Row,
    as_interval,
    block,
    bullets,
    code,
    counted,
    joined,
    number,
    text,
)
from benchmarks.reports.run import (
    accuracy,
    certificates,
    costs,
    ladders,
    leads,
    method,
    scaling,
    sentences,
)
from benchmarks.reports.sections import CASE, Column, Document, Figure, Section, Table, Tiers
from benchmarks.schema import TIER

RANKED = [Column("rank", "rank"), certificates.CASE_MARKED, sections.STEP, sections.TIMES_FASTEST]


def _learned(row: Row, name: str) -> str:
    """An accuracy; one of a training that was cut short says so."""
    shown = number(row[name], ".2%")
    cut = shown != MISSING and not row["trained_to_end"]
    return f"{shown} after {row['steps']:,} steps" if cut else shown


TEST = Column("test", "test_accuracy", _learned)
LEARNED = [Column("validation", "validation_accuracy", _learned), TEST, sections.STEPS]
"""What each case has learned, where it did so while it was timed."""


def ranking(findings: Findings) -> Section:
    """The main tables, one for each tier."""
    groups = comparable_groups(findings)
    if not groups:
        variants = (
            "; variants are compared with one another below" if len(findings.verdicts) else ""
        )
        return Section("Ranking", [f"Nothing could be ranked{variants}.", Tiers([])])
    against_floor = [
        Column("times the floor", "x_floor", as_interval()),
        Column("GFLOP/s", "gflops", ",.0f"),
        Column("of peak", "peak_share", ".0%"),
    ]
    columns = [
        *RANKED,
        *(against_floor if len(findings.floors) else []),
        *([] if findings.apart else LEARNED),
    ]
    spans = [f"{group.name}: {span(group.rows, 'step_ms', MS, 'ms a step')}." for group in groups]
    title = "Times the fastest of the tier, with the intervals of the verdicts"
    tables = [(group.markdown, Table(columns, group.rows)) for group in groups]
    figure = Figure("ranking", title, " ".join(spans))
    about = [words(findings), Tiers(tables), *certificates.footnote(groups), figure]
    return Section("Ranking", about)


def words(findings: Findings) -> str:
    """What a reader must know to read the tables of cases."""
    known = findings.verdicts[findings.verdicts["ratio_low"].notna()]
    adjusted = (
        f" Its intervals are those of the verdicts, with a level of "
        f"{number(known['confidence'].max(), '.1%')}, adjusted for the number of pairs; all others "
        "have 95%."
        if len(known)
        else ""
    )
    return (
        "A case is a framework in one way of writing the training; *streamed* ones are handed each "
        "batch by the host, the others have all images on the device. In a *round* every case is "
        "timed once, in random order; a *launch* is a set of fresh processes. *Times the fastest* "
        "is taken within rounds, where what slows the machine slows both, so it may differ from "
        f"the ratio of two times, whose intervals also hold how the machine varies.{adjusted} The "
        "*floor* is a step of nothing but its gather, matrix products and Adam's pass."
    )


def pairs_of_speeds(findings: Findings) -> Section | None:
    """Every pair within a tier, and what the run says of it."""
    pairs = findings.verdicts[findings.verdicts["relation"] == TIER]
    if pairs.empty:
        return None
    has_any = pairs["ratio_low"].notna().any()
    level = (
        f" have a level of {number(pairs['confidence'].iloc[0], '.1%')}, adjusted for how many "
        "pairs are judged"
        if has_any
        else " need a second launch"
    )
    about = (
        "How many times as long a step of the first takes as one of the second, within rounds; the "
        f"intervals{level}. *Launches* is how many a new run would likely need to decide."
    )
    columns = [
        *(CASE, Column("against", "other", text=True)),
        Column("times as long", "ratio", as_interval()),
        Column("p adjusted", "p_adjusted", ".3f"),
        Column("verdict", "verdict", text=True),
        Column("launches", "launches_needed", ".0f"),
    ]
    return Section("Which speeds differ", [about, Table(columns, pairs)])


def terminal_ranking(findings: Findings) -> list[tuple[str, Table]]:
    """The main tables in short, for a terminal, each with what its cases have in common."""
    floor = Column("times the floor", "x_floor", ".2f")
    test = [] if findings.apart else [TEST]
    columns = [*RANKED, floor, *test, Column("start-up (s)", "startup_seconds", ".1f")]
    groups = comparable_groups(findings)
    return [(group.name, Table(columns, group.rows)) for group in groups]


def not_ranked(bundle: Bundle, findings: Findings) -> Section | None:
    """Cases that are not compared, and why; for failed ones the last lines that they printed."""
    summary = findings.summary
    is_measured = summary["status"] == "measured"
    # Cases that have neither rank nor flaw are in the ladders and among the variants.
    flawed = ~summary["certified"] | (summary["held_back"] != "")
    rows = summary[~is_measured | (flawed & ~control_of(summary))]
    if rows.empty:
        return None
    reasons = {"measured": UNCERTIFIED, "not reached": NOT_REACHED}
    outputs = [
        f"The last lines that {text(case)} printed:\n\n{block(printed)}"
        for case in rows.loc[rows["status"] == "failed", "case"]
        if (printed := end_of_output(bundle.folder, case))
    ]
    held_back = rows["held_back"].where(rows["certified"] & (rows["held_back"] != ""))
    reason = held_back.fillna(rows["status"].map(reasons)).fillna(rows["reason"])
    rows = rows.assign(reason=reason)
    return Section("Not ranked", [Table([CASE, sections.STATUS, sections.REASON], rows), *outputs])


def what_differs(findings: Findings) -> Section | None:
    """The entries of the ledger in which cases differ."""
    if findings.ledger.empty:
        return None
    # An entry is named in the first of its rows.
    repeated = findings.ledger["title"].duplicated()
    rows = findings.ledger.assign(title=findings.ledger["title"].mask(repeated, ""))
    columns = [
        Column("what", "title", text=True),
        Column("value", "value", text=True),
        Column("cases", "cases", lambda row, name: ", ".join(row[name]), text=True),
    ]
    about = (
        "Read back from the running frameworks; what is not listed was the same in all cases. "
        "ledger.csv has everything."
    )
    return Section("What the cases did differently", [about, Table(columns, rows)])


def environment(bundle: Bundle) -> Section:
    """Machine, versions and workload."""
    recorded, machine = bundle.environment, bundle.environment.machine
    run, workload = recorded.run, recorded.workload
    entries = {
        "started": recorded.started,
        "cpu": f"{machine.cpu}, {counted(run.threads, 'thread')} on {run.threads} of "
        f"{machine.cpus_available} CPUs"
        f"{f' ({run.cpus})' if run.cpus else ''}, "
        + (f"{counted(machine.numa_nodes, 'NUMA node')}, " if machine.numa_nodes else "")
        + ", ".join(machine.instructions),
        "gpu": "; ".join(machine.gpus) or "none",
        "system": f"{machine.system}, Python {recorded.python}",
        "packages": ", ".join(f"{name} {number}" for name, number in recorded.packages.items()),
        "network": "-".join(str(size) for size in workload.layer_sizes),
        "training": f"{workload.steps:,} steps on batches of {workload.batch_size}, Adam "
        f"with learning rate {workload.learning_rate}, {run.finished_launches} launches from "
        f"seed {run.seed}",
        "data": workload.data
        + (", sorted by class and so shuffled before its split" if workload.data_shuffled else ""),
    }
    if run.session_cpu_share is not None:
        share = number(run.session_cpu_share, ".1%")
        entries["the session itself"] = f"{share} of a CPU while it waited for blocks"
    if (nodes := bundle.nodes).size:
        entries["nodes"] = f"{counted(nodes.nunique(), 'node')} of this kind, {len(nodes)} launches"
    if (others := bundle.tables["rounds"]["other_share"].dropna()).size:
        median, worst = (number(share, ".1%") for share in (others.median(), others.max()))
        entries["other processes"] = f"{median} of the processors' time in the median round, "
        entries["other processes"] += f"{worst} in the worst"
    if (waits := bundle.tables["samples"]["wait_seconds"].dropna() * 1000).size:
        entries["before each block"] = (
            f"a wait of {number(waits.median(), '.0f')} ms in the median and of "
            f"{number(waits.max(), '.0f')} ms at most, until no thread of another case ran"
        )
    entries["commit"] = commit(recorded)
    quoted = {term: text(meaning) for term, meaning in entries.items()}
    return Section("Environment", [{"command": code(run.command)} | quoted])


def title(findings: Findings) -> str:
    """The frameworks that were compared."""
    rows = ranked(findings.summary)
    # A run of variants alone ranks nothing.
    backends = dict.fromkeys((rows if len(rows) else measured(findings.summary))["backend"])
    titles = [title_of(name) for name in dict.fromkeys([*BACKENDS, *backends]) if name in backends]
    return f"One network, one Adam: {joined(titles) or 'no result'}"


def leading(findings: Findings) -> list[str]:
    """Who is fastest, tier by tier, and what the fastest groups of ranks bring."""
    return [*leads.fastest(findings), *filter(None, [scaling.lead(findings)])]


def answer(findings: Findings) -> str:
    """The answer of a report as one text, for a terminal."""
    lead = leading(findings)
    return "\n\n".join([bullets(lead), sentences.overall(findings)])


def document(bundle: Bundle, findings: Findings) -> Document:
    """The whole report."""
    cautions = [*sentences.cautions(bundle, findings), sentences.SCOPE]
    candidates = [
        Section("What this run cannot tell", [cautions]),
        ranking(findings),
        pairs_of_speeds(findings),
        ladders.ladders(findings),
        ladders.variants(bundle, findings),
        ladders.releases(bundle, findings),
        not_ranked(bundle, findings),
        accuracy.accuracy(bundle, findings),
        accuracy.tutorial(bundle, findings),
        accuracy.time_to_accuracy(findings),
        scaling.scaling(findings, bundle.environment.run.hosts or 0),
        costs.where_the_time_goes(findings),
        costs.startup(findings),
        costs.paying_off(findings),
        certificates.certificates(bundle),
        what_differs(findings),
        environment(bundle),
        Section("How it was measured", [method.METHOD]),
    ]
    recorded, machine = bundle.environment.run, bundle.environment.machine
    on_gpu = any(case.device == "gpu" for case in recorded.cases)
    threads = [f"{machine.cpu}, {counted(recorded.threads, 'thread')}"]
    where = list(machine.gpus) if on_gpu and machine.gpus else threads
    return Document(
        title=title(findings),
        lead=leading(findings),
        rest=sentences.overall(findings),
        sections=[one for one in candidates if one],
        about=[
            *where,
            f"{recorded.finished_launches} launches",
            bundle.environment.started[:10],
        ],
    )
