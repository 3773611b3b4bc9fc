"""The sections of a report on what a step and a start-up cost, and when a slower start pays off."""

import pandas as pd

from backends.registry import BACKENDS, title_of
from benchmarks.analysis import break_even, limits
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.reports.cases import span
from benchmarks.reports.formats import MISSING, MS, as_interval, as_text, joined, number, text
from benchmarks.reports.run import sentences
from benchmarks.reports.sections import CASE, Column, Figure, Part, Section, Table

STARTUP = {
    "import_seconds": "import (s)",
    "build_seconds": "build (s)",
    "first_call_seconds": "first call (s)",
    "startup_seconds": "sum (s)",
    "first_call_again_seconds": "first call again (s)",
    "certificate_seconds": "certificate (s)",
    "warmup_seconds": "warm-up (s)",
}


def where_the_time_goes(findings: Findings) -> Section | None:
    """The floors, and the parts of each case's step."""
    # Groups of ranks have floors of their own: see scaling.py.
    alone = findings.summary["ranks"] == 1
    measured = findings.summary[(findings.summary["status"] == "measured") & alone]
    if findings.floors.empty or measured.empty:
        return None
    floors = [
        Column("implemented in", "backend", lambda row, name: title_of(row[name]), text=True),
        Column("floor (ms)", "step_ms", as_interval(MS)),
        Column("its pieces alone (ms)", "bound_ms", MS),
        Column("its launches alone (ms)", "launches_ms", MS),
        Column("its pass alone (ms)", "pass_ms", ".2f"),
        Column("peak (GFLOP/s)", "peak_gflops", ",.0f"),
    ]
    columns = [
        CASE,
        *(Column(part, f"{part}_ms", ".2f") for part in (*limits.BOUNDS, "waited")),
        Column("fixed cost of a block (ms)", "fixed_ms", ".1f"),
        Column("times the floor of its library", "x_own_floor", as_interval()),
        Column("bound by", "bound", lambda row, name: as_text(row, name) or MISSING, text=True),
    ]
    parts: list[Part] = [
        "A floor is a step that is nothing but the gather of its batch, its matrix products and "
        "Adam's pass over all weights, in a row and as fast as one framework can call them, timed "
        "in the same rounds. Its launches alone are the same calls for a network of one unit a "
        "layer, which on a GPU is the gaps between kernels; the peak is the rate of a large square "
        "product. The fastest is the *attained floor*, to which *times the floor* refers; the "
        "*floor of its library* is that of the case's framework.",
        Table(floors, findings.floors),
        *bound(findings),
        "Milliseconds of a step. "
        + " ".join(f"*{name.capitalize()}*: {about}." for name, about in limits.BOUNDS.items())
        + " *Waited*: time from the call's return until the device had finished. *Fixed cost of a "
        "block*: what each block costs once, in its lead-in and so in no step time; less than none "
        "where noise is larger.",
        Figure("step_parts", "The parts of a step", _largest_parts(measured)),
        Table(columns, measured),
        sentences.bounds(measured),
    ]
    return Section("Where the time goes", parts)


def _largest_parts(measured: pd.DataFrame) -> str:
    """Which part of a step is the largest, of how many cases."""
    named = (measured["bound"] != "") & ~control_of(measured)
    counts = measured.loc[named, "bound"].value_counts()
    largest = [f"{part} in {count}" for part, count in counts.items()]
    return f"The largest part, by cases: {joined(largest)}." if largest else ""


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
        "Neither is a limit of the hardware: a better library would lower both. "
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
    empty = (rows[~control_of(rows)], "startup_seconds", ".1f", "s")
    figure = Figure("startup", "Start-up by parts", f"With empty caches {span(*empty)}.")
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
    plainly = f"{first} is ahead from the first step"
    plainly += "".join(f"; from {steps:,} steps on {case}" for steps, case in later)
    parts: list[Part] = [
        "Start-up and steps together, over all tiers and once compilers have filled their caches: "
        f"{leaders}.",
        Figure("total_time", "Total time against steps", f"With filled caches, {plainly}."),
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
            Figure("break_even", title, _soonest(findings.break_even)),
            Table(columns, findings.break_even),
        ]
    return Section("When a slower start pays off", parts)


def _soonest(pairs: pd.DataFrame) -> str:
    """Which slower starter has overtaken another first."""
    known = pairs.dropna(subset=["steps_low", "steps_high"])
    if known.empty:
        return ""
    row = known.sort_values("steps").iloc[0]
    return f"Soonest: {row['case']} past {row['overtakes']}, after {row['steps']:,.0f} steps."
