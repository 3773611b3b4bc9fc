"""Progress of a run: a live bar and table in a terminal, lines of text elsewhere."""

from collections.abc import Callable
from time import monotonic
from typing import Any, Self

import numpy as np
import pandas as pd
from rich import progress
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as RichTable

from backends.registry import tier_of
from benchmarks.analysis import statistics
from benchmarks.plan import expected
from benchmarks.plan.cases import Case
from benchmarks.plan.expected import clock
from benchmarks.plan.plan import Plan
from benchmarks.reports.formats import MS, as_interval
from benchmarks.reports.sections import CASE, TIER, Column, Table
from benchmarks.terminal.results import rich_table
from benchmarks.worker.messages import Block, Certified, Ready

LINE_SECONDS = 6.0
"""The least time between two lines of plain output that tell nothing but how far the run is."""
CONTROL = "(control): one case a second time; what it differs by, this run cannot tell apart."
SHORT = [
    *(CASE, TIER, Column("ms a step", "step_ms", MS)),
    Column("× fastest", "times_fastest", as_interval()),
]
"""The columns of the live table, for 80 characters."""


class LiveTable:
    """The blocks timed so far, and the table of estimates from them."""

    def __init__(self, cases: tuple[Case, ...]) -> None:
        self._tiers = {case.name: tier_of(case.backend, case.mode) for case in cases}
        self._seconds: dict[tuple[int, int], dict[str, float]] = {}

    def add(self, case: Case, launch: int, round_number: int, block: Block) -> bool:
        """Add a timed block; returns whether it begins a round, so that the last is complete."""
        key = launch, round_number
        begins = key not in self._seconds
        self._seconds.setdefault(key, {})[case.name] = block.seconds / block.steps
        return begins

    def table(self) -> RichTable:
        """Step times and ratios to the fastest of the tier, the fastest first, tier by tier.

        They are of the rounds that are complete. Intervals come with the second launch, as in the
        report. Disturbed rounds, which the report excludes, are included.
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
        places = list(dict.fromkeys(self._tiers.values()))
        rows = []
        for name in sorted(self._tiers, key=lambda n: (places.index(self._tiers[n]), medians[n])):
            step = statistics.interval_of_logs(np.log(1000 * seconds[name]))
            ratio = statistics.ratio(seconds, name, fastest[self._tiers[name]])
            row: dict[str, Any] = {"case": name, "tier": self._tiers[name]}
            row |= statistics.with_interval("step_ms", step)
            rows.append(row | statistics.with_interval("times_fastest", ratio))
        title = f"so far, after {len(complete)} rounds"
        looks: dict[str, Any] = {
            "box": None,
            "padding": (0, 1),
            "title": title,
            "title_justify": "left",
        }
        looks |= {"caption": CONTROL, "caption_justify": "left"}
        return rich_table(Table(SHORT, pd.DataFrame(rows)), **looks)


class RunProgress:
    """Shows how far the run has come, the case at work, the time left, the estimates so far."""

    def __init__(
        self, plan: Plan, console: Console, clock_of: Callable[[], float] = monotonic
    ) -> None:
        """`clock_of` tells the time in seconds."""
        self._plan, self._console, self._now = plan, console, clock_of
        self._live = console.is_terminal
        self._launch, self._launches = 0, plan.launches
        self._began = self._launch_began = self._said = clock_of()
        self._took: list[float] = []
        spinner = "line" if console.options.ascii_only else "dots"
        self._bar = progress.Progress(
            *(progress.SpinnerColumn(spinner), progress.BarColumn(16)),
            *(progress.TextColumn("{task.fields[time]}"), "{task.description}"),
            console=console,
        )
        self._task = self._bar.add_task("starting", total=self.expected, time="")
        self._table = LiveTable(plan.cases)
        # Twice a second is enough to read, and takes next to no CPU time from what is measured.
        self._display = Live(self._bar, console=console, refresh_per_second=2, transient=True)

    @property
    def expected(self) -> float:
        """The seconds that the whole run is expected to take."""
        return max(expected.seconds(self._plan, self._took), self._now() - self._began)

    def __enter__(self) -> Self:
        if self._live:
            self._display.start()
        self._say(f"about {clock(self.expected)} minutes in all", at_once=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    def _say(self, text: str, *, at_once: bool = False) -> None:
        """Show what happens now; in plain output a line with the time, if not too many."""
        spent = self._now() - self._began
        time = f"{clock(spent)} of about {clock(self.expected)}"
        if self._live:
            looks = {"description": text, "completed": spent, "time": time}
            self._bar.update(self._task, total=self.expected, **looks)  # type: ignore[arg-type]
        elif at_once or self._now() - self._said >= LINE_SECONDS:
            self._said = self._now()
            self._console.print(f"[{time}] {text}", highlight=False, markup=False)

    def _always(self, text: str) -> None:
        """Show a line that stays."""
        self._console.print(text, highlight=False, markup=False)

    def launch(self, number: int, seed: int) -> None:
        """A launch begins."""
        if number:
            self._took.append(self._now() - self._launch_began)
        self._launch_began, self._launch = self._now(), number + 1
        self._launches = max(self._plan.launches, self._launch)
        self._say(f"launch {self._launch} of {self._launches} (seed {seed})", at_once=True)

    def starting(self, case: Case) -> None:
        """A case's worker is being started."""
        self._say(f"launch {self._launch}/{self._launches} · starting {case.name}")

    def ready(self, case: Case, ready: Ready, certified: Certified) -> None:
        """A case is ready to be timed."""
        if not certified.passed:
            self._always(f"{case.name}: certificate FAILED; it will not be ranked")
            return
        start = ready.import_seconds + ready.build_seconds + ready.first_call_seconds
        passed = ", certificate passed" if certified.checks else ""
        self._say(f"{case.name}: started in {start:.1f} s{passed}")

    def departed(self, case: Case) -> None:
        """A timed block that was checked was not the training."""
        self._always(f"{case.name}: a timed block departs from the training; it will not be ranked")

    def learning(self, case: Case, seed: int) -> None:
        """A whole seed is about to be trained."""
        self._say(f"learning from seed {seed}: {case.name}")

    def block(self, case: Case, round_number: int, block: Block) -> None:
        """A block was timed."""
        text = f"launch {self._launch}/{self._launches} · round {round_number + 1}"
        if self._table.add(case, self._launch, round_number, block) and self._live:
            self._display.update(Group(self._bar, self._table.table()))
        self._say(f"{text} · {case.name}" if self._live else f"{text} of {self._plan.rounds}")

    def failed(self, case: Case, reason: str) -> None:
        """A case has failed."""
        self._always(f"{case.name} failed: {reason}")
