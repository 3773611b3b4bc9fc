"""The markdown report of a bundle: every figure in it stands in one of the bundle's CSVs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backends.registry import BACKENDS, title_of
from benchmarks.analysis import break_even, limits
from benchmarks.analysis.findings import Bundle, Findings
from benchmarks.bundle.writer import end_of_output
from benchmarks.reports import accuracy as accuracy_report
from benchmarks.reports import sentences as words
from benchmarks.reports.figures import static as figures
from benchmarks.reports.sections import Facts, Figure, Part, Section, Table, document, section
from benchmarks.reports.sentences import interval, number, percent
from benchmarks.schema import EXACT_BOUND, LEVELS, STAGES


def ranking(findings: Findings) -> list[Part]:
    """The main table; one for each set of comparable cases."""
    parts: list[Part] = []
    groups = words.groups(findings)
    if groups:
        title = "Times the fastest, with 95% intervals"
        parts.append(Figure("ranking", title, f"figures/{figures.RANKING}"))
    for where, group in groups:
        parts += [f"Ranked {where}:"] if len(groups) > 1 else []
        parts.append(
            Table(
                [
                    {
                        "rank": row["rank"],
                        "case": row["case"],
                        "tier": row["tier"],
                        "ms a step": interval(
                            row["step_ms"], row["step_ms_low"], row["step_ms_high"], words.MS
                        ),
                        "times the fastest": interval(
                            row["times_fastest"],
                            row["times_fastest_low"],
                            row["times_fastest_high"],
                        ),
                        **_against_floor(row, findings),
                        "validation": percent(row["validation_accuracy"], 2),
                        "test": percent(row["test_accuracy"], 2),
                        "steps": f"{row['steps']:,}",
                    }
                    for _, row in group.iterrows()
                ]
            )
        )
    return parts or ["Nothing could be ranked."]


def _against_floor(row: pd.Series, findings: Findings) -> dict[str, str]:
    """A case's cells of the main table that tell how far it is from the machine's limit."""
    if findings.floors.empty:
        return {}
    return {
        "times the floor": interval(row["x_floor"], row["x_floor_low"], row["x_floor_high"]),
        "GFLOP/s": number(row["gflops"], ",.0f"),
        "of peak": percent(row["peak_share"], 0),
    }


def not_ranked(bundle: Bundle, findings: Findings) -> Section | None:
    """Cases without a rank, and why."""
    rows, outputs = [], []
    for _, row in findings.summary[findings.summary["rank"].isna()].iterrows():
        if row["case"].endswith("(control)") and row["status"] == "measured":
            continue
        why = row["reason"]
        if row["status"] == "measured":
            why = "its certificate failed"
        elif row["status"] == "not reached":
            why = "the run ended before its first block"
        rows.append({"case": row["case"], "what": row["status"], "why": why})
        printed = end_of_output(bundle.folder, row["case"])
        if row["status"] == "failed" and printed:
            outputs.append(f"The last lines that {row['case']} printed:\n\n```\n{printed}\n```")
    return section("Not ranked", Table(rows), *outputs) if rows else None


def where_the_time_goes(findings: Findings) -> Section | None:
    """The floors, and the parts of each case's step."""
    measured = findings.summary[findings.summary["status"] == "measured"]
    if findings.floors.empty or measured.empty:
        return None
    return section(
        "Where the time goes",
        "The floor is a step that is nothing but its matrix products and one pass over Adam's "
        "arrays, timed in the same rounds; the peak is that of a large square product. The "
        "fastest of these is what *times the floor* refers to.",
        Table(
            [
                {
                    "what": f"by the means of {title_of(row['backend'])}",
                    "floor (ms)": interval(
                        row["step_ms"], row["step_ms_low"], row["step_ms_high"], words.MS
                    ),
                    "peak (GFLOP/s)": number(row["peak_gflops"], ",.0f"),
                }
                for _, row in findings.floors.iterrows()
            ]
        ),
        "Milliseconds of a step. "
        + " ".join(f"*{name.capitalize()}*: {about}." for name, about in limits.BOUNDS.items())
        + " *Waited*: what was left to do when the framework had returned.",
        Figure("parts", "The parts of a step", f"figures/{figures.STEP_PARTS}"),
        Table(
            [
                {
                    "case": row["case"],
                    **{
                        name: number(row[f"{name}_ms"], ".2f")
                        for name in ("arithmetic", "memory", "dispatch", "input", "waited")
                    },
                    "times its own floor": number(row["x_own_floor"], ".2f"),
                    "bound by": row["bound"] or "–",
                }
                for _, row in measured.iterrows()
            ]
        ),
        words.bullets(words.bounds(measured)),
    )


