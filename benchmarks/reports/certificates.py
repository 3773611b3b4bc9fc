"""The section of a report on certificates: how far each case departs from the reference."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.bundle.reader import Bundle
from benchmarks.reports.formats import MISSING, stage_title, text
from benchmarks.reports.sections import CASE, Column, Figure, Part, Section, Table
from benchmarks.reports.sentences import block_departure, departure
from benchmarks.schema import BLOCK_CHECKS, EXACT_BOUND, LEVELS, STAGES


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
        Figure("certificates", "How far each error lies below its bound", drawn=False),
        f"*Exact*: the same backend and mode in float64, where no error may exceed "
        f"{EXACT_BOUND:.0e}.",
        _errors(exact, STAGES),
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
        *(
            text(f"✗ {row['case']} first departs from the reference at {departure(row)}.")
            for _, row in failed.iterrows()
        ),
    ]
    return Section("Certificates", parts)


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
        "that came closest to its bound.",
        _errors(checks, BLOCK_CHECKS, with_bound=True),
        *(text(f"✗ {row['case']}: {block_departure(row)}.") for _, row in failed.iterrows()),
    ]


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
    error = f"{worst['relative_error']:.0e}" if worst["relative_error"] else "0"
    bound = f" of {worst['bound']:.0e}" if with_bound and worst["bound"] else ""
    return error + bound + ("" if read["passed"].all() else " ✗")
