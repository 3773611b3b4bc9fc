"""The session: the launches of a run, within its time limit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic

from benchmarks.bundle.records import Environment
from benchmarks.bundle.writer import BundleWriter
from benchmarks.plan.cases import Case
from benchmarks.plan.data import Split
from benchmarks.plan.plan import Plan
from benchmarks.session.jobs import References, make_references
from benchmarks.session.launch import (
    ANSWER_TIMEOUT_SECONDS,
    START_TIMEOUT_SECONDS,
    Launch,
    Progress,
    SharedState,
)
from benchmarks.worker.messages import ENERGY_SECONDS

CLOSING_SECONDS = 8.0
"""Reserved from the time limit for the last readings and the report."""


@dataclass(kw_only=True)
class Session:
    """Runs a plan and writes what it measures."""

    plan: Plan
    training: Split
    """The images and labels from which the certificates' batches are taken."""
    writer: BundleWriter
    progress: Progress
    environment: Environment
    """What environment.json holds; it is replaced as more is known."""
    started: float
    """When the time limit began to run, by `time.monotonic`."""
    start_timeout_seconds: float = START_TIMEOUT_SECONDS
    answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS
    settled: Callable[[], bool] = bool
    """Called between launches: whether every verdict that can be decided is."""
    finished_launches: int = 0
    _state: SharedState = field(default_factory=SharedState)
    _startup_seconds: float = 0.0
    _launch_seconds: float = 0.0
    """How long the last launch took, and its start-up alone."""

    @property
    def failures(self) -> dict[Case, str]:
        """The cases that have failed, and why."""
        return self._state.failures

    @property
    def out_of_time(self) -> bool:
        """Whether the time limit has left out launches or rounds."""
        return self._state.out_of_time

    def run(self) -> None:
        """Run all launches; a case that has failed in one is left out of the next."""
        began = monotonic()
        references = make_references(self.plan, self.training)
        self.environment = self.environment.with_run(reference_seconds=monotonic() - began)
        for case, reason in self.plan.skipped.items():
            self.writer.append(
                "outcomes", **case.identity(), status="skipped", launch="", reason=reason
            )
        with tempfile.TemporaryDirectory(prefix="workers-") as scratch:
            for number in count():
                if all(case in self.failures for case in self.plan.cases):
                    return
                if number >= self.plan.launches and self._enough():
                    return
                if number and monotonic() + self._needed_seconds(number) > self._end():
                    self._state.out_of_time = number < self.plan.launches
                    return
                self._launch(number, references, Path(scratch))
                self._write_progress()

    def _launch(self, number: int, references: References, scratch: Path) -> None:
        launch = Launch(
            number=number,
            plan=self.plan,
            writer=self.writer,
            progress=self.progress,
            state=self._state,
            start_timeout_seconds=self.start_timeout_seconds,
            answer_timeout_seconds=self.answer_timeout_seconds,
        )
        began = monotonic()
        try:
            launch.start(references, scratch)
            self._startup_seconds = monotonic() - began
            launch.measure(self._rounds_deadline(number))
            self._launch_seconds = monotonic() - began
        finally:
            launch.end()
        self.finished_launches += 1

    def _write_progress(self) -> None:
        """Write how far the run has come, so that it can be analysed if it is killed later."""
        changes: dict[str, float] = {"finished_launches": self.finished_launches}
        if waited := self._state.waited_seconds:
            changes["session_cpu_share"] = self._state.waiting_cpu_seconds / waited
        self.environment = self.environment.with_run(**changes)
        self.writer.write_environment(self.environment)

    def _enough(self) -> bool:
        """Whether no launch beyond the planned ones is wanted."""
        return self.out_of_time or not self.plan.until_settled or self.settled()

    def _needed_seconds(self, number: int) -> float:
        """The seconds a launch needs: a planned one its start-up, an additional one all of it."""
        return self._startup_seconds if number < self.plan.launches else self._launch_seconds

    def _end(self) -> float:
        """When all measuring must have ended."""
        return self.started + self.plan.time_limit_seconds - CLOSING_SECONDS

    def _rounds_deadline(self, number: int) -> float:
        """When the rounds of a launch must end.

        The time left, without the start-up of the launches still to come and without what follows
        the rounds, is shared evenly among them and this one.
        """
        later = max(self.plan.launches - number - 1, 0)
        left = self._end() - monotonic() - later * self._startup_seconds
        return monotonic() + left / (later + 1) - self._energy_seconds()

    def _energy_seconds(self) -> float:
        """The seconds a launch takes to measure the energy of its cases."""
        on_gpu = self.plan.cases[0].device == "gpu"
        return ENERGY_SECONDS * len(self.plan.cases) if on_gpu else 0.0