def startup(findings: Findings) -> Section | None:
    """Start-up by parts, memory, and on a GPU energy."""
    known = findings.summary[findings.summary["launches"] > 0]
    if known.empty:
        return None
    columns = {
        "import_seconds": "import (s)",
        "build_seconds": "build (s)",
        "first_call_seconds": "first call (s)",
        "startup_seconds": "sum (s)",
        "first_call_again_seconds": "first call again (s)",
        "certificate_seconds": "certificate (s)",
        "warmup_seconds": "warm-up (s)",
        "warmup_steps": "warm-up (steps)",
    }
    # Shown where there is something to show.
    on_gpu = {
        "peak_device_mib": ("peak GPU memory (MiB)", ",.0f"),
        "energy_mj_per_step": ("energy (mJ a step)", words.MS),
    }
    rows = [
        {
            "case": row["case"],
            **{
                name: number(row[column], ",.0f" if name.endswith("(steps)") else ".2f")
                for column, name in columns.items()
            },
            "peak memory (MiB)": number(row["peak_rss_mib"], ",.0f"),
            **{
                name: number(row[column], form)
                for column, (name, form) in on_gpu.items()
                if known[column].notna().any()
            },
        }
        for _, row in known.iterrows()
    ]
    device = (
        " Peak memory of the GPU is the framework's own count up to the end of the first call. "
        "Energy is that of the whole GPU over a second or more of training on, after the last "
        "round, by the GPU's own counter."
    )
    return section(
        "Start-up and memory",
        "Medians over launches. Import is the framework's own, build puts model and data in place, "
        "the first call compiles: with empty caches in the first launch, and again in the later "
        "ones, where a compiler may find what it kept. Warm-up is what was trained and discarded "
        "before the first timed block. None of it is in the step time."
        + (device if known[list(on_gpu)].notna().any(axis=None) else ""),
        Figure("startup", "Start-up by parts; a dot is the sum of one launch"),
        Table(rows),
    )


def paying_off(findings: Findings) -> Section | None:
    """When a slower start pays off."""
    if findings.totals.empty:
        return None
    overtaken = "After how many steps the slower starter has overtaken the other:"
    overtaking = Figure("break_even", "Steps after which the first has overtaken the second")
    (_, first), *later = break_even.leaders(findings.totals)
    sentence = f"{first} is ahead from the first step"
    sentence += "".join(f"; from about {steps:,} steps on, {case}" for steps, case in later)
    rows = [
        {
            "case": row["case"],
            "overtakes": row["overtakes"],
            "steps, empty caches": number(row["first_steps"], ",.0f"),
            "steps, caches filled": interval(
                row["steps"], row["steps_low"], row["steps_high"], ",.0f"
            ),
        }
        for _, row in findings.break_even.iterrows()
    ]
    return section(
        "When a slower start pays off",
        f"Start-up and steps together, once compilers have filled their caches: {sentence}.",
        Figure("total_time", "Total time against steps", f"figures/{figures.TOTAL_TIME}"),
        *((overtaken, overtaking, Table(rows)) if rows else ()),
    )


def certificates(bundle: Bundle) -> Section | None:
    """The largest error of each case and stage, over parameters and launches."""
    rows = bundle.tables["certificates"]
    if rows.empty:
        return None
    exact, timed = (rows[rows["level"] == level] for level in LEVELS)
    return section(
        "Certificates",
        "Relative errors against the float64 reference; of all parameters and launches the one "
        "that came closest to its bound.",
        Figure("certificates", "How far each error lies below its bound"),
        "*Exact*: the same backend and mode in float64, where no error may exceed "
        f"{EXACT_BOUND:.0e}.",
        Table([{"case": case, **_errors(own)} for case, own in exact.groupby("case", sort=False)]),
        "*As timed*: the case itself, its error and the bound. A bound is ten times the largest "
        "error of the reference in the same precision, when every sum is taken in another order.",
        Table(
            [
                {"case": case, **_errors(own, with_bound=True)}
                for case, own in timed.groupby("case", sort=False)
            ]
        ),
        *_not_read(rows),
        *_failed_checks(rows),
    )


def _errors(own: pd.DataFrame, *, with_bound: bool = False) -> dict[str, str]:
    """The worst figure of each stage of one case and level."""
    cells = {}
    for stage in STAGES:
        figures = own[(own["stage"] == stage) & own["not_read"].isna()]
        cell = "–"
        if len(figures):
            # An error or a bound that is not finite is the worst of all.
            share = (figures["relative_error"] / figures["bound"]).fillna(np.inf)
            worst = figures.iloc[int(share.argmax())]
            cell = f"{worst['relative_error']:.0e}" if worst["relative_error"] else "0"
            cell += f" of {worst['bound']:.0e}" if with_bound else ""
            cell += "" if figures["passed"].all() else " ✗"
        cells[stage.replace("_", " ")] = cell
    return cells


