"""Progress of a run: a live bar and table in a terminal, lines of text elsewhere."""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd
from rich import progress
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as RichTable

from benchmarks.analysis import statistics
from benchmarks.commands.terminal import rich_table
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan
from benchmarks.reports.sections import CASE, STEP, TIMES_FASTEST, Column, Table
from benchmarks.worker.messages import Block, Certified, Ready

LINES_A_LAUNCH = 4
"""The number of lines that plain output has for a launch's rounds."""


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
        seconds = pd.DataFrame(
            [self._seconds[key] for key in complete],
            index=pd.MultiIndex.from_tuples(complete, names=["launch", "round"]),
            columns=self._cases,
            dtype=float,
        )
        fastest = min(
            self._cases, key=lambda name: np.nan_to_num(seconds[name].median(), nan=np.inf)
        )
        rows = [
            {"case": name, "rounds": seconds[name].count()}
            | statistics.with_interval(
                "step_ms", statistics.interval_of_logs(np.log(seconds[name])), 1000
            )
            | statistics.with_interval("times_fastest", statistics.ratio(seconds, name, fastest))
            for name in self._cases
        ]
        shown = Table([CASE, Column("rounds", "rounds"), STEP, TIMES_FASTEST], pd.DataFrame(rows))
        looks = {"box": None, "padding": (0, 2), "title": "so far", "title_justify": "left"}
        return rich_table(shown, **looks)


class RunProgress:
    """Shows the steps trained so far, the case at work, the time left, and the estimates so far."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan = plan
        self._console = console
        self._live = console.is_terminal
        self._launch, self._launches = 0, plan.launches
        self._bar = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("steps ·"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("· left"),
            progress.TimeRemainingColumn(),
            console=console,
        )
        self._per_launch = plan.rounds * plan.block_steps * len((*plan.cases, *plan.floors))
        total = plan.launches * self._per_launch
        self._task = self._bar.add_task("starting", total=total)
        self._table = LiveTable(plan.cases)
        self._round: tuple[int, int] | None = None
        # Twice a second is enough to read, and takes next to no CPU time from what is measured.
        self._display = Live(self._bar, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self._live:
            self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    def _say(self, text: str) -> None:
        if self._live:
            self._bar.update(self._task, description=text)
        else:
            self._console.print(text, highlight=False)

    def launch(self, number: int, seed: int) -> None:
        """A launch begins."""
        self._launch = number + 1
        self._launches = max(self._plan.launches, self._launch)
        self._bar.update(self._task, total=self._launches * self._per_launch)
        if not self._live:
            self._say(f"launch {self._launch} of {self._launches} (seed {seed})")

    def starting(self, case: Case) -> None:
        """A case's worker is being started."""
        if self._live:
            self._say(f"launch {self._launch}/{self._launches} · starting {case.name}")

    def ready(self, case: Case, ready: Ready, certified: Certified) -> None:
        """A case is ready to be timed."""
        if not self._live:
            # A floor has no certificate.
            verdict = f", certificate {'passed' if certified.passed else 'FAILED'}"
            self._say(
                f"  {case.name}: import {ready.import_seconds:.1f} s, "
                f"build {ready.build_seconds:.1f} s, "
                f"first call {ready.first_call_seconds:.1f} s"
                f"{verdict if certified.checks else ''}"
            )
        elif not certified.passed:
            self._console.print(f"{case.name}: certificate FAILED; it will not be ranked")

    def block(self, case: Case, round_number: int, block: Block) -> None:
        """A block was timed."""
        where = f"launch {self._launch}/{self._launches} · round {round_number + 1}"
        if self._live:
            self._table.add(case, self._launch, round_number, block)
            if self._round != (self._launch, round_number):
                # The previous round is complete.
                self._round = self._launch, round_number
                self._display.update(Group(self._bar, self._table.table()))
            self._bar.update(
                self._task,
                advance=self._plan.block_steps,
                description=f"{where}/{self._plan.rounds} · {case.name}",
            )
            return
        every = max(1, self._plan.rounds // LINES_A_LAUNCH)
        if case == self._plan.cases[0] and (round_number + 1) % every == 0:
            self._say(f"  {where} of {self._plan.rounds}")

    def failed(self, case: Case, reason: str) -> None:
        """A case has failed."""
        self._console.print(f"{case.name} failed: {reason}", highlight=False, markup=False)
