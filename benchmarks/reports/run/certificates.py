"""The section of a report on certificates: how far each case departs from the reference."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.analysis.findings import control_of
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.cases import Group
from benchmarks.reports.formats import MISSING, joined, stage_title, text
from benchmarks.reports.run.sentences import block_departure, departure, substitutions
from benchmarks.reports.sections import CASE, Column, Figure, Part, Section, Table
from benchmarks.schema import BLOCK_CHECKS, EVIDENCE, EXACT_BOUND, HORIZON, LEVELS, STAGES

MARK = "‡"
"""Behind the name of a case whose products are certified in float64 by another library's."""
CASE_MARKED = Column(
    "case", "case", lambda row, _: f"{row['case']} {MARK if row['substituted'] else ''}".strip(),
    text=True,
)  # fmt: skip


def footnote(groups: Sequence[Group]) -> list[Part]:
    """What the mark in ranked tables means, where one has it."""
    if not any((group.rows["substituted"] != "").any() for group in groups):
        return []
    return [f"{MARK} Certified in float64 with another library's products: see *Certificates*."]


def certificates(bundle: Bundle) -> Section | None:
    """The largest error of each case and stage, over parameters and launches."""
    checks = bundle.tables["certificates"]
    if checks.empty:
        return None
    exact, timed = (checks[checks["level"] == level] for level in LEVELS)
    not_read = checks[checks["not_read"].notna()].drop_duplicates(["case", "stage"])
    failed = checks[~checks["passed"]].drop_duplicates("case")
    parts: list[Part] = [
        "Relative errors against the float64 reference; over all parameters and launches, the one "
        "that came closest to its bound.",
        Figure("certificates", "How far each error lies below its bound", _nearest(bundle)),
        f"*Exact*: the same backend and mode in float64, where no error may exceed "
        f"{EXACT_BOUND:.0e}{_many_steps(exact)}.{_kept(bundle.tables['ledger'])}",
        _errors(exact, (*STAGES, HORIZON) if HORIZON in set(exact["stage"]) else STAGES),
        "*As timed*: the case itself, its error and the bound. A bound is ten times the largest "
        "error of the reference in the same precision, when every sum is taken in another order.",
        _errors(timed, STAGES, with_bound=True),
        *(
            text(
                f"Not read in {row['case']}: {stage_title(row['stage'])} ({row['not_read']}); the "
                "stage after it covers it."
            )
            for _, row in not_read.iterrows()
        ),
        *_of_blocks(bundle.tables["blocks"]),
        *(text(f"✗ {row['case']} {departure(row)}.") for _, row in failed.iterrows()),
    ]
    return Section("Certificates", parts)


MARGINS = ("case", "level", "stage", "relative_error", "bound", "share")
"""The columns of `margins`."""


def margins(checks: pd.DataFrame) -> pd.DataFrame:
    """The check of each case, level and stage that came closest to its bound, as a `share`."""
    read = checks[checks["not_read"].isna()]
    share = (read["relative_error"] / read["bound"]).fillna(np.inf)
    ordered = read.assign(share=share).sort_values("share", kind="stable")
    return ordered.groupby(["level", "case", "stage"]).tail(1)[list(MARGINS)]


def _nearest(bundle: Bundle) -> str:
    """The errors that came closest to their bounds: before timing, and in timed blocks."""
    rows = margins(bundle.tables["certificates"])
    blocks = bundle.tables["blocks"]
    # Nothing of an error is allowed where a bound is zero.
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (blocks["error"] / blocks["bound"]).fillna(0.0)
    of_blocks = blocks.assign(share=share, stage=blocks["check"], level="in a timed block")
    worst = [
        found.sort_values("share", kind="stable").iloc[-1]
        for found in (rows[~control_of(rows)], of_blocks[~control_of(of_blocks)])
        if len(found)
    ]
    named = [
        f"{_share(row['share'])} ({row['case']}, {stage_title(row['stage'])}, {row['level']})"
        for row in worst
    ]
    return f"The error closest to its bound is {joined(named)}." if named else ""


def _share(share: float) -> str:
    """An error as a share of its bound, in words."""
    return f"{share:.2g} of it" if np.isfinite(share) else "not finite"