def _not_read(rows: pd.DataFrame) -> list[str]:
    """Which stages a mode does not give, and why."""
    missing = rows[rows["not_read"].notna()].drop_duplicates(["case", "stage"])
    return [
        f"Not read in {row['case']}: {row['stage'].replace('_', ' ')} ({row['not_read']}); the "
        "stage after it covers it."
        for _, row in missing.iterrows()
    ]


def _failed_checks(rows: pd.DataFrame) -> list[str]:
    """Where each failed case first departs from the reference."""
    failed = rows[~rows["passed"]].drop_duplicates("case")
    return [
        f"✗ {row['case']} first departs from the reference at {words.departure(row)}."
        for _, row in failed.iterrows()
    ]


def what_differs(findings: Findings) -> Section | None:
    """The entries of the ledger in which cases differ."""
    if findings.ledger.empty:
        return None
    rows = [
        {
            "what": row["title"] if first else "",
            "value": row["value"],
            "cases": ", ".join(row["cases"]),
        }
        for first, (_, row) in zip(
            ~findings.ledger["title"].duplicated(), findings.ledger.iterrows(), strict=True
        )
    ]
    return section(
        "What the cases did differently",
        "Read back from the running frameworks; what is not listed was the same in all cases. "
        "ledger.csv has everything.",
        Table(rows),
    )


def environment(bundle: Bundle) -> Section:
    """Machine, versions and workload."""
    facts, machine = bundle.environment, bundle.environment["machine"]
    load = facts["workload"]
    lines = {
        "command": f"`{facts['run']['command']}`",
        "started": facts["started"],
        "cpu": f"{machine['cpu']}, {facts['run']['threads']} of {machine['cpus_available']} CPUs "
        f"used, {', '.join(machine['instructions'])}",
        "gpu": "; ".join(machine["gpus"]) or "none",
        "system": f"{machine['system']}, Python {facts['python']}",
        "packages": ", ".join(f"{name} {version}" for name, version in facts["packages"].items()),
        "network": "-".join(str(size) for size in load["layer_sizes"]),
        "training": f"{load['steps']:,} steps of {load['batch_size']}, Adam with learning rate "
        f"{load['learning_rate']}, {facts['run']['finished_launches']} launches from seed "
        f"{facts['run']['seed']}",
        "data": load["data"],
        **_session_load(facts["run"]),
        "commit": facts["git_commit"] + (" with changes" if facts["git_modified"] else ""),
    }
    return section("Environment", Facts(lines))


def _session_load(run: Mapping[str, Any]) -> dict[str, str]:
    """What the process that measures took for itself; older bundles do not say."""
    share = run.get("session_cpu_share")
    return {} if share is None else {"the session itself": f"{percent(share)} of a CPU while it "
        "waited for blocks"}  # fmt: skip


def title(findings: Findings) -> str:
    """What was compared."""
    ranked = set(words.ranked(findings.summary)["backend"])
    found = words.joined(
        [title_of(name) for name in dict.fromkeys((*BACKENDS, *ranked)) if name in ranked]
    )
    return f"One network, one Adam: {found or 'no result'}"


def answer(findings: Findings) -> str:
    """The answer, before anything else."""
    return " ".join(words.fastest(findings) + words.accuracy(findings) + words.certainty(findings))


def sections(bundle: Bundle, findings: Findings) -> list[Section]:
    """What follows the answer and the ranking."""
    found = [
        not_ranked(bundle, findings),
        section("What this run cannot tell", words.bullets(words.cautions(bundle, findings))),
        accuracy_report.accuracy(bundle, findings),
        accuracy_report.tutorial(bundle, findings),
        accuracy_report.time_to_accuracy(findings),
        where_the_time_goes(findings),
        startup(findings),
        paying_off(findings),
        certificates(bundle),
        what_differs(findings),
        section("How it was measured", words.METHOD),
        environment(bundle),
    ]
    return [one for one in found if one]


def markdown(bundle: Bundle, findings: Findings) -> str:
    """The whole report."""
    opening = [answer(findings), *ranking(findings)]
    return document(title(findings), opening, sections(bundle, findings))


def write(bundle: Bundle, findings: Findings, folder: Path) -> None:
    """Write report.md and its figures."""
    figures.write(findings, folder / "figures")
    (folder / "report.md").write_text(markdown(bundle, findings))
