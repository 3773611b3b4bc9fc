"""How the cases stand while a run goes on: a table that fills in as rounds complete."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich.table import Table

from benchmarks.analysis import statistics
from benchmarks.plan.plan import Case
from benchmarks.reports import sentences as words
from benchmarks.worker.messages import Block


class Standing:
    """The blocks timed so far, and the table that they give."""

    def __init__(self, cases: tuple[Case, ...]) -> None:
        """`cases` in the order of the table's rows."""
        self._cases = [case.name for case in cases]
        self._seconds: dict[tuple[int, int], dict[str, float]] = {}

    def add(self, case: Case, launch: int, round_number: int, block: Block) -> None:
        """Take note of a block."""
        own = self._seconds.setdefault((launch, round_number), {})
        own[case.name] = block.seconds / block.steps

    def table(self) -> Table:
        """Step times and ratios to the fastest, over the rounds that are complete.

        Intervals come with the second launch, as in the report; rounds disturbed from outside,
        which the report leaves out, are among these.
        """
        shown = Table("case", box=None, padding=(0, 2), title="so far", title_justify="left")
        for heading in ("rounds", "ms a step", "times the fastest"):
            shown.add_column(heading, justify="right")
        # Of the round that is under way each case has one block less or more.
        complete = list(self._seconds)[:-1]
        found = pd.DataFrame([self._seconds[key] for key in complete])
        found.index = pd.MultiIndex.from_tuples(complete or [(0, 0)][:0], names=["launch", "round"])
        timed = [name for name in self._cases if name in found]
        fastest = min(timed, key=lambda name: found[name].median(), default=None)
        for name in self._cases:
            if fastest is None or name not in found:
                shown.add_row(name, "0", "–", "–")
                continue
            step = statistics.interval_of_logs(np.log(1000 * found[name]))
            ratio = statistics.ratio(found, name, fastest)
            shown.add_row(
                name,
                str(found[name].notna().sum()),
                words.interval(step.value, step.low, step.high, words.MS),
                words.interval(ratio.value, ratio.low, ratio.high),
            )
        return shown
