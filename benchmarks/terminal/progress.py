"""Progress of a run: a live bar and table in a terminal, lines of text elsewhere."""

from typing import Self

import numpy as np
import pandas as pd
from rich import progress
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as RichTable

from backends.registry import tier_of
from benchmarks.analysis import statistics
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan
from benchmarks.reports.sections import CASE, STEP, TIER, TIMES_FASTEST, Column, Table
from benchmarks.terminal.results import rich_table
from benchmarks.worker.messages import Block, Certified, Ready

LINES_A_LAUNCH = 4
"""The number of lines that plain output has for a launch's rounds."""


class LiveTable:
    """The blocks timed so far, and the table of estimates from them."""

    def __init__(self, cases: tuple[Case, ...]) -> None:
        """`cases` are in the order of the table's rows."""
        self._tiers = {case.name: tier_of(case.backend, case.mode) for case in cases}
        self._seconds: dict[tuple[int, int], dict[str, float]] = {}

    def add(self, case: Case, launch: int, round_number: int, block: Block) -> bool:
        """Add a timed block; returns whether it begins a round, so that the last is complete."""
        key = launch, round_number
        begins = key not in self._seconds
        self._seconds.setdefault(key, {})[case.name] = block.seconds / block.steps
        return begins

    def table(self) -> RichTable:
        """Step times and ratios to the fastest of the tier, over the rounds that are complete.

        Intervals come with the second launch, as in the report. Disturbed rounds, which the report
        excludes, are included.
        """
        # In the round that is under way, cases may lack a block.
        complete = list(self._seconds)[:-1]
        seconds = pd.DataFrame(
            [self._seconds[key] for key in complete],
            index=pd.MultiIndex.from_tuples(complete, names=["launch", "round"]),
            columns=list(self._tiers),
            dtype=float,
        )
        medians = seconds.median().fillna(np.inf)
        by_tier = medians.groupby(list(self._tiers.values()))
        fastest = {str(tier): str(of_tier.idxmin()) for tier, of_tier in by_tier}
        rows = []
        for name, tier in self._tiers.items():
            step = statistics.interval_of_logs(np.log(1000 * seconds[name]))
            ratio = statistics.ratio(seconds, name, fastest[tier])
            row = {"case": name, "tier": tier, "rounds": seconds[name].count()}
            row |= statistics.with_interval("step_ms", step)
            rows.append(row | statistics.with_interval("times_fastest", ratio))
        columns = [CASE, TIER, Column("rounds", "rounds"), STEP, TIMES_FASTEST]
        shown = Table(columns, pd.DataFrame(rows))
        looks = {"box": None, "padding": (0, 2), "title": "so far", "title_justify": "left"}
        return rich_table(shown, **looks)


class RunProgress:
    """Shows the steps trained so far, the case at work, the time left, and the estimates so far."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan = plan
        self._console = console
        self._live = console.is_terminal
        self._launch, self._launches = 0, plan.launches
        spinner = "line" if console.options.ascii_only else "dots"
        self._bar = progress.Progress(
            *(progress.SpinnerColumn(spinner), "{task.description}", progress.BarColumn()),
            *(progress.MofNCompleteColumn(), "steps ·", progress.TimeElapsedColumn()),
            *("· left", progress.TimeRemainingColumn()),
            console=console,
        )
        self._per_launch = plan.rounds * plan.block.steps * len((*plan.cases, *plan.floors))
        self._task = self._bar.add_task("starting", total=plan.launches * self._per_launch)
        self._table = LiveTable(plan.cases)
        # Twice a second is enough to read, and takes next to no CPU time from what is measured.
        self._display = Live(self._bar, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self._live:
            self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    def launch(self, number: int, seed: int) -> None:
        """A launch begins."""
        self._launch = number + 1
        self._launches = max(self._plan.launches, self._launch)
        self._bar.update(self._task, total=self._launches * self._per_launch)
        if not self._live:
            text = f"launch {self._launch} of {self._launches} (seed {seed})"
            self._console.print(text, highlight=False)

    def starting(self, case: Case) -> None:
        """A case's worker is being started."""
        if self._live:
            description = f"launch {self._launch}/{self._launches} · starting {case.name}"
            self._bar.update(self._task, description=description)

    def ready(self, case: Case, ready: Ready, certified: Certified) -> None:
        """A case is ready to be timed."""
        if not self._live:
            # A floor has no certificate.
            verdict = f", certificate {'passed' if certified.passed else 'FAILED'}"
            self._console.print(
                f"  {case.name}: import {ready.import_seconds:.1f} s, build "
                f"{ready.build_seconds:.1f} s, first call {ready.first_call_seconds:.1f} s"
                f"{verdict if certified.checks else ''}",
                highlight=False,
            )
        elif not certified.passed:
            self._console.print(f"{case.name}: certificate FAILED; it will not be ranked")

    def departed(self, case: Case) -> None:
        """A timed block that was checked was not the training."""
        self._console.print(
            f"{case.name}: a timed block departs from the training; it will not be ranked",
            highlight=False,
        )

    def learning(self, case: Case, seed: int) -> None:
        """A whole seed is about to be trained."""
        text = f"learning from seed {seed}: {case.name}"
        if self._live:
            self._bar.update(self._task, description=text)
        else:
            self._console.print(f"  {text}", highlight=False)

    def block(self, case: Case, round_number: int, block: Block) -> None:
        """A block was timed."""
        where = f"launch {self._launch}/{self._launches} · round {round_number + 1}"
        every = max(1, self._plan.rounds // LINES_A_LAUNCH)
        if self._live:
            if self._table.add(case, self._launch, round_number, block):
                self._display.update(Group(self._bar, self._table.table()))
            text = f"{where}/{self._plan.rounds} · {case.name}"
            self._bar.update(self._task, advance=self._plan.block.steps, description=text)
        elif case == self._plan.cases[0] and (round_number + 1) % every == 0:
            self._console.print(f"  {where} of {self._plan.rounds}", highlight=False)

    def failed(self, case: Case, reason: str) -> None:
        """A case has failed."""
        self._console.print(f"{case.name} failed: {reason}", highlight=False, markup=False)