def _many_steps(exact: pd.DataFrame) -> str:
    """How many steps the many are; nothing in bundles that do not tell."""
    steps = exact.loc[exact["stage"] == HORIZON, "steps"].dropna()
    return f"; *many steps* are {int(steps.max())}, in calls of every length" if len(steps) else ""


def _kept(ledger: pd.DataFrame) -> str:
    """Which evidence is from earlier runs, and which is of other products."""
    entries = ledger[ledger["entry"] == EVIDENCE].drop_duplicates("case")
    kept = entries[entries["value"].astype(str).str.startswith("kept")]
    which = "All of it" if len(kept) == len(entries) else f"That of {', '.join(kept['case'])}"
    sentences = [
        f" {which} was taken in an earlier run, with the same sources, versions and processor."
    ] * bool(len(kept))
    sentences += [f" {one}" for one in substitutions(ledger)]
    return text("".join(sentences))


def _of_blocks(blocks: pd.DataFrame) -> list[Part]:
    """What was found of the timed blocks that were trained again; nothing in older bundles."""
    if blocks.empty:
        return []
    columns = {"check": "stage", "error": "relative_error"}
    checks = blocks.rename(columns=columns).assign(not_read=np.nan)
    failed = blocks[~blocks["passed"]].drop_duplicates("case")
    return [
        "*Timed blocks*: in each launch, one block of each case, drawn by chance afterwards, was "
        "trained again from the state in which it began, and compared with the reference piece by "
        "piece, from the trainer's own state; over all launches, parameters and pieces, the error "
        "that came closest to its bound. *Rate* and *decay* are the error along the update and "
        "along the parameters; *silent pixels* count steps by the second moments of pixels that "
        "are zero; *unlit pixels*, zero in all images, must not change; *data values* show that no "
        "program profits from what the data are; *beginnings* that each block began where the one "
        "before it had ended." + _alike(blocks),
        _errors(checks, BLOCK_CHECKS, with_bound=True),
        *(text(f"✗ {row['case']} {block_departure(row)}.") for _, row in failed.iterrows()),
    ]


def _alike(blocks: pd.DataFrame) -> str:
    """Which cases trained alike, and so share a certificate."""
    pairs = blocks.dropna(subset="checked_as")[["case", "checked_as"]].drop_duplicates()
    if pairs.empty:
        return ""
    groups: list[set[str]] = []
    for case, other in pairs.itertuples(index=False):
        within = [group for group in groups if group & {case, other}]
        groups = [one for one in groups if one not in within]
        groups.append({case, other}.union(*within))
    alike = [joined(sorted(group)) for group in groups]
    return text(
        " Of cases that ended every block of a launch in the same bits, one was checked for all: "
        f"{'; '.join(sorted(alike))}."
    )


def _errors(checks: pd.DataFrame, stages: Sequence[str], *, with_bound: bool = False) -> Table:
    """The worst error of each case and stage; failed stages are marked ✗."""
    rows = [
        {"case": case}
        | {
            str(stage): _worst(of_stage, with_bound=with_bound)
            for stage, of_stage in of_case.groupby("stage")
        }
        for case, of_case in checks.groupby("case", sort=False)
    ]
    columns = [CASE, *(Column(stage_title(stage), stage) for stage in stages)]
    return Table(columns, pd.DataFrame(rows, columns=["case", *stages]))


def _worst(checks: pd.DataFrame, *, with_bound: bool) -> str:
    """The check of one case and stage that came closest to its bound."""
    read = checks[checks["not_read"].isna()]
    if read.empty:
        return MISSING
    # An error or a bound that is not finite is the worst of all.
    share = (read["relative_error"] / read["bound"]).fillna(np.inf)
    worst = read.iloc[int(share.argmax())]
    if not np.isfinite(worst["relative_error"]):
        return "not finite ✗"
    error = f"{worst['relative_error']:.0e}" if worst["relative_error"] else "0"
    bound = f" of {worst['bound']:.0e}" if with_bound and worst["bound"] else ""
    return error + bound + ("" if read["passed"].all() else " ✗")
