"""The estimates so far while a run goes on: a table that fills in as rounds complete."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich.table import Table as RichTable

from benchmarks.analysis import statistics
from benchmarks.analysis.statistics import NOTHING
from benchmarks.commands.terminal import rich_table
from benchmarks.plan.cases import Case
from benchmarks.reports.tables import CASE, STEP, TIMES_FASTEST, Column, Table
from benchmarks.worker.messages import Block

COLUMNS = [CASE, Column("rounds", "rounds"), STEP, TIMES_FASTEST]


class LiveTable:
    """The blocks timed so far, and the table of estimates from them."""

    def __init__(self, cases: tuple[Case, ...]) -> None:
        """`cases` are in the order of the table's rows."""
        self._cases = [case.name for case in cases]
        self._seconds: dict[tuple[int, int], dict[str, float]] = {}

    def add(self, case: Case, launch: int, round_number: int, block: Block) -> None:
        """Add a timed block."""
        blocks = self._seconds.setdefault((launch, round_number), {})
        blocks[case.name] = block.seconds / block.steps

    def table(self) -> RichTable:
        """Step times and ratios to the fastest, over the rounds that are complete.

        Intervals come with the second launch, as in the report. Disturbed rounds, which the report
        excludes, are included.
        """
        # In the round that is under way, cases may lack a block.
        complete = list(self._seconds)[:-1]
        seconds = pd.DataFrame([self._seconds[key] for key in complete])
        keys = complete or [(0, 0)][:0]
        seconds.index = pd.MultiIndex.from_tuples(keys, names=["launch", "round"])
        timed = [name for name in self._cases if name in seconds]
        fastest = min(timed, key=lambda name: seconds[name].median(), default="")
        rows = []
        for name in self._cases:
            step = ratio = NOTHING
            if name in seconds:
                step = statistics.interval_of_logs(np.log(1000 * seconds[name]))
                ratio = statistics.ratio(seconds, name, fastest)
            row = {"case": name, "rounds": seconds[name].notna().sum() if name in seconds else 0}
            for column, estimate in (("step_ms", step), ("times_fastest", ratio)):
                ends = (estimate.value, estimate.low, estimate.high)
                row |= dict(zip((column, f"{column}_low", f"{column}_high"), ends, strict=True))
            rows.append(row)
        looks = {"box": None, "padding": (0, 2), "title": "so far", "title_justify": "left"}
        return rich_table(Table(COLUMNS, pd.DataFrame(rows)), **looks)
