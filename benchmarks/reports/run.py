"""The report of a bundle; every figure in it stands in one of the bundle's CSVs."""

from pathlib import Path

from backends.registry import BACKENDS, title_of
from benchmarks.analysis import break_even, limits
from benchmarks.analysis.environments import commit
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.bundle import files
from benchmarks.bundle.reader import Bundle, end_of_output
from benchmarks.reports import (
    accuracy,
    certificates,
    ladders,
    leads,
    sections,
    sentences,
)
from benchmarks.reports.cases import comparable_groups, measured, ranked
from benchmarks.reports.figures import static
from benchmarks.reports.formats import (
    MISSING,
    MS,
    as_interval,
    as_text,
    block,
    bullets,
    code,
    counted,
    joined,
    number,
    text,
)
from benchmarks.reports.sections import CASE, Column, Figure, Part, Section, Table, document

RANKED = [Column("rank", "rank"), certificates.CASE_MARKED, sections.STEP, sections.TIMES_FASTEST]
TEST = Column("test", "test_accuracy", ".2%")
LEARNED = [Column("validation", "validation_accuracy", ".2%"), TEST, sections.STEPS]
"""What each case has learned, where it did so while it was timed."""
STARTUP = {
    "import_seconds": "import (s)",
    "build_seconds": "build (s)",
    "first_call_seconds": "first call (s)",
    "startup_seconds": "sum (s)",
    "first_call_again_seconds": "first call again (s)",
    "certificate_seconds": "certificate (s)",
    "warmup_seconds": "warm-up (s)",
}


def ranking(findings: Findings) -> list[Part]:
    """The main tables, one for each tier."""
    groups = comparable_groups(findings)
    if not groups:
        variants = (
            "; variants are compared with one another below" if len(findings.verdicts) else ""
        )
        return [f"Nothing could be ranked{variants}."]
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
    parts: list[Part] = [
        Figure("ranking", "Times the fastest of the tier, with 95% intervals"),
    ]
    for group in groups:
        parts += [group.markdown, Table(columns, group.rows)]
    return [*parts, *certificates.footnote(groups)]


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
    reasons = {
        "measured": "its certificate failed",
        "not reached": "the run ended before its first block",
    }
    outputs = [
        f"The last lines that {text(case)} printed:\n\n{block(printed)}"
        for case in rows.loc[rows["status"] == "failed", "case"]
        if (printed := end_of_output(bundle.folder, case))
    ]
    held_back = rows["held_back"].where(rows["certified"] & (rows["held_back"] != ""))
    reason = held_back.fillna(rows["status"].map(reasons)).fillna(rows["reason"])
    rows = rows.assign(reason=reason)
    return Section("Not ranked", [Table([CASE, sections.STATUS, sections.REASON], rows), *outputs])


def where_the_time_goes(findings: Findings) -> Section | None:
    """The floors, and the parts of each case's step."""
    measured = findings.summary[findings.summary["status"] == "measured"]
    if findings.floors.empty or measured.empty:
        return None
    floors = [
        Column("implemented in", "backend", lambda row, name: title_of(row[name]), text=True),
        Column("floor (ms)", "step_ms", as_interval(MS)),
        Column("its pieces alone (ms)", "bound_ms", MS),
        Column("its pass alone (ms)", "pass_ms", ".2f"),
        Column("peak (GFLOP/s)", "peak_gflops", ",.0f"),
    ]
    columns = [
        CASE,
        *(Column(part, f"{part}_ms", ".2f") for part in (*limits.BOUNDS, "waited")),
        Column("fixed cost of a block", "fixed_ms", ".1f"),
        Column("times the floor of its library", "x_own_floor", as_interval()),
        Column("bound by", "bound", lambda row, name: as_text(row, name) or MISSING, text=True),
    ]
    parts: list[Part] = [
        "A floor is a step that is nothing but the gather of its batch, its matrix products and "
        "Adam's pass over all weights, in a row and as fast as one framework can call them, timed "
        "in the same rounds; the peak is the rate of a large square product beside them. The "
        "fastest is the *attained floor*, to which *times the floor* refers; the *floor of its "
        "library* is that of the case's framework.",
        Table(floors, findings.floors),
        *bound(findings),
        "Milliseconds of a step. "
        + " ".join(f"*{name.capitalize()}*: {about}." for name, about in limits.BOUNDS.items())
        + " *Waited*: time from the call's return until the device had finished. *Fixed cost of a "
        "block*: what each block costs once, in its lead-in and so in no step time.",
        Figure("step_parts", "The parts of a step"),
        Table(columns, measured),
        sentences.bounds(measured),
    ]
    return Section("Where the time goes", parts)


def bound(findings: Findings) -> list[Part]:
    """The pieces of a step, each alone, by the fastest library of all and of each framework."""
    bounds = findings.bounds
    if bounds.empty:
        return []
    pieces = list(dict.fromkeys(bounds["piece"]))
    by_backend = bounds.pivot_table(index="piece", columns="backend", values="piece_ms")
    fastest = bounds[bounds["fastest"]].drop_duplicates("piece")
    rows = fastest.merge(by_backend, on="piece").sort_values(
        "piece", key=lambda names: names.map(pieces.index)
    )
    names = [name for name in dict.fromkeys([*BACKENDS, *by_backend]) if name in by_backend]
    columns = [
        Column("piece", "piece", text=True),
        Column("fastest library", "library", text=True),
        Column("alone (ms)", "piece_ms", ".3f"),
        *(Column(f"{title_of(name)} (ms)", name, ".3f") for name in names),
    ]
    attained = findings.floors["step_ms"].min()
    return [
        f"The *bound* is {number(limits.bound_ms(bounds), MS)} ms: the sum of a step's pieces, "
        "each alone, with warm caches, by the fastest library of any framework. The attained "
        f"floor, {number(attained, MS)} ms, is the fastest sequence of them within one framework. "
        "pieces.csv has every library.",
        Table(columns, rows),
    ]


def startup(findings: Findings) -> Section | None:
    """Start-up by parts, memory, and on a GPU energy."""
    rows = findings.summary[findings.summary["launches"] > 0]
    if rows.empty:
        return None
    on_gpu = [
        Column("peak GPU memory (MiB)", "peak_device_mib", ",.0f"),
        Column("energy (mJ a step)", "energy_mj_per_step", MS),
    ]
    on_gpu = [column for column in on_gpu if rows[column.source].notna().any()]
    columns = [
        *(CASE, *(Column(heading, source, ".2f") for source, heading in STARTUP.items())),
        Column("warm-up (steps)", "warmup_steps", ",.0f"),
        Column("peak memory (MiB)", "peak_rss_mib", ",.0f"),
        *on_gpu,
    ]
    device = (
        " Peak GPU memory is the framework's own count up to the end of the first call. Energy is "
        "that of the whole GPU, by the GPU's own counter, while training went on for a second or "
        "more after the last round."
    )
    about = (
        "Medians over launches. Import is the framework's own, build puts model and data in place, "
        "the first call compiles: with empty caches in the first launch, and again in the later "
        "ones, where a compiler may find what it kept. Warm-up is training that was discarded, "
        "before the first timed block. None of this is in the step time."
    )
    figure = Figure("startup", "Start-up by parts; a dot is the sum of one launch", drawn=False)
    table = Table(columns, rows)
    return Section("Start-up and memory", [about + device * bool(on_gpu), figure, table])


def paying_off(findings: Findings) -> Section | None:
    """The numbers of steps after which slower starters are ahead."""
    if findings.totals.empty:
        return None
    (_, first), *later = break_even.leaders(findings.totals)
    tiers = findings.summary.set_index("case")["tier"].to_dict()

    def named(case: str) -> str:
        return text(case) + f" ({tiers[case]})" * bool(tiers[case])

    leaders = f"{named(first)} is ahead from the first step"
    leaders += "".join(f"; from about {steps:,} steps on, {named(case)}" for steps, case in later)
    parts: list[Part] = [
        "Start-up and steps together, over all tiers and once compilers have filled their caches: "
        f"{leaders}.",
        Figure("total_time", "Total time against steps"),
    ]
    if len(findings.break_even):
        title = "Steps after which the first has overtaken the second"
        columns = [
            *(CASE, Column("overtakes", "overtakes", text=True)),
            Column("steps, empty caches", "first_steps", ",.0f"),
            Column("steps, caches filled", "steps", as_interval(",.0f")),
        ]
        parts += [
            "The number of steps after which the slower starter has overtaken the other:",
            Figure("break_even", title, drawn=False),
            Table(columns, findings.break_even),
        ]
    return Section("When a slower start pays off", parts)


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
        "cpu": f"{machine.cpu}, {run.threads} of {machine.cpus_available} CPUs used"
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


def answer(findings: Findings) -> str:
    """The answer, before anything else: a line for each tier, and what holds for all of them."""
    lead = leads.fastest(findings)
    paragraphs = [bullets(lead)] if len(lead) > 1 else lead
    return "\n\n".join([*paragraphs, sentences.overall(findings)])


def content(bundle: Bundle, findings: Findings) -> list[Section]:
    """All that follows the answer and the ranking."""
    cautions = [*sentences.cautions(bundle, findings), sentences.SCOPE]
    candidates = [
        ladders.ladders(findings),
        ladders.variants(bundle, findings),
        not_ranked(bundle, findings),
        Section("What this run cannot tell", [cautions]),
        accuracy.accuracy(bundle, findings),
        accuracy.tutorial(bundle, findings),
        accuracy.time_to_accuracy(findings),
        where_the_time_goes(findings),
        startup(findings),
        paying_off(findings),
        certificates.certificates(bundle),
        what_differs(findings),
        Section("How it was measured", [sentences.METHOD]),
        environment(bundle),
        ladders.releases(bundle, findings),
    ]
    return [one for one in candidates if one]


def markdown(bundle: Bundle, findings: Findings) -> str:
    """The whole report as markdown."""
    opening = [answer(findings), *ranking(findings)]
    return document(title(findings), opening, content(bundle, findings))


def write(bundle: Bundle, findings: Findings, folder: Path) -> None:
    """Write report.md and its figures."""
    static.write(findings, folder)
    files.write_text(folder, "report.md", markdown(bundle, findings))
